//! The agents of a row, and what the kernel counts of them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;
use culvert_testbed::Agent;
use serde_json::Value;

use super::process::{self, Memory, TICKS_PER_SECOND};

/// The agents of the two nodes.
pub(super) struct Agents {
    pub(super) a: Agent,
    pub(super) b: Agent,
}

impl Agents {
    pub(super) fn wait_ready(&self) -> anyhow::Result<()> {
        self.both().into_iter().try_for_each(Agent::wait_ready)
    }

    /// CPU time of both so far, in seconds.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        let [a, b] = self.both().map(|agent| process::cpu(agent.process()));
        Ok(a? + b?)
    }

    /// The memory of each.
    pub(super) fn memory(&self) -> anyhow::Result<[Memory; 2]> {
        let [a, b] = self.both().map(|agent| process::memory(agent.process()));
        Ok([a?, b?])
    }

    /// Waits until neither does anything any more, as far as the clock of CPU times can tell.
    pub(super) fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LONGEST_SETTLING;
        loop {
            let before = self.cpu()?;
            thread::sleep(QUIET);
            // A difference of one tick is the heartbeat, seen on the wrong side of a tick.
            if self.cpu()? - before <= 1.5 / TICKS_PER_SECOND {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the agents are still busy {LONGEST_SETTLING:?} after the last connection");
            }
        }
    }

    /// Whether connections went through a tunnel, by the agents' own records.
    pub(super) fn tunnelled(&self) -> anyhow::Result<bool> {
        self.settle()?;
        Ok(self.both().into_iter().flat_map(Agent::records).any(|record| is_tunnelled(&record)))
    }

    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        for agent in [&mut self.a, &mut self.b] {
            let status = agent.stop()?;
            if !status.success() {
                bail!("an agent ended with {status}");
            }
        }
        Ok(())
    }

    const fn both(&self) -> [&Agent; 2] {
        [&self.a, &self.b]
    }
}

const QUIET: Duration = Duration::from_millis(300);
const LONGEST_SETTLING: Duration = Duration::from_secs(30);

fn is_tunnelled(record: &Value) -> bool {
    record["transport"] == "hbone" && record["outcome"] == "ok"
}
