//! One CPU for each node: unpinned, latency has two modes, by whether both ends happen to share a CPU.

use anyhow::{Context, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs of the two nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpus {
    pub(super) a: usize,
    pub(super) b: usize,
}

impl Cpus {
    /// The first two that this process may use.
    pub(super) fn find() -> anyhow::Result<Self> {
        let allowed = affinity()?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        match (cpus.next(), cpus.next()) {
            (Some(a), Some(b)) => Ok(Self { a, b }),
            _ => bail!("the bench gives each of its two nodes a CPU, and this process may use only one"),
        }
    }
}

/// Does `work` on a CPU; processes and threads that are started by it stay there.
pub(super) fn on<R>(cpu: usize, work: impl FnOnce() -> anyhow::Result<R>) -> anyhow::Result<R> {
    let before = affinity()?;
    let mut only = CpuSet::new();
    only.set(cpu);
    set_affinity(&only)?;
    let result = work();
    set_affinity(&before)?;
    result
}

fn affinity() -> anyhow::Result<CpuSet> {
    sched_getaffinity(None).context("the CPUs of this process cannot be told")
}

fn set_affinity(cpus: &CpuSet) -> anyhow::Result<()> {
    sched_setaffinity(None, cpus).context("this process cannot be moved to another CPU")
}
