//! From a pod's UID to its cgroup, to a process, to its network namespace.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::netns::Netns;

/// How deep a pod's cgroup lies below the node's, at the most: `kubepods.slice`, the quality of service, the pod, and
/// two levels of a nested hierarchy such as kind's.
const MAX_DEPTH: usize = 6;

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
    /// The pod ended between two steps.
    #[error("the pod went away while it was being enrolled")]
    Gone,
    /// The pod's namespace is the node's.
    #[error("the pod runs in the node's own network namespace; such pods are never enrolled")]
    HostNetwork,
    /// The namespace could not be entered.
    #[error("cannot open the network namespace of process {pid}")]
    Netns {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
}

/// A running pod: its cgroup, and the network namespace of its processes.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The pod's cgroup.
    pub cgroup: PathBuf,
    /// Its network namespace.
    pub netns: Netns,
    /// The namespace's inode, as `/proc/PID/ns/net` names it.
    link: PathBuf,
}

impl Sandbox {
    /// Finds the pod with this UID below the node's cgroup.
    pub fn find(root: &Path, uid: &str) -> Result<Self, SandboxError> {
        let cgroup =
            find_cgroup(root, uid).ok_or_else(|| SandboxError::NoCgroup { root: root.to_owned() })?;
        let pid = first_process(&cgroup).ok_or_else(|| SandboxError::NoProcess { cgroup: cgroup.clone() })?;
        let path = netns_path(pid);
        let link = fs::read_link(&path).map_err(|_| SandboxError::Gone)?;
        if fs::read_link("/proc/self/ns/net").is_ok_and(|own| own == link) {
            return Err(SandboxError::HostNetwork);
        }
        let netns = Netns::open(&path).map_err(|source| netns_error(pid, source))?;
        // The number may have gone to another process in between; what the cgroup lists is the pod's.
        if processes(&cgroup).contains(&pid) && fs::read_link(&path).is_ok_and(|now| now == link) {
            Ok(Self { cgroup, netns, link })
        } else {
            Err(SandboxError::Gone)
        }
    }

    /// Whether the pod's processes still run in this namespace: a sandbox that was restarted has another.
    pub fn is_alive(&self) -> bool {
        let pid = first_process(&self.cgroup);
        pid.is_some_and(|pid| fs::read_link(netns_path(pid)).is_ok_and(|link| link == self.link))
    }
}

fn netns_path(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

fn netns_error(pid: u32, source: io::Error) -> SandboxError {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => SandboxError::Gone,
        _ => SandboxError::Netns { pid, source },
    }
}

/// The cgroup of a pod: named by its UID, with hyphens (cgroupfs driver: `pod<uid>`) or with underscores (systemd
/// driver: `kubepods-burstable-pod<uid>.slice`).
fn find_cgroup(root: &Path, uid: &str) -> Option<PathBuf> {
    let names = [format!("pod{uid}"), format!("pod{}", uid.replace('-', "_"))];
    let mut level = vec![root.to_owned()];
    for _ in 0..MAX_DEPTH {
        let children: Vec<PathBuf> = level.iter().flat_map(|directory| subdirectories(directory)).collect();
        if let Some(found) = children.iter().find(|path| is_named(path, &names)) {
            return Some(found.clone());
        }
        level = children;
    }
    None
}

fn is_named(path: &Path, names: &[String]) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let name = name.strip_suffix(".slice").unwrap_or(&name);
    names.iter().any(|wanted| name == wanted || name.ends_with(&format!("-{wanted}")))
}

fn first_process(cgroup: &Path) -> Option<u32> {
    let own = processes(cgroup).first().copied();
    own.or_else(|| subdirectories(cgroup).iter().find_map(|child| first_process(child)))
}

fn processes(cgroup: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(cgroup.join("cgroup.procs"))
        .map(|text| text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid != 0).collect())
        .unwrap_or_default();
    for child in subdirectories(cgroup) {
        found.extend(processes(&child));
    }
    found
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b7c1f6e-5b9d-4c77-8a3e-2f4f4d1c9a10";

    #[test]
    fn finds_a_pod_for_either_driver() {
        for path in [
            "kubepods/burstable/pod0b7c1f6e-5b9d-4c77-8a3e-2f4f4d1c9a10",
            "kubepods/pod0b7c1f6e-5b9d-4c77-8a3e-2f4f4d1c9a10",
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0b7c1f6e_5b9d_4c77_8a3e_2f4f4d1c9a10.slice",
            "kubelet/kubepods/besteffort/pod0b7c1f6e-5b9d-4c77-8a3e-2f4f4d1c9a10",
        ] {
            let root = tempfile::tempdir().expect("a directory");
            let wanted = root.path().join(path);
            fs::create_dir_all(wanted.join("container")).expect("a tree");
            fs::create_dir_all(
                root.path().join("kubepods/burstable/pod11111111-5b9d-4c77-8a3e-2f4f4d1c9a10"),
            )
            .expect("a tree");
            assert_eq!(find_cgroup(root.path(), UID), Some(wanted));
        }
    }

    #[test]
    fn says_what_is_not_there_yet() {
        let root = tempfile::tempdir().expect("a directory");
        assert!(matches!(Sandbox::find(root.path(), UID), Err(SandboxError::NoCgroup { .. })));
        fs::create_dir_all(root.path().join(format!("kubepods/pod{UID}"))).expect("a tree");
        assert!(matches!(Sandbox::find(root.path(), UID), Err(SandboxError::NoProcess { .. })));
    }

    #[test]
    fn never_takes_the_nodes_namespace_for_a_pods() {
        let root = tempfile::tempdir().expect("a directory");
        let cgroup = root.path().join(format!("pod{UID}"));
        fs::create_dir_all(&cgroup).expect("a tree");
        fs::write(cgroup.join("cgroup.procs"), format!("{}\n", std::process::id())).expect("a file");
        assert!(matches!(Sandbox::find(root.path(), UID), Err(SandboxError::HostNetwork)));
    }
}
