//! Control groups of version 2.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};

use crate::process::timeout;

/// Where cgroup v2 is mounted: at `/sys/fs/cgroup`, or below it where version 1 is still in use.
pub fn root() -> anyhow::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("the list of mounts cannot be read")?;
    let mount =
        mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[2] == "cgroup2");
    let mount = mount.context("cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup")?;
    Ok(PathBuf::from(mount[1]))
}

/// Makes a cgroup and those above it.
pub(crate) fn create(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cgroup {} cannot be made", path.display()))
}

/// Moves the calling process.
pub(crate) fn join(path: &Path) -> io::Result<()> {
    fs::write(path.join("cgroup.procs"), "0")
}

/// Ends all processes of a cgroup and of those below it, and removes them.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    fs::write(path.join("cgroup.kill"), "1")?;
    wait_until_empty(path, crate::DEADLINE)?;
    remove_tree(path)
}

/// `cgroup.events` becomes readable with priority when it changes.
fn wait_until_empty(path: &Path, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    let events = File::open(path.join("cgroup.events"))?;
    while fs::read_to_string(path.join("cgroup.events"))?.contains("populated 1") {
        let left = timeout(deadline).ok_or_else(|| still_populated(path))?;
        poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left))?;
    }
    Ok(())
}

fn still_populated(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("processes of {} do not end", path.display()))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
