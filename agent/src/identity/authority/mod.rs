//! The certificate authority inside the agent.

mod dir;
mod error;
mod root;
mod signer;

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use rustls::pki_types::CertificateDer;

use super::{Certificate, IssueError, Key, Trust, certificate::certified_key};
pub use error::AuthorityError;
pub use root::RootFault;
pub(crate) use root::{NewRoot, only_certificate};
pub(crate) use signer::{Leaf, Signer};

/// How far `notBefore` lies before the time of issue, for peers whose clocks are late. Istio's CA allows the same
/// (`ClockSkewGracePeriod` in `security/pkg/pki/util/generate_cert.go`).
const SKEW: Duration = Duration::from_mins(2);

/// A certificate authority for one trust domain, whose key is an ECDSA P-256 key unless the directory holds another.
pub struct Authority {
    trust: Arc<Trust>,
    signer: Signer,
}

impl Authority {
    /// An authority that lives as long as this value, with a key of its own.
    pub fn in_memory(trust_domain: &str) -> Result<Self, AuthorityError> {
        let key = Key::generate()?;
        let root = root::sign(&key, trust_domain, root::LIFETIME, SystemTime::now())?;
        Self::from_pair(key, root.into(), trust_domain)
            .map_err(|source| AuthorityError::Root { path: "(in memory)".into(), source })
    }

    /// The authority that all agents with this directory share: `ca.key` (PKCS#8, mode 0600) and `ca.pem`. Whoever
    /// comes first makes them. The directory may be read-only once they exist.
    pub fn in_dir(dir: &Path, trust_domain: &str) -> Result<Self, AuthorityError> {
        let (key, root) = dir::load_or_create(dir, trust_domain)?;
        Self::from_pair(key, root, trust_domain)
            .map_err(|source| AuthorityError::Root { path: dir.join(dir::ROOT), source })
    }

    /// The root certificate, which every peer must trust.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.signer.root().certificate
    }

    fn from_pair(key: Key, root: CertificateDer<'static>, trust_domain: &str) -> Result<Self, RootFault> {
        let signer = Signer::new(key, root, trust_domain)?;
        signer.root().holds_at(SystemTime::now())?;
        let trust = Trust::new(trust_domain, [&signer.root().certificate]).map_err(RootFault::Anchor)?;
        Ok(Self { trust: Arc::new(trust), signer })
    }
}

impl Authority {
    /// A new key and a certificate for it: valid from `now` for at most `lifetime`.
    pub fn issue(
        &self,
        id: &SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Certificate, IssueError> {
        self.trust
            .is_ours(id)
            .map_err(|expected| IssueError::ForeignTrustDomain { expected, found: id.clone() })?;
        self.signer.root().holds_at(now).map_err(|source| IssueError::Root { id: id.clone(), source })?;
        let sign_error = |source| IssueError::Sign { id: id.clone(), source };
        let pair = Key::generate().map_err(sign_error)?;
        let leaf = self.signer.workload(id, &pair, lifetime, now).map_err(sign_error)?;
        let Leaf { certificate, not_before, not_after } = leaf;
        let key = certified_key(vec![certificate.into()], &pair)
            .map_err(|source| IssueError::Key { id: id.clone(), source });
        Ok(Certificate { key: Arc::new(key?), issued: now, not_before, not_after })
    }

    /// The authority's root as the one to trust.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.clone()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("trust", &self.trust).finish_non_exhaustive()
    }
}
