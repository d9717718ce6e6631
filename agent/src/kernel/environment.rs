//! What has to be there before a program can be loaded.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::statfs,
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

use super::pins::BPFFS;

/// The oldest kernel that the programs are tested on.
const MIN_KERNEL: (u32, u32) = (6, 1);
/// `CGROUP2_SUPER_MAGIC`, linux/magic.h.
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// `BPF_FS_MAGIC`, linux/magic.h.
const BPFFS_MAGIC: u64 = 0xcafe_4a11;

/// Something that the agent needs of the machine is missing. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The process has not the rights to load programs.
    #[error(
        "culvert must run as root: it loads eBPF programs and enters network namespaces; use sudo, or a privileged container"
    )]
    NotRoot,
    /// No cgroup v2 is mounted.
    #[error(
        "no cgroup v2 hierarchy is mounted; mount one with `mount -t cgroup2 none /sys/fs/cgroup/unified`, or name it with --cgroup-root"
    )]
    NoCgroup2,
    /// `--cgroup-root` is something else.
    #[error("--cgroup-root {path} is not a directory of a cgroup v2 hierarchy: {found}")]
    NotCgroup2 {
        /// What was given.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// The BPF file system is not mounted, and cannot be.
    #[error(
        "no BPF file system at {BPFFS}, and it cannot be mounted; mount it with `mount -t bpf bpf {BPFFS}`"
    )]
    NoBpffs(#[source] io::Error),
    /// It would end with the agent's container, and policy with it.
    #[error(
        "a BPF file system mounted at {BPFFS} would be seen by this container alone; mount it on the node with `mount -t bpf bpf {BPFFS}`, or give its volume the mount propagation Bidirectional"
    )]
    PrivateBpffs,
    /// The kernel is too old.
    #[error("the kernel is {found}, and culvert needs {}.{} or newer", MIN_KERNEL.0, MIN_KERNEL.1)]
    KernelTooOld {
        /// Its release.
        found: String,
    },
    /// The list of mounts cannot be read.
    #[error("cannot read /proc/self/mountinfo, to find cgroup v2")]
    Mounts(#[source] io::Error),
}

/// What the agent found on this machine.
#[derive(Debug)]
pub struct Requirements {
    /// The cgroup whose processes are the node's.
    pub cgroup_root: PathBuf,
}

impl Requirements {
    /// Checks everything that does not need a program to be loaded.
    pub fn check(cgroup_root: Option<&Path>) -> Result<Self, EnvironmentError> {
        if !rustix::process::geteuid().is_root() {
            return Err(EnvironmentError::NotRoot);
        }
        check_kernel(rustix::system::uname().release().to_string_lossy().as_ref())?;
        let cgroup_root = match cgroup_root {
            Some(path) => check_cgroup2(path)?,
            None => find_cgroup2()?,
        };
        ensure_bpffs()?;
        Ok(Self { cgroup_root })
    }
}

fn check_kernel(release: &str) -> Result<(), EnvironmentError> {
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < MIN_KERNEL {
        return Err(EnvironmentError::KernelTooOld { found: release.to_owned() });
    }
    Ok(())
}

fn check_cgroup2(path: &Path) -> Result<PathBuf, EnvironmentError> {
    let not = |found: String| EnvironmentError::NotCgroup2 { path: path.to_owned(), found };
    match file_system(path) {
        Ok(CGROUP2_MAGIC) => path.canonicalize().map_err(|error| not(error.to_string())),
        Ok(other) => Err(not(format!("its file system has the magic number {other:#x}"))),
        Err(error) => Err(not(error.to_string())),
    }
}

fn find_cgroup2() -> Result<PathBuf, EnvironmentError> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(EnvironmentError::Mounts)?;
    cgroup2_mount(&mounts).ok_or(EnvironmentError::NoCgroup2)
}

/// The cgroup2 mount of a mountinfo (proc(5)) that shows the whole hierarchy, as far as this cgroup namespace has it:
/// the fourth field is what of it is mounted, the fifth the mount point, and the type follows a lone hyphen. A mount
/// from before the namespace was made begins above it, at `/..`.
fn cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        (root == "/" && after.starts_with("cgroup2 ")).then(|| PathBuf::from(mount_point))
    })
}

/// Mounts it where nobody has, as on nodes without systemd.
fn ensure_bpffs() -> Result<(), EnvironmentError> {
    if is_bpffs(Path::new(BPFFS)) {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", BPFFS, "bpf", flags, None).map_err(|error| EnvironmentError::NoBpffs(error.into()))?;
    if is_bpffs(&Path::new(NODE_ROOT).join(BPFFS.trim_start_matches('/'))) {
        return Ok(());
    }
    // Nothing is pinned on it yet, and nobody else has seen it.
    let _ = unmount(BPFFS, UnmountFlags::DETACH);
    Err(EnvironmentError::PrivateBpffs)
}

/// The node's own root, as its first process sees it.
const NODE_ROOT: &str = "/proc/1/root";

fn is_bpffs(path: &Path) -> bool {
    file_system(path).is_ok_and(|magic| magic == BPFFS_MAGIC)
}

fn file_system(path: &Path) -> io::Result<u64> {
    let found = statfs(path)?.f_type;
    Ok(u64::try_from(found).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_old_kernels_from_new_ones() {
        for release in ["6.1.0-56-cloud-amd64", "6.12.117+deb12-cloud-amd64", "7.0.1", "6.1"] {
            assert!(check_kernel(release).is_ok(), "{release}");
        }
        for release in ["5.15.0-130-generic", "4.19.0", "6.0.9", "nonsense"] {
            assert!(check_kernel(release).is_err(), "{release}");
        }
    }

    #[test]
    fn finds_cgroup2_beside_version_1() {
        let mounts = "\
24 30 0:22 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
25 24 0:23 / /sys/fs/cgroup/cpu rw,nosuid shared:10 - cgroup cgroup rw,cpu
26 24 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:11 - cgroup2 cgroup2 rw,nsdelegate
";
        assert_eq!(cgroup2_mount(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup2_mount("25 24 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
    }

    #[test]
    fn finds_the_cgroup2_mount_of_a_nested_namespace() {
        let mounts = "\
26 24 0:24 /../.. /sys/fs/cgroup/unified rw,nosuid shared:11 - cgroup2 cgroup2 rw,nsdelegate
27 24 0:24 /agent /sys/fs/cgroup/own rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
28 24 0:24 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
";
        assert_eq!(cgroup2_mount(mounts), Some("/sys/fs/cgroup".into()));
    }

    #[test]
    fn names_what_is_not_a_cgroup() {
        let error = check_cgroup2(Path::new("/proc")).expect_err("/proc is no cgroup");
        assert!(error.to_string().contains("--cgroup-root /proc is not"), "{error}");
        assert!(!is_bpffs(Path::new("/proc")));
    }
}
