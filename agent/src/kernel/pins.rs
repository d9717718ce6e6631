//! What outlives the agent: links pinned under `/sys/fs/bpf/culvert/<node>`.
//!
//! A pinned link stays attached when the agent crashes or is replaced, so policy stays in force. The next agent
//! makes links of its own and renames them over these, one by one; no map is handed on, for it fills new ones before
//! its programs are attached.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use aya::programs::links::FdLink;
use rustix::fs::{FlockOperation, flock};

use crate::sys;

/// Where the BPF file system is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";

/// A pin could not be made, replaced or removed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Another agent is at work.
    #[error("another agent serves node {node:?} (it holds {path}); stop it first")]
    Taken {
        /// The node's name.
        node: String,
        /// The directory that it has locked.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {what} {path}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The kernel refused to pin.
    #[error("cannot pin a link at {path}")]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        source: aya::pin::PinError,
    },
}

/// One node's directory of pins, locked for as long as this value lives.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    _lock: OwnedFd,
}

const LINKS: &str = "links";
const PODS: &str = "pods";

impl Pins {
    /// Opens, and makes if need be, the directory of `node`.
    pub fn open(node: &str) -> Result<Self, PinError> {
        let root = Path::new(BPFFS).join("culvert").join(directory_name(node));
        for directory in [LINKS, PODS] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(|source| PinError::File { what: "create", path, source })?;
        }
        let lock = lock(&root, node)?;
        Ok(Self { root, _lock: lock })
    }

    /// Pins a node-wide link, in the place of an earlier one of that name.
    pub fn pin_link(&self, name: &str, link: FdLink) -> Result<(), PinError> {
        replace(&self.root.join(LINKS), name, link)
    }

    /// Pins the link of one pod, by the cookie of its network namespace.
    pub fn pin_pod(&self, netns: u64, link: FdLink) -> Result<(), PinError> {
        replace(&self.root.join(PODS), &netns.to_string(), link)
    }

    /// Lets go of one pod's link.
    pub fn unpin_pod(&self, netns: u64) -> Result<(), PinError> {
        remove(self.root.join(PODS).join(netns.to_string()))
    }

    /// The names of the node-wide links.
    pub fn links(&self) -> Result<Vec<String>, PinError> {
        names(&self.root.join(LINKS))
    }

    /// The pods that have a link, by the cookies of their network namespaces.
    pub fn pods(&self) -> Result<Vec<u64>, PinError> {
        Ok(names(&self.root.join(PODS))?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Whether anything is pinned: an earlier agent's programs are in force.
    pub fn is_empty(&self) -> Result<bool, PinError> {
        Ok(self.links()?.is_empty() && self.pods()?.is_empty())
    }

    /// Detaches everything and removes the directory.
    pub fn detach_all(self) -> Result<(), PinError> {
        for directory in [PODS, LINKS] {
            let path = self.root.join(directory);
            for name in names(&path)? {
                remove(path.join(name))?;
            }
            fs::remove_dir(&path).map_err(|source| PinError::File { what: "remove", path, source })?;
        }
        let Self { root, _lock } = self;
        fs::remove_dir(&root).map_err(|source| PinError::File { what: "remove", path: root, source })
    }
}

/// The BPF file system refuses names with a dot (linux/kernel/bpf/inode.c, `bpf_lookup`), which nodes often have.
fn directory_name(node: &str) -> String {
    node.replace('.', "%2e")
}

fn lock(root: &Path, node: &str) -> Result<OwnedFd, PinError> {
    let directory =
        File::open(root).map_err(|source| PinError::File { what: "open", path: root.to_owned(), source })?;
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory.into()),
        Err(_) => Err(PinError::Taken { node: node.to_owned(), path: root.to_owned() }),
    }
}

/// The new link is attached before the old one goes, so there is no moment without either. When this returns, the old
/// one is gone.
fn replace(directory: &Path, name: &str, link: FdLink) -> Result<(), PinError> {
    let (path, new) = (directory.join(name), directory.join(format!("{name}-new")));
    remove(new.clone())?;
    link.pin(&new).map_err(|source| PinError::Pin { path: new.clone(), source })?;
    let old = open(&path)?;
    fs::rename(&new, &path).map_err(|source| PinError::File {
        what: "replace",
        path: path.clone(),
        source,
    })?;
    old.map_or(Ok(()), |old| detach(&old, path))
}

fn remove(path: PathBuf) -> Result<(), PinError> {
    let Some(link) = open(&path)? else { return Ok(()) };
    fs::remove_file(&path).map_err(|source| PinError::File { what: "remove", path: path.clone(), source })?;
    detach(&link, path)
}

/// The link that is pinned there, if there is one.
fn open(path: &Path) -> Result<Option<OwnedFd>, PinError> {
    match sys::open_pinned_link(path) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PinError::File { what: "open", path: path.to_owned(), source }),
    }
}

/// A link without pins is detached by the kernel, but some time later (kernel/bpf/syscall.c, `bpf_link_put`). Until
/// then its program would send connections to listeners of an agent that is gone.
fn detach(link: &OwnedFd, path: PathBuf) -> Result<(), PinError> {
    sys::detach_link(link).map_err(|source| PinError::File { what: "detach", path, source })
}

fn names(directory: &Path) -> Result<Vec<String>, PinError> {
    let error = |source| PinError::File { what: "list", path: directory.to_owned(), source };
    let entries = fs::read_dir(directory).map_err(error)?;
    entries.map(|entry| Ok(entry.map_err(error)?.file_name().to_string_lossy().into_owned())).collect()
}
