//! Why there is no authority, and what to do about it.

use std::{error::Error, io, path::PathBuf};

use super::RootFault;

/// There is no usable certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// No key or no root certificate could be made.
    #[error("cannot make a certificate authority")]
    Make(#[from] rcgen::Error),
    /// A file or the directory cannot be read.
    #[error("cannot read {}: run the agent as its owner, or name another directory for the authority", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or the directory cannot be created.
    #[error("cannot create {}: make its directory writable for the agent, or name another", path.display())]
    Create {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read the key, or can put another in its place.
    #[error("{} is open to others (mode {mode:04o}): run chmod {remedy} on it", path.display())]
    Permissive {
        /// The file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What chmod should take away.
        remedy: &'static str,
    },
    /// There is a certificate without its key.
    #[error("{} has ca.pem but no ca.key: put the key back, or remove ca.pem to have a new authority made", dir.display())]
    KeyMissing {
        /// The directory.
        dir: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("expected {expected} in {}: put it right, or remove ca.key and ca.pem to have a new authority made", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What was found.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The root certificate cannot serve.
    #[error("cannot use the root certificate {}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RootFault,
    },
}
