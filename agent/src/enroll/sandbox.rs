//! From a pod's cgroup to a process of it, and to its network namespace.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cgroup::subdirectories;
use crate::netns::Netns;

/// A pod's processes could not be found.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No cgroup carries the UID.
    #[error("no cgroup below {root} carries the pod's UID yet")]
    NoCgroup {
        /// Where it was looked for.
        root: PathBuf,
    },
    /// The cgroup is there, and nothing runs in it.
    #[error("no process runs in the pod's cgroup {cgroup} yet")]
    NoProcess {
        /// The pod's cgroup.
        cgroup: PathBuf,
    },
    /// The kernel lists processes as 0 where the reader's PID namespace does not have them (cgroups(7)).
    #[error(
        "the processes in the pod's cgroup {cgroup} are hidden from the agent's PID namespace; run the agent in the node's (hostPID: true)"
    )]
    Hidden {
        /// The pod's cgroup.
        cgroup: PathBuf,
    },
    /// As a runtime's processes are before they enter the pod's namespace.
    #[error("the processes in the pod's cgroup {cgroup} are in the node's network namespace still")]
    InNodeNetwork {
        /// The pod's cgroup.
        cgroup: PathBuf,
    },
    /// The pod ended between two steps.
    #[error("the pod went away while it was being enrolled")]
    Gone,
    /// The namespace could not be entered.
    #[error("cannot open the network namespace of process {pid}")]
    Netns {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
}

/// A pod that stands: its cgroup, and the network namespace of its first process.
#[derive(Debug)]
pub struct Sandbox {
    cgroup: PathBuf,
    netns: Netns,
    first: Process,
    /// Readable once that process has ended.
    end: OwnedFd,
}

impl Sandbox {
    /// The sandbox whose processes are in this cgroup.
    pub fn of(cgroup: &Path) -> Result<Self, SandboxError> {
        let first = first_process(cgroup)?;
        let error = |source| netns_error(first.pid, source);
        let end = open_process(first.pid).map_err(error)?;
        let netns = Netns::open(&netns_path(first.pid)).map_err(error)?;
        // The number may have gone to another process in between; what the cgroup lists is the pod's.
        if first.is_alive() && list(cgroup).pids.contains(&first.pid) {
            Ok(Self { cgroup: cgroup.to_owned(), netns, first, end })
        } else {
            Err(SandboxError::Gone)
        }
    }

    /// Its network namespace.
    pub const fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Becomes readable when its first process ends.
    pub const fn end(&self) -> &OwnedFd {
        &self.end
    }

    /// Whether a process of the pod still runs in this namespace: a sandbox that was restarted has another.
    pub fn is_alive(&self) -> bool {
        let in_it = |pid| namespace_of(pid).is_some_and(|namespace| namespace == self.first.namespace);
        self.first.is_alive() || list(&self.cgroup).pids.into_iter().any(in_it)
    }
}

/// A process, and its network namespace as `/proc/PID/ns/net` names it.
#[derive(Debug)]
struct Process {
    pid: u32,
    namespace: PathBuf,
    /// Since boot, in clock ticks.
    started: u64,
}

impl Process {
    fn look(pid: u32) -> Option<Self> {
        Some(Self { pid, namespace: namespace_of(pid)?, started: started(pid)? })
    }

    fn is_alive(&self) -> bool {
        namespace_of(self.pid).is_some_and(|namespace| namespace == self.namespace)
    }
}

/// The oldest: the sandbox's own. A container may have namespaces inside, and CRI-O's monitor runs in the node's.
fn first_process(cgroup: &Path) -> Result<Process, SandboxError> {
    let cgroup = || cgroup.to_owned();
    let Listed { pids, hidden } = list(&cgroup());
    if pids.is_empty() {
        let error = if hidden {
            SandboxError::Hidden { cgroup: cgroup() }
        } else {
            SandboxError::NoProcess { cgroup: cgroup() }
        };
        return Err(error);
    }
    let nodes = ["self", "1"].map(|process| fs::read_link(format!("/proc/{process}/ns/net")).ok());
    let (in_node, own): (Vec<_>, Vec<_>) = pids
        .into_iter()
        .filter_map(Process::look)
        .partition(|process| nodes.iter().flatten().any(|node| *node == process.namespace));
    match own.into_iter().min_by_key(|process| (process.started, process.pid)) {
        Some(first) => Ok(first),
        None if in_node.is_empty() => Err(SandboxError::Gone),
        None => Err(SandboxError::InNodeNetwork { cgroup: cgroup() }),
    }
}

/// The processes of a cgroup and of those below it.
#[derive(Default)]
struct Listed {
    pids: Vec<u32>,
    /// There are some that this PID namespace does not have.
    hidden: bool,
}

fn list(cgroup: &Path) -> Listed {
    let mut listed = Listed::default();
    list_into(cgroup, &mut listed);
    listed
}

fn list_into(cgroup: &Path, listed: &mut Listed) {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.parse().ok()) {
        match pid {
            0 => listed.hidden = true,
            pid => listed.pids.push(pid),
        }
    }
    subdirectories(cgroup).for_each(|child| list_into(&child, listed));
}

fn namespace_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(netns_path(pid)).ok()
}

fn netns_path(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

/// The 22nd field of `/proc/PID/stat` (proc(5)); the second is a name that may hold anything but ends with the last
/// parenthesis.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn open_process(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn netns_error(pid: u32, source: io::Error) -> SandboxError {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => SandboxError::Gone,
        _ => SandboxError::Netns { pid, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(processes: &str) -> SandboxError {
        let cgroup = tempfile::tempdir().expect("a directory");
        let container = cgroup.path().join("container");
        fs::create_dir(&container).expect("a directory");
        fs::write(container.join("cgroup.procs"), processes).expect("a file");
        Sandbox::of(cgroup.path()).expect_err("no sandbox stands")
    }

    #[test]
    fn an_empty_cgroup_has_no_process_yet() {
        assert!(matches!(listing(""), SandboxError::NoProcess { .. }));
    }

    #[test]
    fn the_nodes_namespace_is_never_taken_for_a_pods() {
        let own = format!("{}\n", std::process::id());
        assert!(matches!(listing(&own), SandboxError::InNodeNetwork { .. }));
    }

    #[test]
    fn processes_of_another_pid_namespace_are_hidden() {
        let error = listing("0\n0\n");
        assert!(matches!(error, SandboxError::Hidden { .. }));
        assert!(error.to_string().contains("hostPID: true"), "{error}");
    }

    #[test]
    fn a_process_that_has_ended_is_gone() {
        let mut child = std::process::Command::new("true").spawn().expect("it is there");
        child.wait().expect("it ends");
        assert!(matches!(listing(&format!("{}\n", child.id())), SandboxError::Gone));
    }
}
