//! What is measured of each row.

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    /// Bytes received over one stream of iperf3.
    Throughput1,
    /// Over eight streams.
    Throughput8,
    /// Round trip of 64 bytes over one connection, median.
    RoundTripP50,
    /// The same, of a hundred only one takes longer.
    RoundTripP99,
    /// The same, median, when one is made every millisecond.
    PacedP50,
    /// Requests of 64 bytes answered, over 64 connections.
    Requests,
    /// Connecting and one round trip, median.
    ConnectP50,
    /// CPU time of both proxies per 10⁹ bytes carried.
    CpuPerGb,
    /// CPU time of both proxies per request, over 64 connections.
    CpuPerRequest,
    /// The same, when one is made every millisecond over one connection.
    CpuPerPaced,
    /// CPU time of both proxies per short connection.
    CpuPerConnection,
    /// Resident memory (`VmRSS`) of the larger proxy before its first connection.
    RssIdle,
    /// What a proxy has allocated more (`RssAnon`) while connections are held, per connection; of the proxy that took more.
    MemoryPerConnection,
    /// Bytes that a sink has received from so many connections while all were sending.
    Pushed(Streams),
    /// Uploads of these that had not arrived whole a minute after their end.
    Unfinished,
    /// Requests of 64 bytes answered, over so many connections.
    RequestsOver(Streams),
    /// Round trip of 64 bytes beside a connection that sends as much as it can between the same pods: the 99th percentile.
    BesideBulkP99,
    /// That percentile in shares of the one without a neighbour.
    BesideBulkShare,
    /// What the neighbour transfers meanwhile.
    BulkBeside,
    /// Resident memory of the larger proxy while idle connections are held.
    RssWithIdle,
    /// While connections are held that nobody reads, and that take no more.
    RssWithStalled,
    /// What one of these has taken before it took no more, in 10³ bytes: what all buffers and windows on the way hold.
    TakenByStalled,
}

/// How many connections there are at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Streams {
    One,
    Eight,
    SixtyFour,
    Thousand,
}

impl Streams {
    pub(super) const ALL: [Self; 4] = [Self::One, Self::Eight, Self::SixtyFour, Self::Thousand];

    pub(super) const fn count(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Eight => 8,
            Self::SixtyFour => 64,
            Self::Thousand => 1000,
        }
    }
}

impl Figure {
    /// What a connection costs, in the order of the table.
    pub(super) const COST: [Self; 13] = [
        Self::Throughput1,
        Self::Throughput8,
        Self::RoundTripP50,
        Self::RoundTripP99,
        Self::PacedP50,
        Self::Requests,
        Self::ConnectP50,
        Self::CpuPerGb,
        Self::CpuPerRequest,
        Self::CpuPerPaced,
        Self::CpuPerConnection,
        Self::RssIdle,
        Self::MemoryPerConnection,
    ];

    /// What many do to each other.
    pub(super) const SCALE: [Self; 17] = [
        Self::Pushed(Streams::One),
        Self::Pushed(Streams::Eight),
        Self::Pushed(Streams::SixtyFour),
        Self::Pushed(Streams::Thousand),
        Self::Unfinished,
        Self::RequestsOver(Streams::One),
        Self::RequestsOver(Streams::Eight),
        Self::RequestsOver(Streams::SixtyFour),
        Self::RequestsOver(Streams::Thousand),
        Self::RoundTripP50,
        Self::RoundTripP99,
        Self::BesideBulkP99,
        Self::BesideBulkShare,
        Self::BulkBeside,
        Self::RssWithIdle,
        Self::RssWithStalled,
        Self::TakenByStalled,
    ];

    /// Whether it is so much per second: what a noisy machine makes vary.
    pub(super) const fn is_rate(self) -> bool {
        matches!(
            self,
            Self::Throughput1 | Self::Throughput8 | Self::Requests | Self::Pushed(_) | Self::RequestsOver(_)
        )
    }

