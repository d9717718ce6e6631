//! The agents of a row.

use anyhow::bail;
use culvert_testbed::Agent;
use serde_json::Value;

/// The agents of the two nodes.
pub(super) struct Agents {
    pub(super) a: Agent,
    pub(super) b: Agent,
}

impl Agents {
    pub(super) fn wait_ready(&self) -> anyhow::Result<()> {
        self.both().into_iter().try_for_each(Agent::wait_ready)
    }

    pub(super) fn processes(&self) -> [u32; 2] {
        self.both().map(|agent| agent.process())
    }

    /// Whether connections went through a tunnel, by the agents' own records.
    pub(super) fn tunnelled(&self) -> bool {
        self.both().into_iter().flat_map(Agent::records).any(|record| is_tunnelled(&record))
    }

    pub(super) fn stop(mut self) -> anyhow::Result<()> {
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

fn is_tunnelled(record: &Value) -> bool {
    record["transport"] == "hbone" && record["outcome"] == "ok"
}
