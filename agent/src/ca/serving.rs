//! The server's own certificate: signed by the root that signs, kept in memory, renewed by itself.

use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use rcgen::SanType;
use rustls::{
    ServerConfig,
    pki_types::ServerName,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    CaOptions, OptionsFault,
    roots::{Roots, StoredRoot},
};
use crate::identity::{Clock, Key, authority_config, certified_key, with_sources};

/// Its key never leaves the process: a new one costs nothing.
const LIFETIME: Duration = Duration::from_hours(24);

/// The names of the server, and its newest certificate.
pub(super) struct Serving {
    names: Vec<SanType>,
    newest: ArcSwapOption<Newest>,
}

struct Newest {
    key: Arc<CertifiedKey>,
    generation: u64,
    renewal: SystemTime,
}

/// The certificate could not be made.
#[derive(Debug, thiserror::Error)]
enum ServingError {
    #[error("cannot sign")]
    Sign(#[from] rcgen::Error),
    #[error("cannot use the new key")]
    Key(#[from] rustls::Error),
}

impl Serving {
    pub(super) fn new(options: &CaOptions) -> Result<Self, OptionsFault> {
        let names = options.names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
        Ok(Self { names, newest: ArcSwapOption::empty() })
    }

    /// TLS 1.3 with the newest certificate, as long as this lives.
    pub(super) fn tls(self: &Arc<Self>, clock: Arc<dyn Clock>) -> ServerConfig {
        authority_config(clock, self.clone())
    }

    /// Makes a new certificate if half of the life of the newest is over, or another root signs now.
    pub(super) fn renew(&self, roots: &Roots, now: SystemTime) {
        let Some(root) = roots.signing(now) else { return };
        let newest = self.newest.load();
        if newest.as_ref().is_some_and(|newest| newest.serves(&root, now)) {
            return;
        }
        match self.make(&root, now) {
            Ok(made) => self.newest.store(Some(Arc::new(made))),
            Err(error) => {
                tracing::warn!(error = with_sources(&error), "cannot renew the server's certificate");
            }
        }
    }

    fn make(&self, root: &StoredRoot, now: SystemTime) -> Result<Newest, ServingError> {
        let pair = Key::generate()?;
        let leaf = root.signer.server(self.names.clone(), &pair, LIFETIME, now)?;
        let key = certified_key(vec![leaf.certificate.into()], &pair)?;
        let life = leaf.not_after.duration_since(now).unwrap_or_default();
        Ok(Newest { key: Arc::new(key), generation: root.generation, renewal: now + life / 2 })
    }
}

impl Newest {
    fn serves(&self, root: &StoredRoot, now: SystemTime) -> bool {
        self.generation == root.generation && now < self.renewal
    }
}

fn san(name: &str) -> Result<SanType, OptionsFault> {
    let bad = || OptionsFault::BadName { found: name.to_owned() };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    match ServerName::try_from(name).map_err(|_| bad())? {
        ServerName::DnsName(name) => Ok(SanType::DnsName(name.as_ref().try_into().map_err(|_| bad())?)),
        _ => Err(bad()),
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.newest.load().as_ref().map(|newest| newest.key.clone())
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("names", &self.names).finish_non_exhaustive()
    }
}
