//! One row of one round: what its measurements share.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::Value;

use super::{figure::Figure, proxies::Proxies, results::Sample, service::Service, site::Site};
use crate::step::Steps;

/// What measures a row.
pub(super) struct Measurement<'a> {
    steps: &'a Steps,
    pub(super) site: &'a Site,
    pub(super) proxies: Option<&'a Proxies<'a>>,
    label: &'a str,
    pub(super) seconds: u32,
    pub(super) sample: Sample,
}

impl<'a> Measurement<'a> {
    pub(super) const fn new(
        steps: &'a Steps,
        site: &'a Site,
        proxies: Option<&'a Proxies<'a>>,
        label: &'a str,
        seconds: u32,
    ) -> Self {
        Self { steps, site, proxies, label, seconds, sample: BTreeMap::new() }
    }

    pub(super) fn step(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.steps.work(&format!("{}: {name}", self.label), || work(self))
    }

    /// Runs a client for as long as anything is measured.
    pub(super) fn timed(&self, verb: &str, service: Service, flags: &[String]) -> anyhow::Result<Value> {
        let flags = [flags, &[format!("--seconds={}", self.seconds)]].concat();
        self.site.run(self.site.client(verb, service, &flags), self.seconds)
    }

    /// Round trips over one connection that has nothing beside it.
    pub(super) fn round_trips(&mut self) -> anyhow::Result<()> {
        let times = self.timed("round-trip", Service::Echo, &[])?;
        self.note(Figure::RoundTripP50, number(&times, "/p50_us")?);
        self.note(Figure::RoundTripP99, number(&times, "/p99_us")?);
        Ok(())
    }

    pub(super) fn settle(&self) -> anyhow::Result<()> {
        self.proxies.map_or(Ok(()), Proxies::settle)
    }

    pub(super) fn note(&mut self, figure: Figure, value: f64) {
        self.sample.insert(figure, value);
    }

    pub(super) fn note_some(&mut self, figure: Figure, value: Option<f64>) {
        if let Some(value) = value {
            self.note(figure, value);
        }
    }
}

pub(super) const GIGA: f64 = 1e9;
pub(super) const MB: f64 = 1e6;
pub(super) const KB: f64 = 1e3;
pub(super) const KIB: f64 = 1024.0;

pub(super) const fn larger([a, b]: [f64; 2]) -> f64 {
    a.max(b)
}

/// A number of what a program has printed.
pub(super) fn number(value: &Value, pointer: &str) -> anyhow::Result<f64> {
    let number = value.pointer(pointer).and_then(Value::as_f64);
    number.with_context(|| format!("expected a number at {pointer}, found {value}"))
}
