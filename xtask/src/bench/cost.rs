//! What a connection costs, of each row.

use std::{thread, time::Duration};

use super::{
    figure::Figure,
    measure::{GIGA, KB, KIB, MB, Measurement, larger, number},
    plan::Plan,
    proxies::Proxies,
    results::Sample,
    row::Row,
    service::Service,
};

/// Beside a direct connection: one that the kernel lets pass, and those through two agents, two relays, two sidecars.
pub(super) const PLAN: Plan = Plan {
    rows: &[Row::Direct, Row::Passthrough, Row::Mtls, Row::Relay, Row::Envoy],
    figures: &Figure::COST,
    measure: |row| row.cost(),
};

/// Short connections per row and round. Some 14,000 within the minute of TIME-WAIT, between the same two addresses,
/// use up the client's ports; each row has an address of its own, and stays far below.
const CONNECTIONS: u32 = 1500;
/// Connections held open to see what they take.
const HELD: u32 = 2000;
/// After it a proxy is idle.
const START: Duration = Duration::from_secs(2);

/// What is done, for a person, and how long it takes.
pub(super) fn announcement(rounds: u32, seconds: u32) -> String {
    let total = 5 * rounds * (5 * seconds + OVERHEAD);
    format!(
        "rounds of direct, passthrough, mtls, relay and envoy: {rounds}\n\
         each row: throughput of 1 and of 8 streams, round trips, the same every ms, and requests for {seconds} s each, \
         {CONNECTIONS} short connections, {HELD} held\n\
         about {total} s"
    )
}

/// Seconds that a row takes beside what is measured by time: proxies come and go, connections are counted.
const OVERHEAD: u32 = 3;

impl Measurement<'_> {
    /// Memory comes first: what a busy proxy has allocated once it keeps, and then idle connections take nothing new.
    fn cost(mut self) -> anyhow::Result<Sample> {
        let _echo = self.site.serve(Service::Echo)?;
        if let Some(proxies) = self.proxies {
            self.step("idle connections", |it| it.memory(proxies))?;
        }
        self.step("throughput", Self::throughput)?;
        self.step("round trips", Self::round_trips)?;
        self.step("round trips now and then", Self::paced)?;
        self.step("requests", Self::requests)?;
        self.step("short connections", Self::connections)?;
        Ok(self.sample)
    }

    fn memory(&mut self, proxies: &Proxies<'_>) -> anyhow::Result<()> {
        // An agent gives back what only its start needed, a second after it is ready.
        thread::sleep(START);
        let idle = proxies.memory()?;
        let client = self.site.client("hold", Service::Echo, &[format!("--connections={HELD}")]);
        let held = self.site.hold(client, "open")?;
        let busy = proxies.memory()?;
        drop(held);
        proxies.settle()?;
        let resident = idle.map(|memory| memory.resident * KIB / MB);
        let grown = [0, 1].map(|end| busy[end].allocated - idle[end].allocated);
        self.note(Figure::RssIdle, larger(resident));
        self.note(Figure::MemoryPerConnection, larger(grown) * KIB / KB / f64::from(HELD));
        Ok(())
    }

    fn throughput(&mut self) -> anyhow::Result<()> {
        let before = self.cpu()?;
        let one = self.site.run(self.site.iperf(1, self.seconds), self.seconds)?;
        let eight = self.site.run(self.site.iperf(8, self.seconds), self.seconds)?;
        let cpu = self.cpu_since(before)?;
        self.note(Figure::Throughput1, number(&one, RECEIVED_PER_SECOND)? / GIGA);
        self.note(Figure::Throughput8, number(&eight, RECEIVED_PER_SECOND)? / GIGA);
        let bytes = number(&one, RECEIVED)? + number(&eight, RECEIVED)?;
        self.note_some(Figure::CpuPerGb, cpu.map(|cpu| cpu * GIGA / bytes));
        Ok(())
    }

    /// At a rate at which a proxy has long since fallen asleep when the next one comes, unless it burns CPU time instead.
    fn paced(&mut self) -> anyhow::Result<()> {
        let before = self.cpu()?;
        let times = self.timed("round-trip", Service::Echo, &["--every=0.001".to_owned()])?;
        let (cpu, count) = (self.cpu_since(before)?, number(&times, "/count")?);
        self.note(Figure::PacedP50, number(&times, "/p50_us")?);
        self.note_some(Figure::CpuPerPaced, cpu.map(|cpu| cpu * 1e6 / count));
        Ok(())
    }

    fn requests(&mut self) -> anyhow::Result<()> {
        let before = self.cpu()?;
        let rate = self.timed("requests", Service::Echo, &[])?;
        let (cpu, rate) = (self.cpu_since(before)?, number(&rate, "/per_second")?);
        self.note(Figure::Requests, rate);
        self.note_some(Figure::CpuPerRequest, cpu.map(|cpu| cpu * 1e6 / (rate * f64::from(self.seconds))));
        Ok(())
    }

    fn connections(&mut self) -> anyhow::Result<()> {
        self.settle()?;
        let before = self.cpu()?;
        let connect = self.site.client("connect", Service::Echo, &[format!("--count={CONNECTIONS}")]);
        let times = self.site.run(connect, self.seconds)?;
        self.settle()?;
        let cpu = self.cpu_since(before)?;
        self.note(Figure::ConnectP50, number(&times, "/p50_us")?);
        self.note_some(Figure::CpuPerConnection, cpu.map(|cpu| cpu * 1e3 / f64::from(CONNECTIONS)));
        Ok(())
    }

    fn cpu(&self) -> anyhow::Result<Option<f64>> {
        self.proxies.map(Proxies::cpu).transpose()
    }

    fn cpu_since(&self, before: Option<f64>) -> anyhow::Result<Option<f64>> {
        Ok(self.cpu()?.zip(before).map(|(now, before)| now - before))
    }
}

/// What iperf3's server has received, in bytes.
pub(super) const RECEIVED: &str = "/end/sum_received/bytes";
const RECEIVED_PER_SECOND: &str = "/end/sum_received/bits_per_second";
