//! `cargo xtask bench --soak N`: whether short connections leave anything behind in the agents' memory.
//!
//! The server closes first, so that no client's port and none of an agent's that dials is left in TIME-WAIT: 28,000
//! of these in a minute, between the same two addresses, and there is no port for the next one.

use anyhow::{Context, bail};
use culvert_testbed::AgentOptions;
use serde::Serialize;

use super::{
    measure::{KIB, MB, larger, number},
    process::Memory,
    proxies::Proxies,
    row::Row,
    service::Service,
    site::Site,
};
use crate::step::{Steps, say};

/// The agents after so many connections.
#[derive(Debug, Serialize)]
pub(super) struct Stage {
    connections: u32,
    /// Of the last tenth.
    per_second: f64,
    /// Resident memory of the client's agent and of the server's, once they had nothing more to do.
    rss_mb: [f64; 2],
}

/// The memory is looked at after each of these.
const STAGES: u32 = 10;
/// Fewer per second is not to be waited for.
const SLOWEST: u32 = 500;
/// What an allocator's habits explain, as a share of what there was after the first stage.
const MOST_GROWTH: f64 = 0.05;

/// What is done, for a person.
pub(super) fn announcement(connections: u32) -> String {
    format!("{connections} short connections over mTLS, 32 at a time; the agents' memory after each tenth")
}

/// Opens and closes that many connections, and shows what the agents' memory became.
pub(super) fn run(steps: &Steps, site: &mut Site, connections: u32) -> anyhow::Result<Vec<Stage>> {
    site.prepare(Row::Mtls)?;
    // The testbed keeps every line in memory.
    let quiet = AgentOptions::default().flag("log", "info,access=off");
    let proxies = steps.work("start", || site.proxies(&quiet))?.context("mtls has agents")?;
    let _once = site.serve(Service::Once)?;
    let each = connections.div_ceil(STAGES);
    let stages = (1..=STAGES).map(|stage| {
        let label = format!("connections up to {}", stage * each);
        steps.work(&label, || churn(site, &proxies, each, stage * each))
    });
    let stages = stages.collect::<anyhow::Result<Vec<_>>>()?;
    steps.work("stop", || site.end(proxies))?;
    Ok(stages)
}

fn churn(site: &Site, proxies: &Proxies<'_>, count: u32, so_far: u32) -> anyhow::Result<Stage> {
    let before = proxies.cpu()?;
    let client = site.client("churn", Service::Once, &[format!("--count={count}")]);
    let rate = site.run(client, count / SLOWEST)?;
    if proxies.cpu()? - before < f64::from(count) * LEAST_CPU {
        bail!("the agents have done nothing: the connections took another way");
    }
    proxies.settle()?;
    let rss_mb = proxies.memory()?.map(|Memory { resident, .. }| resident * KIB / MB);
    Ok(Stage { connections: so_far, per_second: number(&rate, "/per_second")?, rss_mb })
}

/// CPU seconds that two agents need for a connection in any case.
const LEAST_CPU: f64 = 10e-6;

/// Shows the stages; whether memory did not grow after the first.
pub(super) fn report(stages: &[Stage]) -> bool {
    say("connections   per second   agent a, MB   agent b, MB");
    for Stage { connections, per_second, rss_mb: [a, b] } in stages {
        say(&format!("{connections:>11}   {per_second:>10.0}   {a:>11.1}   {b:>11.1}"));
    }
    let growth = growth(stages);
    let holds = growth <= MOST_GROWTH;
    let met = if holds { "holds" } else { "does not hold" };
    say(&format!("memory does not grow after the first tenth: {met} ({:+.1} % at most)", growth * 100.0));
    holds
}

/// How much more there ever was than after the first stage, of the agent that grew more, as a share of that.
fn growth(stages: &[Stage]) -> f64 {
    let Some((first, later)) = stages.split_first() else { return 0.0 };
    let grown = [0, 1].map(|agent| {
        let most = later.iter().map(|stage| stage.rss_mb[agent]).fold(0.0, f64::max);
        most / first.rss_mb[agent] - 1.0
    });
    larger(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(a: f64, b: f64) -> Stage {
        Stage { connections: 1, per_second: 1.0, rss_mb: [a, b] }
    }

    #[test]
    fn growth_is_that_of_the_agent_that_grew_more_at_its_largest() {
        let stages = [stage(10.0, 10.0), stage(10.0, 12.0), stage(9.0, 11.0)];
        assert!((growth(&stages) - 0.2).abs() < 1e-9);
    }
}
