//! Which cgroup is the kubelet's: its probes are known by it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use culvert_abi::Kubelet;
use tracing::{info, warn};

use super::cgroup::subdirectories;
use crate::netns::Netns;

/// The kubelet of this node. It gets another cgroup when it is restarted.
#[derive(Debug)]
pub struct KubeletCgroup {
    root: PathBuf,
    given: Option<PathBuf>,
    /// The node's own network namespace, which is the agent's.
    netns: u64,
    known: Option<Found>,
    is_missed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    id: u64,
}

impl KubeletCgroup {
    /// That of a path, or else the one that is found below the node's cgroup.
    pub fn new(root: &Path, given: Option<PathBuf>) -> io::Result<Self> {
        let netns = Netns::current()?.cookie();
        Ok(Self { root: root.to_owned(), given, netns, known: None, is_missed: false })
    }

    /// Looks again; what the kernel has to be told, if that is something new.
    pub(super) fn look(&mut self) -> Option<Kubelet> {
        if self.known.as_ref().is_some_and(|known| id_of(&known.path) == Some(known.id)) {
            return None;
        }
        let found = match &self.given {
            Some(path) => Found::at(path.clone()),
            None => find(&self.root),
        };
        self.tell(found.as_ref());
        let before = self.known.take().map(|known| known.id);
        self.known = found;
        let now = self.known.as_ref().map(|found| found.id);
        (now != before).then_some(Kubelet { cgroup: now.unwrap_or(0), netns: self.netns })
    }

    /// Each state once. A kubelet that is restarted is missed for a moment, and found again.
    fn tell(&mut self, found: Option<&Found>) {
        match found {
            Some(found) => info!(cgroup = %found.path.display(), "the kubelet's probes are known"),
            None if !self.is_missed => warn!(
                root = %self.root.display(),
                "no cgroup of the kubelet is found: STRICT pods refuse its probes; name it with --kubelet-cgroup"
            ),
            None => {}
        }
        self.is_missed = found.is_none();
    }
}

impl Found {
    fn at(path: PathBuf) -> Option<Self> {
        Some(Self { id: id_of(&path)?, path })
    }
}

/// The id of a cgroup is the number of its directory's inode.
fn id_of(cgroup: &Path) -> Option<u64> {
    fs::metadata(cgroup).ok().map(|metadata| metadata.ino())
}

/// By the name that systemd's unit has, or else the plain one, with a process in it: the kubelet of kind has its pods
/// below a cgroup of that name.
fn find(root: &Path) -> Option<Found> {
    let mut level = vec![root.to_owned()];
    let mut plain = None;
    for _ in 0..DEPTH {
        level = level.iter().flat_map(|cgroup| subdirectories(cgroup)).filter(|it| !is_of_pods(it)).collect();
        let named = |name: &str| level.iter().find(|it| it.ends_with(name) && has_process(it)).cloned();
        if let Some(unit) = named("kubelet.service") {
            return Found::at(unit);
        }
        plain = plain.or_else(|| named("kubelet"));
    }
    Found::at(plain?)
}

/// `system.slice/kubelet.service`, in a node that is a container itself as well.
const DEPTH: usize = 3;

fn is_of_pods(cgroup: &Path) -> bool {
    cgroup.file_name().is_some_and(|name| name.to_string_lossy().contains("kubepods"))
}

/// A process of another PID namespace is listed as 0.
fn has_process(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.procs")).is_ok_and(|processes| !processes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hierarchy of cgroups; those that end with `!` have a process.
    fn hierarchy(cgroups: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for cgroup in cgroups {
            let path = root.path().join(cgroup.trim_end_matches('!'));
            fs::create_dir_all(&path).expect("a directory");
            let processes = if cgroup.ends_with('!') { "1\n" } else { "" };
            fs::write(path.join("cgroup.procs"), processes).expect("a file");
        }
        root
    }

    #[test]
    fn it_is_found_by_name_where_it_runs_and_never_among_pods() {
        let rows: [(&[&str], Option<&str>); 6] = [
            (&["system.slice/kubelet.service!"], Some("system.slice/kubelet.service")),
            (&["kubelet!", "system.slice/kubelet.service!"], Some("system.slice/kubelet.service")),
            (&["kubelet", "kubelet/kubepods/kubelet!", "podruntime/kubelet!"], Some("podruntime/kubelet")),
            (&["kubelet!"], Some("kubelet")),
            (&["kubepods.slice/kubelet.service!", "kubelet.slice/kubelet-kubepods.slice/kubelet!"], None),
            (&["system.slice/kubelet.service"], None),
        ];
        for (cgroups, expected) in rows {
            let root = hierarchy(cgroups);
            let found = find(root.path()).map(|found| found.path);
            assert_eq!(found, expected.map(|path| root.path().join(path)), "{cgroups:?}");
        }
    }

    #[test]
    fn a_restarted_kubelet_is_known_again() {
        let root = hierarchy(&["kubelet!"]);
        let mut kubelet = KubeletCgroup::new(root.path(), None).expect("a namespace");
        let first = kubelet.look().expect("it is found");
        assert_ne!(first.cgroup, 0);
        assert_eq!(kubelet.look(), None, "nothing new");
        fs::rename(root.path().join("kubelet"), root.path().join("gone")).expect("renamed");
        assert_eq!(kubelet.look(), Some(Kubelet { cgroup: 0, ..first }));
        assert_eq!(kubelet.look(), None, "still missed");
        fs::rename(root.path().join("gone"), root.path().join("kubelet")).expect("renamed");
        assert_eq!(kubelet.look(), Some(first));
    }
}
