//! What carries the connections of a row, and what the kernel counts of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

use super::{
    agents::Agents,
    envoys::Envoys,
    process::{self, Memory, TICKS_PER_SECOND},
    relays::Relays,
};

/// One at each end.
pub(super) enum Proxies<'s> {
    /// One on each node.
    Agents(Agents),
    /// One in each pod.
    Relays(Relays),
    /// One in each pod.
    Envoys(Envoys<'s>),
}

impl Proxies<'_> {
    /// The client's and the server's.
    pub(super) fn processes(&self) -> [u32; 2] {
        match self {
            Self::Agents(agents) => agents.processes(),
            Self::Relays(relays) => relays.processes(),
            Self::Envoys(envoys) => envoys.processes(),
        }
    }

    /// CPU time of both so far, in seconds.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        let [a, b] = self.processes().map(process::cpu);
        Ok(a? + b?)
    }

    /// The memory of each.
    pub(super) fn memory(&self) -> anyhow::Result<[Memory; 2]> {
        let [a, b] = self.processes().map(process::memory);
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
                bail!("they are still busy {LONGEST_SETTLING:?} after the last connection");
            }
        }
    }

    /// Whether connections went over mTLS, by what they say themselves.
    pub(super) fn encrypted(&self) -> anyhow::Result<bool> {
        self.settle()?;
        match self {
            Self::Agents(agents) => Ok(agents.tunnelled()),
            Self::Relays(_) => Ok(false),
            Self::Envoys(envoys) => envoys.encrypted(),
        }
    }
}

const QUIET: Duration = Duration::from_millis(300);
const LONGEST_SETTLING: Duration = Duration::from_secs(30);
