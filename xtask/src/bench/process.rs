//! What the kernel counts of a process.

use std::fs;

use anyhow::Context;

/// What a process takes of the machine's memory, in KiB.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    /// `VmRSS`: all that is resident, the program's own code included.
    pub(super) resident: f64,
    /// `VmHWM`: the most that has ever been.
    pub(super) peak: f64,
    /// `RssAnon`: what the process has allocated.
    pub(super) allocated: f64,
}

/// `USER_HZ`, in which `/proc` counts: part of the kernel's ABI (include/asm-generic/param.h).
pub(super) const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of all of its threads so far, in seconds: `utime` and `stime`, the 14th and 15th field of
/// `/proc/PID/stat`, the second of which ends with the last `)`.
pub(super) fn cpu(process: u32) -> anyhow::Result<f64> {
    let stat = read(process, "stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(|field| Ok(field.parse::<f64>()?));
    Ok(ticks.sum::<anyhow::Result<f64>>()? / TICKS_PER_SECOND)
}

pub(super) fn memory(process: u32) -> anyhow::Result<Memory> {
    let status = read(process, "status")?;
    let field = |name| field(&status, name);
    Ok(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")?, allocated: field("RssAnon:")? })
}

fn field(status: &str, name: &str) -> anyhow::Result<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    value.with_context(|| format!("/proc/PID/status has no {name}"))
}

fn read(process: u32, file: &str) -> anyhow::Result<String> {
    fs::read_to_string(format!("/proc/{process}/{file}")).context("an agent has ended by itself")
}
