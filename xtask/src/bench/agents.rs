//! The agents of a row, and what the kernel counts of them.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use culvert_testbed::Agent;
use serde_json::Value;

/// The agents of the two nodes.
pub(super) struct Agents {
    pub(super) a: Agent,
    pub(super) b: Agent,
}

/// What a process takes of the machine's memory, in KiB.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    /// `VmRSS`: all that is resident, the program's own code included.
    pub(super) resident: f64,
    /// `RssAnon`: what the process has allocated.
    pub(super) allocated: f64,
}

impl Agents {
    pub(super) fn wait_ready(&self) -> anyhow::Result<()> {
        self.both().into_iter().try_for_each(Agent::wait_ready)
    }

    /// CPU time of both so far, in seconds.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        let [a, b] = self.both().map(|agent| ticks(agent.process()));
        Ok((a? + b?) / TICKS_PER_SECOND)
    }

    /// The memory of each.
    pub(super) fn memory(&self) -> anyhow::Result<[Memory; 2]> {
        let [a, b] = self.both().map(|agent| memory(agent.process()));
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
/// `USER_HZ`, in which `/proc` counts: part of the kernel's ABI (include/asm-generic/param.h).
const TICKS_PER_SECOND: f64 = 100.0;

fn is_tunnelled(record: &Value) -> bool {
    record["transport"] == "hbone" && record["outcome"] == "ok"
}

/// `utime` and `stime`: the 14th and 15th field of `/proc/PID/stat`, the second of which ends with the last `)`.
fn ticks(process: u32) -> anyhow::Result<f64> {
    let stat = read(process, "stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    fields.split_ascii_whitespace().skip(11).take(2).map(|field| Ok(field.parse::<f64>()?)).sum()
}

fn memory(process: u32) -> anyhow::Result<Memory> {
    let status = read(process, "status")?;
    Ok(Memory { resident: field(&status, "VmRSS:")?, allocated: field(&status, "RssAnon:")? })
}

fn field(status: &str, name: &str) -> anyhow::Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    value.with_context(|| format!("/proc/PID/status has no {name}"))
}

fn read(process: u32, file: &str) -> anyhow::Result<String> {
    fs::read_to_string(format!("/proc/{process}/{file}")).context("an agent has ended by itself")
}
