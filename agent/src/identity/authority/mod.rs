//! The certificate authority inside the agent.

mod dir;
mod error;
mod root;

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroize;

use super::{Certificate, IssueError, Trust, certificate::certified_key};
pub use error::AuthorityError;
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

impl Authority {
    /// An authority that lives as long as this value, with a key of its own.
    pub fn in_memory(trust_domain: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let root = root::sign(&key, trust_domain, SystemTime::now())?;
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
        &self.root.certificate
    }

    fn from_pair(key: KeyPair, root: CertificateDer<'static>, trust_domain: &str) -> Result<Self, RootFault> {
        let root = Root::check(root, &key, trust_domain)?;
        root.holds_at(SystemTime::now())?;
        let trust = Trust::new(trust_domain, [&root.certificate]).map_err(RootFault::Anchor)?;
        let issuer = rcgen::Issuer::from_ca_cert_der(&root.certificate, key).map_err(RootFault::Issuer)?;
        Ok(Self { trust: Arc::new(trust), root, issuer })
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
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        Ok(params.signed_by(key, &self.issuer)?.into())
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
        self.root.holds_at(now).map_err(|source| IssueError::Root { id: id.clone(), source })?;
        let not_before = root::whole_seconds(now - SKEW);
        let not_after = root::whole_seconds(now + lifetime.min(root::LIFETIME)).min(self.root.not_after);
        let sign_error = |source| IssueError::Sign { id: id.clone(), source };
        let mut pair = KeyPair::generate().map_err(sign_error)?;
        let leaf = self.sign(id, &pair, not_before, not_after).map_err(sign_error)?;
        let key =
            certified_key(vec![leaf], &pair).map_err(|source| IssueError::Key { id: id.clone(), source });
        pair.zeroize();
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
