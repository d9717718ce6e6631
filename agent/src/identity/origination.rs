//! TLS by the settings of a `DestinationRule`, with nothing of the mesh's: rustls configurations out of files.
//!
//! The files are the agent's own: what a rule names has to be mounted into the agent, below one directory, for a rule's
//! author must not reach the agent's other keys. They are looked at for each connection and every few seconds, and read
//! when they have changed.

mod config;
mod files;
#[cfg(test)]
mod tests;
mod verifier;

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use culvert_policy::{Origination, ServerProof};
use rustls::ClientConfig;
use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

use self::files::Stamps;
use super::{Clock, failing::with_sources};
use crate::cluster::{Originate, TlsVersion};

/// The configurations of all rules that are in use. A cheap handle.
#[derive(Clone)]
pub struct Originator {
    /// Where rules may name files.
    files: Arc<Path>,
    clock: Arc<dyn Clock>,
    prepared: Arc<Mutex<HashMap<Terms, Prepared>>>,
}

/// How often files are looked at without a connection that needs them.
const EVERY: Duration = Duration::from_secs(2);

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
    /// A file is not for rules to name.
    #[error("{}, which a DestinationRule names, is not below --tls-files {}", path.display(), allowed.display())]
    Elsewhere {
        /// The file, with all links followed.
        path: PathBuf,
        /// Where it would have to be.
        allowed: PathBuf,
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
#[derive(Clone, PartialEq, Eq, Hash)]
struct Terms {
    settings: Arc<Origination>,
    /// Empty where the settings name whom the server's certificate may be for, and where nobody does.
    server_names: Arc<[Arc<str>]>,
    min_version: TlsVersion,
}

/// How it went when the files were last read.
struct Prepared {
    stamps: Stamps,
    config: Option<Arc<ClientConfig>>,
    fault: Option<String>,
}

impl Originator {
    /// None yet. Rules may name files below `files`.
    pub fn new(files: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { files: files.into(), clock, prepared: Arc::default() }
    }

    /// The configuration for a rule's terms, by what its files hold now. A fault is logged when it comes, and so is its
    /// end.
    pub async fn config(&self, originate: &Originate) -> Result<Arc<ClientConfig>, OriginationFault> {
        let (originator, terms) = (self.clone(), Terms::of(originate));
        // A file system may be slow to answer, and the thread's other connections must not wait for it.
        spawn_blocking(move || originator.prepare(terms)).await.map_err(|_| OriginationFault::Ending)?
    }

    /// Looks at the files of all rules in use, for ever, so that a fault is known to have come or gone before the next
    /// connection.
    pub async fn follow(self) {
        loop {
            sleep(EVERY).await;
            let originator = self.clone();
            if spawn_blocking(move || originator.look()).await.is_err() {
                return;
            }
        }
    }

    /// Why TLS cannot be opened now, by the settings of rules that are in use.
    pub fn faults(&self) -> HashMap<Arc<Origination>, String> {
        let prepared = self.prepared();
        let faulty = prepared.iter().filter(|(terms, _)| terms.are_in_force());
        faulty.filter_map(|(terms, it)| Some((Arc::clone(&terms.settings), it.fault.clone()?))).collect()
    }

    fn look(&self) {
        let mut prepared = self.prepared();
        prepared.retain(|terms, _| terms.are_in_force());
        let in_use: Vec<Terms> = prepared.keys().cloned().collect();
        drop(prepared);
        for terms in in_use {
            // What came of it is kept.
            let _ = self.prepare(terms);
        }
    }

    fn prepare(&self, terms: Terms) -> Result<Arc<ClientConfig>, OriginationFault> {
        // Taken before anything is read, so that a file that changes meanwhile is read again.
        let stamps = Stamps::of(&paths(&terms.settings));
        if let Some(config) = self.unchanged(&terms, &stamps) {
            return Ok(config);
        }
        let made = paths(&terms.settings).into_iter().try_for_each(|path| self.allow(path));
        let made = made.and_then(|()| self.make(&terms)).map(Arc::new);
        self.keep(terms, stamps, &made);
        made
    }

    fn make(&self, terms: &Terms) -> Result<ClientConfig, OriginationFault> {
        config::make(&terms.settings, &terms.server_names, terms.min_version, Arc::clone(&self.clock))
    }

    fn allow(&self, named: &Path) -> Result<(), OriginationFault> {
        let follow = |path: &Path| {
            fs::canonicalize(path).map_err(|source| OriginationFault::Read { path: path.to_owned(), source })
        };
        let (path, allowed) = (follow(named)?, follow(&self.files)?);
        if path.starts_with(&allowed) { Ok(()) } else { Err(OriginationFault::Elsewhere { path, allowed }) }
    }

    fn unchanged(&self, terms: &Terms, stamps: &Stamps) -> Option<Arc<ClientConfig>> {
        let prepared = self.prepared();
        prepared.get(terms).filter(|prepared| prepared.stamps == *stamps)?.config.clone()
    }

    fn keep(&self, terms: Terms, stamps: Stamps, made: &Result<Arc<ClientConfig>, OriginationFault>) {
        let mut prepared = self.prepared();
        prepared.retain(|terms, _| terms.are_in_force());
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

impl Terms {
    fn of(originate: &Originate) -> Self {
        let Originate { settings, server_names, min_version, .. } = originate;
        let names_some =
            matches!(&settings.server, ServerProof::Certificate { names, .. } if !names.is_empty());
        Self {
            settings: Arc::clone(settings),
            server_names: if names_some { Arc::default() } else { Arc::clone(server_names) },
            min_version: *min_version,
        }
    }

    /// What is no rule's any more is known to nobody else.
    fn are_in_force(&self) -> bool {
        Arc::strong_count(&self.settings) > 1
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
