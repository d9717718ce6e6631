//! `cargo xtask bench --scale`: what many connections do to each other, and a bulk flow to the small ones beside it.

use super::{
    figure::{Figure, Streams},
    measure::{GIGA, KB, KIB, MB, Measurement, larger, number},
    plan::Plan,
    proxies::Proxies,
    results::Sample,
    row::Row,
    service::Service,
};

/// Without passthrough, which is as direct.
pub(super) const PLAN: Plan =
    Plan { rows: &[Row::Direct, Row::Mtls, Row::Envoy], figures: &Figure::SCALE, measure: |row| row.scale() };

/// Connections held open with nothing to do.
const IDLE: u32 = 10_000;
/// Connections that nobody reads.
const STALLED: u32 = 1000;

/// What is done, for a person, and how long it takes.
pub(super) fn announcement(rounds: u32, seconds: u32) -> String {
    let total = 3 * rounds * (10 * seconds + OVERHEAD);
    format!(
        "rounds of direct, mtls and envoy: {rounds}\n\
         each row: {IDLE} idle connections, {STALLED} stalled, throughput and requests over 1, 8, 64 and 1000 for \
         {seconds} s each, round trips alone and beside a bulk flow\n\
         about {total} s"
    )
}

/// By default. What it takes to fill the queues of a thousand weighs little in it.
pub(super) const SECONDS: u32 = 5;

/// Seconds that a row takes beside what is measured by time.
const OVERHEAD: u32 = 15;

impl Measurement<'_> {
    /// Idle connections come first, as what a busy proxy has allocated once it keeps. Stalled ones come last: they fill
    /// the kernel's memory for TCP (`tcp_mem`), which then stays stingy for a while.
    fn scale(mut self) -> anyhow::Result<Sample> {
        let services = [Service::Echo, Service::Sink, Service::Mute].into_iter();
        let _servers: Vec<_> = services.map(|one| self.site.serve(one)).collect::<anyhow::Result<_>>()?;
        if self.site.can_hold(IDLE) {
            self.step("idle connections", Self::idle)?;
        }
        for streams in Streams::ALL {
            self.step(&format!("{} at once", streams.count()), |it| it.at_once(streams))?;
        }
        self.step("round trips", Self::round_trips)?;
        self.step("round trips beside a bulk flow", Self::beside_bulk)?;
        self.step("stalled connections", Self::stalled)?;
        Ok(self.sample)
    }

    fn idle(&mut self) -> anyhow::Result<()> {
        let client = self.site.client("hold", Service::Echo, &[format!("--connections={IDLE}")]);
        let held = self.site.hold(client, "open")?;
        self.note_resident(Figure::RssWithIdle)?;
        drop(held);
        self.settle()
    }

    fn stalled(&mut self) -> anyhow::Result<()> {
        let client = self.site.client("stall", Service::Mute, &[format!("--connections={STALLED}")]);
        let held = self.site.hold(client, "stalled")?;
        self.note_resident(Figure::RssWithStalled)?;
        self.note(Figure::TakenByStalled, number(&held.said()?, "/bytes")? / KB / f64::from(STALLED));
        drop(held);
        self.settle()
    }

    fn note_resident(&mut self, figure: Figure) -> anyhow::Result<()> {
        let memory = self.proxies.map(Proxies::memory).transpose()?;
        let resident = memory.map(|ends| larger(ends.map(|memory| memory.resident * KIB / MB)));
        self.note_some(figure, resident);
        Ok(())
    }

    fn at_once(&mut self, streams: Streams) -> anyhow::Result<()> {
        let connections = [format!("--connections={}", streams.count())];
        let pushed = self.timed("push", Service::Sink, &connections)?;
        self.note(Figure::Pushed(streams), number(&pushed, "/bits_per_second")? / GIGA);
        *self.sample.entry(Figure::Unfinished).or_default() += number(&pushed, "/unfinished")?;
        self.settle()?;
        let rate = self.timed("requests", Service::Echo, &connections)?;
        self.note(Figure::RequestsOver(streams), number(&rate, "/per_second")?);
        Ok(())
    }

    /// The neighbour is there a little longer, so that nothing is measured without it.
    fn beside_bulk(&mut self) -> anyhow::Result<()> {
        let longer = self.seconds + 1;
        let _server = self.site.serve(Service::Neighbour)?;
        let push = self.site.client("push", Service::Neighbour, &[format!("--seconds={longer}")]);
        let bulk = self.site.start(push)?;
        let times = self.timed("round-trip", Service::Echo, &[])?;
        let bulk = bulk.wait(longer)?;
        let p99 = number(&times, "/p99_us")?;
        self.note(Figure::BesideBulkP99, p99);
        let alone = self.sample.get(&Figure::RoundTripP99).copied();
        self.note_some(Figure::BesideBulkShare, alone.map(|alone| p99 / alone));
        self.note(Figure::BulkBeside, number(&bulk, "/bits_per_second")? / GIGA);
        Ok(())
    }
}
