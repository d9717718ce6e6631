//! The root certificate: how it is made, and what is demanded of one that was found.

use std::{
    error::Error,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, PublicKeyData,
    SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};
use zeroize::Zeroizing;

use super::SKEW;
use crate::identity::{Key, clock::utc};

/// How long a root holds: ten years, as Istio's self-signed root does.
pub(super) const LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// A root certificate that belongs to its key and to the trust domain.
pub(crate) struct Root {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Why a root certificate cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum RootFault {
    /// Not a certificate.
    #[error("expected a DER certificate")]
    Unreadable(#[source] x509_parser::error::X509Error),
    /// A certificate, but not of an authority.
    #[error("expected the certificate of an authority (basicConstraints CA:TRUE)")]
    NotAnAuthority,
    /// The key and the certificate do not belong together.
    #[error(
        "expected the certificate of the key beside it, found that of another key: put the matching one back"
    )]
    OtherKey,
    /// The authority is of another mesh.
    #[error(
        "expected an authority of trust domain {expected}, found {found}: set the trust domain to it, or use another authority"
    )]
    OtherTrustDomain {
        /// The agent's trust domain.
        expected: String,
        /// What the root names in its URI.
        found: String,
    },
    /// It does not hold at this time.
    #[error("the root certificate holds from {} to {}: check the clock, or replace the authority", utc(*.not_before), utc(*.not_after))]
    NotNow {
        /// The start of its validity.
        not_before: SystemTime,
        /// The end of its validity.
        not_after: SystemTime,
    },
    /// It cannot be used as a trust anchor.
    #[error("expected a certificate that can anchor trust")]
    Anchor(#[source] webpki::Error),
    /// It cannot be used to sign.
    #[error("expected a certificate that can be signed with")]
    Issuer(#[source] rcgen::Error),
}

/// A root that was made just now, in PEM.
pub(crate) struct NewRoot {
    pub(crate) key: Zeroizing<String>,
    pub(crate) certificate: String,
}

impl NewRoot {
    /// A new ECDSA P-256 key with its certificate.
    pub(crate) fn generate(
        trust_domain: &str,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Self, rcgen::Error> {
        let key = Key::generate()?;
        let certificate = sign(&key, trust_domain, lifetime, now)?.pem();
        Ok(Self { key: key.to_pem(), certificate })
    }
}

/// The one certificate that `pem` holds.
pub(crate) fn only_certificate(pem: &[u8]) -> Result<CertificateDer<'static>, Box<dyn Error + Send + Sync>> {
    let mut found = CertificateDer::pem_slice_iter(pem);
    match (found.next(), found.next()) {
        (Some(Ok(certificate)), None) => Ok(certificate),
        (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error.into()),
        (None, _) => Err("found none".into()),
        (Some(Ok(_)), Some(Ok(_))) => Err("found more than one".into()),
    }
}

/// A new root certificate for `key`. It names the trust domain as SPIFFE demands (X.509-SVID, section 3.2): a URI
/// without a path.
pub(super) fn sign(
    key: &Key,
    trust_domain: &str,
    lifetime: Duration,
    now: SystemTime,
) -> Result<rcgen::Certificate, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, trust_domain);
    params.distinguished_name.push(DnType::CommonName, "Culvert root");
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - SKEW).into();
    params.not_after = (now + lifetime).into();
    params.self_signed(key)
}

/// Certificates count in seconds.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}

impl Root {
    /// Checks that `certificate` is an authority's, of this key and of this trust domain. A root that names no
    /// trust domain, such as one that openssl made, serves any.
    pub(super) fn check(
        certificate: CertificateDer<'static>,
        key: &Key,
        trust_domain: &str,
    ) -> Result<Self, RootFault> {
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|error| RootFault::Unreadable(flat(error)))?;
        if !parsed.is_ca() {
            return Err(RootFault::NotAnAuthority);
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(RootFault::OtherKey);
        }
        check_trust_domain(&parsed, trust_domain)?;
        let (not_before, not_after) = validity(&parsed);
        Ok(Self { certificate, not_before, not_after })
    }

    pub(crate) fn holds_at(&self, now: SystemTime) -> Result<(), RootFault> {
        if (self.not_before..self.not_after).contains(&now) {
            return Ok(());
        }
        Err(RootFault::NotNow { not_before: self.not_before, not_after: self.not_after })
    }
}

fn check_trust_domain(root: &X509Certificate<'_>, expected: &str) -> Result<(), RootFault> {
    let names = root.subject_alternative_name().map_err(RootFault::Unreadable)?;
    let uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
        _ => None,
    });
    match uris.into_iter().find(|found| *found != expected) {
        Some(found) => Err(RootFault::OtherTrustDomain { expected: expected.into(), found: found.into() }),
        None => Ok(()),
    }
}

fn validity(root: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = root.validity();
    (validity.not_before.to_datetime().into(), validity.not_after.to_datetime().into())
}

fn flat(error: x509_parser::nom::Err<x509_parser::error::X509Error>) -> x509_parser::error::X509Error {
    match error {
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
        x509_parser::nom::Err::Incomplete(_) => x509_parser::error::X509Error::InvalidCertificate,
    }
}
