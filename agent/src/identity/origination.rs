//! TLS by the settings of a `DestinationRule`, with nothing of the mesh's: rustls configurations out of files.
//!
//! The files are the agent's own: what a rule names has to be mounted into the agent. They are looked at for each
//! connection, and read when they have changed.

mod config;
mod files;
#[cfg(test)]
mod tests;
mod verifier;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use culvert_policy::{Origination, ServerProof};
use rustls::ClientConfig;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use self::files::Stamps;
use super::{Clock, failing::with_sources};
use crate::cluster::TlsVersion;

/// The configurations of all rules that are in use.
pub struct Originator {
    clock: Arc<dyn Clock>,
    prepared: Mutex<HashMap<Terms, Prepared>>,
}

/// Why TLS cannot be opened as a rule demands it.
#[derive(Debug, thiserror::Error)]
pub enum OriginationFault {
    /// A file cannot be read.
    #[error("cannot read {}, which a DestinationRule names; mount it into the agent", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file has more than anybody needs.
    #[error("expected at most {} bytes in {}, found more", files::MAX_FILE, path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file holds something else.
    #[error("expected {expected} in PEM in {}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong with what it holds.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is nothing to verify a server by.
    #[error(
        "expected trusted roots in the agent's system, found none; set caCertificates in the DestinationRule"
    )]
    NoSystemRoots,
    /// The certificate and the key are not each other's.
    #[error("expected the key of the certificate in {}, found another's in {}", certificate.display(), key.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The agent is ending.
    #[error("the agent is ending")]
    Ending,
}

/// What a configuration is made from.
type Terms = (Arc<Origination>, TlsVersion);

/// How it went when the files were last read.
struct Prepared {
    stamps: Stamps,
    config: Option<Arc<ClientConfig>>,
    fault: Option<String>,
}

impl Originator {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, prepared: Mutex::default() }
    }

    /// The configuration for a rule's settings, by what its files hold now. A fault is logged when it comes, and so is
    /// its end.
    pub async fn config(
        self: &Arc<Self>,
        settings: &Arc<Origination>,
        min_version: TlsVersion,
    ) -> Result<Arc<ClientConfig>, OriginationFault> {
        let (originator, terms) = (Arc::clone(self), (Arc::clone(settings), min_version));
        // A file system may be slow to answer, and the thread's other connections must not wait for it.
        spawn_blocking(move || originator.prepare(terms)).await.map_err(|_| OriginationFault::Ending)?
    }

    fn prepare(&self, terms: Terms) -> Result<Arc<ClientConfig>, OriginationFault> {
        // Taken before anything is read, so that a file that changes meanwhile is read again.
        let stamps = Stamps::of(&paths(&terms.0));
        if let Some(config) = self.unchanged(&terms, &stamps) {
            return Ok(config);
        }
        let made = config::make(&terms.0, terms.1, Arc::clone(&self.clock)).map(Arc::new);
        self.keep(terms, stamps, &made);
        made
    }

    fn unchanged(&self, terms: &Terms, stamps: &Stamps) -> Option<Arc<ClientConfig>> {
        let prepared = self.prepared();
        prepared.get(terms).filter(|prepared| prepared.stamps == *stamps)?.config.clone()
    }

    fn keep(&self, terms: Terms, stamps: Stamps, made: &Result<Arc<ClientConfig>, OriginationFault>) {
        let mut prepared = self.prepared();
        // Whoever is no rule's any more is known to nobody else.
        prepared.retain(|(settings, _), _| Arc::strong_count(settings) > 1);
        let fault = made.as_ref().err().map(|fault| with_sources(fault));
        let before = prepared.get(&terms).and_then(|before| before.fault.as_ref());
        match &fault {
            Some(fault) if before != Some(fault) => {
                warn!(fault, "TLS that a DestinationRule demands is refused");
            }
            None if before.is_some() => info!("TLS that a DestinationRule demands is opened again"),
            _ => {}
        }
        prepared.insert(terms, Prepared { stamps, config: made.as_ref().ok().cloned(), fault });
    }

    fn prepared(&self) -> MutexGuard<'_, HashMap<Terms, Prepared>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn paths(settings: &Origination) -> Vec<&PathBuf> {
    let roots = match &settings.server {
        ServerProof::Certificate { roots, .. } => roots.as_ref(),
        ServerProof::None => None,
    };
    let client = settings.client.iter().flat_map(|client| [&client.certificate, &client.private_key]);
    roots.into_iter().chain(client).collect()
}

impl fmt::Debug for Originator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Originator").finish_non_exhaustive()
    }
}
