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
    /// Requests of 64 bytes answered, over 64 connections.
    Requests,
    /// Connecting and one round trip, median.
    ConnectP50,
    /// CPU time of both agents per 10⁹ bytes carried.
    CpuPerGb,
    /// CPU time of both agents per short connection.
    CpuPerConnection,
    /// Resident memory (`VmRSS`) of the larger agent before its first connection.
    RssIdle,
    /// What an agent has allocated more (`RssAnon`) while connections are held, per connection; of the agent that took more.
    MemoryPerConnection,
}

impl Figure {
    /// In the order of the table.
    pub(super) const ALL: [Self; 10] = [
        Self::Throughput1,
        Self::Throughput8,
        Self::RoundTripP50,
        Self::RoundTripP99,
        Self::Requests,
        Self::ConnectP50,
        Self::CpuPerGb,
        Self::CpuPerConnection,
        Self::RssIdle,
        Self::MemoryPerConnection,
    ];

    /// Its key in the JSON file, with its unit: G is 10⁹, MB 10⁶ bytes, kB 10³ bytes.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Throughput1 => "throughput_1_gbps",
            Self::Throughput8 => "throughput_8_gbps",
            Self::RoundTripP50 => "rtt_64b_p50_us",
            Self::RoundTripP99 => "rtt_64b_p99_us",
            Self::Requests => "rps_64",
            Self::ConnectP50 => "connect_p50_us",
            Self::CpuPerGb => "cpu_s_per_gb",
            Self::CpuPerConnection => "cpu_ms_per_connection",
            Self::RssIdle => "rss_idle_mb",
            Self::MemoryPerConnection => "kb_per_idle_connection",
        }
    }

    /// How a person is told.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Throughput1 => "throughput, 1 stream, Gbit/s",
            Self::Throughput8 => "throughput, 8 streams, Gbit/s",
            Self::RoundTripP50 => "round trip of 64 bytes, p50, µs",
            Self::RoundTripP99 => "round trip of 64 bytes, p99, µs",
            Self::Requests => "requests/s, 64 connections",
            Self::ConnectP50 => "connect and round trip, p50, µs",
            Self::CpuPerGb => "both agents, CPU s per GB",
            Self::CpuPerConnection => "both agents, CPU ms/connection",
            Self::RssIdle => "larger agent idle, MB resident",
            Self::MemoryPerConnection => "larger agent, kB/idle connection",
        }
    }

    /// Digits after the point that a person has a use for.
    pub(super) const fn digits(self) -> usize {
        match self {
            Self::Requests => 0,
            Self::RoundTripP50 | Self::RoundTripP99 | Self::ConnectP50 | Self::RssIdle => 1,
            Self::Throughput1 | Self::Throughput8 | Self::MemoryPerConnection => 2,
            Self::CpuPerGb | Self::CpuPerConnection => 3,
        }
    }
}
