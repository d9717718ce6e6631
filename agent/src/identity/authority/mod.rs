//! The certificate authority inside the agent.

mod dir;
mod root;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use zeroize::Zeroize;

use super::{Certificate, IssueError, Issuer, Trust};
use root::Root;
pub use root::RootFault;

/// How far `notBefore` lies before the time of issue, for peers whose clocks are late. Istio's CA allows the same
/// (`ClockSkewGracePeriod` in `security/pkg/pki/util/generate_cert.go`).
const SKEW: Duration = Duration::from_mins(2);

/// A certificate authority for one trust domain, whose key is an ECDSA P-256 key unless the directory holds another.
pub struct Authority {
    trust: Arc<Trust>,
    root: Root,
    issuer: rcgen::Issuer<'static, KeyPair>,
}

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
        source: std::io::Error,
    },
    /// A file or the directory cannot be created.
    #[error("cannot create {}: make its directory writable for the agent, or name another", path.display())]
    Create {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
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
        source: Box<dyn std::error::Error + Send + Sync>,
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

impl Authority {
    /// An authority that lives as long as this value, with a key of its own.
    pub fn in_memory(trust_domain: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let root = root::sign(&key, trust_domain, SystemTime::now())?;
        Self::from_pair(key, root.into(), trust_domain).map_err(|source| AuthorityError::Root {
            path: "(in memory)".into(),
            source,
        })
    }

    /// The authority that all agents with this directory share: `ca.key` (PKCS#8, mode 0600) and `ca.pem`. Whoever
    /// comes first makes them. The directory may be read-only once they exist.
    pub fn in_dir(dir: &Path, trust_domain: &str) -> Result<Self, AuthorityError> {
        let (key, root) = dir::load_or_create(dir, trust_domain)?;
        Self::from_pair(key, root, trust_domain).map_err(|source| AuthorityError::Root {
            path: dir.join(dir::ROOT),
            source,
        })
    }

    /// The root certificate, which every peer must trust.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root.certificate
    }

    fn from_pair(key: KeyPair, root: CertificateDer<'static>, trust_domain: &str) -> Result<Self, RootFault> {
        let root = Root::check(root, &key, trust_domain)?;
        root.holds_at(SystemTime::now())?;
        let trust = Trust::new(trust_domain, [&root.certificate]).map_err(RootFault::Anchor)?;
        let issuer = rcgen::Issuer::from_ca_cert_der(&root.certificate, key).map_err(RootFault::Issuer)?;
        Ok(Self {
            trust: Arc::new(trust),
            root,
            issuer,
        })
    }

    fn sign(
        &self,
        id: &SpiffeId,
        key: &KeyPair,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<CertificateDer<'static>, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.to_string().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        Ok(params.signed_by(key, &self.issuer)?.into())
    }
}

impl Issuer for Authority {
    fn issue(&self, id: &SpiffeId, lifetime: Duration, now: SystemTime) -> Result<Certificate, IssueError> {
        self.trust
            .is_ours(id)
            .map_err(|expected| IssueError::ForeignTrustDomain {
                expected,
                found: id.clone(),
            })?;
        self.root.holds_at(now).map_err(|source| IssueError::Root {
            id: id.clone(),
            source,
        })?;
        let not_before = root::whole_seconds(now - SKEW);
        let not_after = root::whole_seconds(now + lifetime.min(root::LIFETIME)).min(self.root.not_after);
        let sign_error = |source| IssueError::Sign {
            id: id.clone(),
            source,
        };
        let mut pair = KeyPair::generate().map_err(sign_error)?;
        let leaf = self.sign(id, &pair, not_before, not_after).map_err(sign_error)?;
        let key = tls_key(leaf, &pair).map_err(|source| IssueError::Key {
            id: id.clone(),
            source,
        });
        pair.zeroize();
        Ok(Certificate {
            key: Arc::new(key?),
            issued: now,
            not_before,
            not_after,
        })
    }

    fn trust(&self) -> Arc<Trust> {
        self.trust.clone()
    }
}

fn tls_key(leaf: CertificateDer<'static>, pair: &KeyPair) -> Result<CertifiedKey, rustls::Error> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialized_der()));
    Ok(CertifiedKey::new(vec![leaf], any_ecdsa_type(&der)?))
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}