    /// Its key in the JSON file, with its unit: G is 10⁹, MB 10⁶ bytes, kB 10³ bytes.
    pub(super) const fn key(self) -> &'static str {
        use Streams::{Eight, One, SixtyFour, Thousand};
        match self {
            Self::Throughput1 => "throughput_1_gbps",
            Self::Throughput8 => "throughput_8_gbps",
            Self::RoundTripP50 => "rtt_64b_p50_us",
            Self::RoundTripP99 => "rtt_64b_p99_us",
            Self::PacedP50 => "rtt_64b_every_ms_p50_us",
            Self::Requests => "rps_64",
            Self::ConnectP50 => "connect_p50_us",
            Self::CpuPerGb => "cpu_s_per_gb",
            Self::CpuPerRequest => "cpu_us_per_request",
            Self::CpuPerPaced => "cpu_us_per_request_every_ms",
            Self::CpuPerConnection => "cpu_ms_per_connection",
            Self::RssIdle => "rss_idle_mb",
            Self::MemoryPerConnection => "kb_per_idle_connection",
            Self::Pushed(One) => "pushed_1_gbps",
            Self::Pushed(Eight) => "pushed_8_gbps",
            Self::Pushed(SixtyFour) => "pushed_64_gbps",
            Self::Pushed(Thousand) => "pushed_1000_gbps",
            Self::Unfinished => "unfinished_uploads",
            Self::RequestsOver(One) => "rps_over_1",
            Self::RequestsOver(Eight) => "rps_over_8",
            Self::RequestsOver(SixtyFour) => "rps_over_64",
            Self::RequestsOver(Thousand) => "rps_over_1000",
            Self::BesideBulkP99 => "rtt_64b_beside_bulk_p99_us",
            Self::BesideBulkShare => "rtt_64b_beside_bulk_p99_share",
            Self::BulkBeside => "bulk_beside_gbps",
            Self::RssWithIdle => "rss_10000_idle_mb",
            Self::RssWithStalled => "rss_1000_stalled_mb",
            Self::TakenByStalled => "kb_taken_per_stalled_connection",
        }
    }

    /// How a person is told.
    pub(super) const fn name(self) -> &'static str {
        use Streams::{Eight, One, SixtyFour, Thousand};
        match self {
            Self::Throughput1 | Self::Pushed(One) => "throughput, 1 stream, Gbit/s",
            Self::Throughput8 | Self::Pushed(Eight) => "throughput, 8 streams, Gbit/s",
            Self::RoundTripP50 => "round trip of 64 bytes, p50, µs",
            Self::RoundTripP99 => "round trip of 64 bytes, p99, µs",
            Self::PacedP50 => "the same, one every ms, p50, µs",
            Self::Requests | Self::RequestsOver(SixtyFour) => "requests/s, 64 connections",
            Self::ConnectP50 => "connect and round trip, p50, µs",
            Self::CpuPerGb => "both proxies, CPU s per GB",
            Self::CpuPerRequest => "both proxies, CPU µs/request of 64",
            Self::CpuPerPaced => "both proxies, CPU µs, one every ms",
            Self::CpuPerConnection => "both proxies, CPU ms/connection",
            Self::RssIdle => "larger proxy idle, MB resident",
            Self::MemoryPerConnection => "larger proxy, kB/idle connection",
            Self::Pushed(SixtyFour) => "throughput, 64 streams, Gbit/s",
            Self::Pushed(Thousand) => "throughput, 1000 streams, Gbit/s",
            Self::Unfinished => "uploads unfinished a minute later",
            Self::RequestsOver(One) => "requests/s, 1 connection",
            Self::RequestsOver(Eight) => "requests/s, 8 connections",
            Self::RequestsOver(Thousand) => "requests/s, 1000 connections",
            Self::BesideBulkP99 => "the same beside a bulk flow, µs",
            Self::BesideBulkShare => "the same, times its p99 alone",
            Self::BulkBeside => "the bulk flow meanwhile, Gbit/s",
            Self::RssWithIdle => "larger proxy, 10000 idle, MB",
            Self::RssWithStalled => "larger proxy, 1000 stalled, MB",
            Self::TakenByStalled => "a stalled connection took, kB",
        }
    }

    /// Digits after the point that a person has a use for.
    pub(super) const fn digits(self) -> usize {
        match self {
            Self::Requests | Self::RequestsOver(_) | Self::Unfinished | Self::TakenByStalled => 0,
            Self::RoundTripP50
            | Self::RoundTripP99
            | Self::PacedP50
            | Self::CpuPerRequest
            | Self::CpuPerPaced
            | Self::BesideBulkP99
            | Self::ConnectP50
            | Self::RssIdle
            | Self::RssWithIdle
            | Self::RssWithStalled => 1,
            Self::Throughput1
            | Self::Throughput8
            | Self::Pushed(_)
            | Self::BulkBeside
            | Self::BesideBulkShare
            | Self::MemoryPerConnection => 2,
            Self::CpuPerGb | Self::CpuPerConnection => 3,
        }
    }
}
