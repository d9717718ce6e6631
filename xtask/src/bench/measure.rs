//! One row of one round.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Context;
use serde_json::Value;

use crate::step::Steps;

use super::{agents::Agents, figure::Figure, results::Sample, site::Site};

/// Short connections per row and round. Some 14,000 within the minute of TIME-WAIT, between the same two addresses,
/// use up the client's ports; each row has an address of its own, and stays far below.
pub(super) const CONNECTIONS: u32 = 1500;
/// Connections held open to see what they take.
pub(super) const HELD: u32 = 2000;

/// What measures a row.
pub(super) struct Measurement<'a> {
    steps: &'a Steps,
    site: &'a Site,
    agents: Option<&'a Agents>,
    label: &'a str,
    seconds: u32,
    sample: Sample,
}

impl<'a> Measurement<'a> {
    pub(super) const fn new(
        steps: &'a Steps,
        site: &'a Site,
        agents: Option<&'a Agents>,
        label: &'a str,
        seconds: u32,
    ) -> Self {
        Self { steps, site, agents, label, seconds, sample: BTreeMap::new() }
    }

    /// Memory comes first: what a busy agent has allocated once it keeps, and then idle connections take nothing new.
    pub(super) fn run(mut self) -> anyhow::Result<Sample> {
        let (_server, echo) = self.site.echo_server()?;
        if let Some(agents) = self.agents {
            self.step("idle connections", |it| it.memory(agents, echo))?;
        }
        self.step("throughput", Self::throughput)?;
        self.step("round trips", |it| it.round_trips(echo))?;
        self.step("requests", |it| it.requests(echo))?;
        self.step("short connections", |it| it.connections(echo))?;
        Ok(self.sample)
    }

    fn step(&mut self, name: &str, work: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.steps.work(&format!("{}: {name}", self.label), || work(self))
    }

    fn memory(&mut self, agents: &Agents, echo: SocketAddr) -> anyhow::Result<()> {
        let idle = agents.memory()?;
        let held = self.site.hold(echo, HELD)?;
        let busy = agents.memory()?;
        drop(held);
        agents.settle()?;
        let resident = idle.map(|memory| memory.resident * KIB / MB);
        let grown = [0, 1].map(|agent| busy[agent].allocated - idle[agent].allocated);
        self.note(Figure::RssIdle, larger(resident));
        self.note(Figure::MemoryPerConnection, larger(grown) * KIB / KB / f64::from(HELD));
        Ok(())
    }

    fn throughput(&mut self) -> anyhow::Result<()> {
        let before = self.cpu()?;
        let one = self.site.iperf(1, self.seconds)?;
        let eight = self.site.iperf(8, self.seconds)?;
        let cpu = self.cpu_since(before)?;
        self.note(Figure::Throughput1, number(&one, RECEIVED_PER_SECOND)? / GIGA);
        self.note(Figure::Throughput8, number(&eight, RECEIVED_PER_SECOND)? / GIGA);
        let bytes = number(&one, RECEIVED)? + number(&eight, RECEIVED)?;
        self.note_some(Figure::CpuPerGb, cpu.map(|cpu| cpu * GIGA / bytes));
        Ok(())
    }

    fn round_trips(&mut self, echo: SocketAddr) -> anyhow::Result<()> {
        let (echo, seconds) = (echo.to_string(), self.seconds.to_string());
        let times = self.site.load(&["round-trip", &echo, "--seconds", &seconds], self.seconds)?;
        self.note(Figure::RoundTripP50, number(&times, "/p50_us")?);
        self.note(Figure::RoundTripP99, number(&times, "/p99_us")?);
        Ok(())
    }

    fn requests(&mut self, echo: SocketAddr) -> anyhow::Result<()> {
        let (echo, seconds) = (echo.to_string(), self.seconds.to_string());
        let rate = self.site.load(&["requests", &echo, "--seconds", &seconds], self.seconds)?;
        self.note(Figure::Requests, number(&rate, "/per_second")?);
        Ok(())
    }

    fn connections(&mut self, echo: SocketAddr) -> anyhow::Result<()> {
        self.settle()?;
        let before = self.cpu()?;
        let (echo, count) = (echo.to_string(), CONNECTIONS.to_string());
        let times = self.site.load(&["connect", &echo, "--count", &count], self.seconds)?;
        self.settle()?;
        let cpu = self.cpu_since(before)?;
        self.note(Figure::ConnectP50, number(&times, "/p50_us")?);
        self.note_some(Figure::CpuPerConnection, cpu.map(|cpu| cpu * 1e3 / f64::from(CONNECTIONS)));
        Ok(())
    }

    fn settle(&self) -> anyhow::Result<()> {
        self.agents.map_or(Ok(()), Agents::settle)
    }

    fn cpu(&self) -> anyhow::Result<Option<f64>> {
        self.agents.map(Agents::cpu).transpose()
    }

    fn cpu_since(&self, before: Option<f64>) -> anyhow::Result<Option<f64>> {
        Ok(self.cpu()?.zip(before).map(|(now, before)| now - before))
    }

    fn note_some(&mut self, figure: Figure, value: Option<f64>) {
        if let Some(value) = value {
            self.note(figure, value);
        }
    }

    fn note(&mut self, figure: Figure, value: f64) {
        self.sample.insert(figure, value);
    }
}

const GIGA: f64 = 1e9;
const MB: f64 = 1e6;
const KB: f64 = 1e3;
const KIB: f64 = 1024.0;

const RECEIVED: &str = "/end/sum_received/bytes";
const RECEIVED_PER_SECOND: &str = "/end/sum_received/bits_per_second";

const fn larger([a, b]: [f64; 2]) -> f64 {
    a.max(b)
}

fn number(value: &Value, pointer: &str) -> anyhow::Result<f64> {
    let number = value.pointer(pointer).and_then(Value::as_f64);
    number.with_context(|| format!("expected a number at {pointer}, found {value}"))
}
