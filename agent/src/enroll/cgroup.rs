//! The cgroups of a node's pods, by UID: all of them in one walk, however many are looked for.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// How deep `kubepods` lies below the node's cgroup, at the most: under what `--cgroup-root` of the kubelet says, which
/// is one level with kind, and none with most.
const MAX_DEPTH: usize = 4;

/// Where each pod's processes are, as it was at the time of the walk.
#[derive(Debug, Default)]
pub struct PodCgroups(HashMap<String, PathBuf>);

impl PodCgroups {
    /// Walks the hierarchy below `root`: only as far as pods can lie, and into none of them.
    pub fn scan(root: &Path) -> Self {
        let mut found = HashMap::new();
        let tops = kubepods(root);
        for cgroup in tops.iter().flat_map(|top| pods(top)) {
            if let Some(uid) = uid(&cgroup) {
                found.entry(uid).or_insert(cgroup);
            }
        }
        Self(found)
    }

    /// The cgroup of the pod with this UID.
    pub fn of(&self, uid: &str) -> Option<&Path> {
        self.0.get(uid).map(PathBuf::as_path)
    }
}

/// What the kubelet calls the cgroup of all pods (`defaultNodeAllocatableCgroupName`, pkg/kubelet/cm): `kubepods`, or
/// with the systemd driver `kubepods.slice`, and `kubelet-kubepods.slice` below `kubelet.slice`.
fn kubepods(root: &Path) -> Vec<PathBuf> {
    let mut tops = Vec::new();
    let mut level = vec![root.to_owned()];
    for _ in 0..MAX_DEPTH {
        let children = level.iter().flat_map(|directory| subdirectories(directory));
        let (found, others): (Vec<_>, Vec<_>) = children.partition(|path| is_kubepods(&name(path)));
        tops.extend(found);
        level = others.into_iter().filter(|path| !is_scope(path)).collect();
    }
    tops
}

fn is_kubepods(name: &str) -> bool {
    let slice = name.strip_suffix(".slice").unwrap_or(name);
    slice == "kubepods" || slice.ends_with("-kubepods")
}

/// A scope holds a container or a session: no pod of this node's kubelet.
fn is_scope(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("scope"))
}

/// Guaranteed pods lie at the top, the others below their quality of service.
fn pods(top: &Path) -> Vec<PathBuf> {
    let (classes, mut pods): (Vec<_>, Vec<_>) = subdirectories(top).partition(|path| is_class(&name(path)));
    pods.extend(classes.iter().flat_map(|class| subdirectories(class)));
    pods
}

fn is_class(name: &str) -> bool {
    let slice = name.strip_suffix(".slice").unwrap_or(name);
    ["burstable", "besteffort"].iter().any(|class| slice.rsplit('-').next() == Some(class))
}

/// `pod<uid>` (cgroupfs driver), or `kubepods-burstable-pod<uid>.slice` with underscores for hyphens (systemd driver).
fn uid(cgroup: &Path) -> Option<String> {
    let name = name(cgroup);
    match name.strip_suffix(".slice") {
        Some(slice) => Some(slice.rsplit_once("-pod")?.1.replace('_', "-")),
        None => Some(name.strip_prefix("pod")?.to_owned()),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The cgroups right below one; none if it is gone.
pub(super) fn subdirectories(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b7c1f6e-5b9d-4c77-8a3e-2f4f4d1c9a10";
    const OTHER: &str = "11111111-5b9d-4c77-8a3e-2f4f4d1c9a10";
    /// As containerd, CRI-O and cri-dockerd name a container below any of them.
    const CONTAINERS: [&str; 4] =
        ["4f2ab9", "cri-containerd-4f2ab9.scope", "crio-4f2ab9.scope", "docker-4f2ab9.scope"];

    /// For each driver, kubelet and quality of service; `{}` is the UID, `{_}` the UID with underscores.
    const PODS: [&str; 9] = [
        "kubepods/pod{}",
        "kubepods/burstable/pod{}",
        "kubepods/besteffort/pod{}",
        "kubepods.slice/kubepods-pod{_}.slice",
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_}.slice",
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{_}.slice",
        "kubelet/kubepods/besteffort/pod{}",
        "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{_}.slice",
        "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{_}.slice",
    ];

    fn path(pattern: &str, uid: &str) -> String {
        pattern.replace("{}", uid).replace("{_}", &uid.replace('-', "_"))
    }

    #[test]
    fn finds_pods_for_either_driver_and_each_runtime() {
        for pattern in PODS {
            let root = tempfile::tempdir().expect("a directory");
            let [wanted, other] = [UID, OTHER].map(|uid| root.path().join(path(pattern, uid)));
            for container in CONTAINERS {
                fs::create_dir_all(wanted.join(container)).expect("a tree");
            }
            fs::create_dir_all(&other).expect("a tree");
            fs::create_dir_all(root.path().join("system.slice/containerd.service")).expect("a tree");
            let found = PodCgroups::scan(root.path());
            assert_eq!(found.of(UID), Some(wanted.as_path()), "{pattern}");
            assert_eq!(found.of(OTHER), Some(other.as_path()), "{pattern}");
            assert_eq!(found.0.len(), 2, "{found:?}");
        }
    }

    #[test]
    fn what_lies_inside_a_pod_or_a_container_is_nobodys_pod() {
        let root = tempfile::tempdir().expect("a directory");
        for outer in ["kubepods/burstable/pod1/kubepods/burstable", "system.slice/docker-1.scope/kubepods"] {
            fs::create_dir_all(root.path().join(outer).join(format!("pod{UID}"))).expect("a tree");
        }
        assert_eq!(PodCgroups::scan(root.path()).of(UID), None);
    }
}
