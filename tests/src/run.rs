//! One run: the name that everything made for a machine carries, and the end of it all.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, bail};
use rustix::mount::{MountFlags, mount};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

use crate::{cgroup, remains};

/// A run; undone when the last handle goes.
pub(crate) struct Run {
    name: String,
    cgroup: PathBuf,
}

impl Run {
    /// Checks that this machine can do it, removes what dead runs left, and begins.
    pub(crate) fn start() -> anyhow::Result<Arc<Self>> {
        if !rustix::process::geteuid().is_root() {
            bail!("network namespaces and cgroups take root: run this as root");
        }
        mount_bpffs()?;
        remains::sweep().context("what an earlier run left behind cannot be removed")?;
        undo_on_signals()?;
        let name = remains::name(process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let run = Self { cgroup: cgroup::root()?.join(&name), name };
        let _making = making();
        living(|runs| runs.insert(run.name.clone()));
        fs::create_dir(run.directory()).context("no directory for the files of this run")?;
        cgroup::create(&run.cgroup)?;
        Ok(Arc::new(run))
    }

    /// The name of something that belongs to this run: unique on this machine.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// The cgroup above all nodes.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// Where the files of this run lie.
    pub(crate) fn directory(&self) -> PathBuf {
        remains::directory(&self.name)
    }

    /// The manifests that all nodes read.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.directory().join("manifests")
    }

    /// The CA that all nodes share.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory().join("ca")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Where the process is asked to end, somebody else undoes the run by now, and ends this thread, too.
        let _undoing = making();
        let outcome = remains::remove(&self.name);
        living(|runs| runs.remove(&self.name));
        // A second panic would hide the first, and what is left is the next run's to remove.
        if !thread::panicking() {
            outcome.expect("what was made for a run can be removed");
        }
    }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn mount_bpffs() -> anyhow::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(2) == Some("bpf")) {
        return Ok(());
    }
    mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None)
        .context("bpffs cannot be mounted on /sys/fs/bpf")
}

/// The runs of this process, for who has to end all of them.
fn living<R>(change: impl FnOnce(&mut BTreeSet<String>) -> R) -> R {
    static LIVING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    change(&mut LIVING.lock().unwrap_or_else(PoisonError::into_inner))
}

fn undo_on_signals() -> anyhow::Result<()> {
    static HANDLER: OnceLock<()> = OnceLock::new();
    if HANDLER.get().is_some() {
        return Ok(());
    }
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("signals cannot be handled")?;
    HANDLER.get_or_init(|| {
        thread::spawn(move || signals.forever().for_each(end));
    });
    Ok(())
}

/// Held while something is made that carries a run's name, so that nothing is made after the end has begun.
pub(crate) fn making() -> impl Sized {
    MAKING.read().unwrap_or_else(PoisonError::into_inner)
}

static MAKING: RwLock<()> = RwLock::new(());

fn end(signal: i32) {
    let _nothing_more = MAKING.write().unwrap_or_else(PoisonError::into_inner);
    for run in living(|runs| runs.clone()) {
        // The process ends in any case; the next run removes what could not be removed now.
        let _ = remains::remove(&run);
    }
    let _ = emulate_default_handler(signal);
}
