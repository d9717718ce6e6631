//! The root certificates that are trusted.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{
    fmt::{self, Write as _},
    time::SystemTime,
};

use rustls::{
    crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    pki_types::{CertificateDer, TrustAnchor, pem, pem::PemObject},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// More roots than any rotation needs at once; each is tried for each certificate that is judged.
const MAX_ROOTS: usize = 32;

/// A set of root certificates.
#[derive(Default)]
pub struct Roots {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<CertificateDer<'static>>,
}

/// A trusted root, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootReport {
    /// Its subject, as RFC 4514 writes it.
    pub subject: String,
    /// SHA-256 of the certificate, in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Until when it holds.
    pub not_after: SystemTime,
}

/// Why a text is no set of roots.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootsFault {
    /// It is not PEM.
    #[error("expected certificates in PEM")]
    Pem(#[source] pem::Error),
    /// It has no certificate.
    #[error("expected at least one certificate in PEM, found none")]
    None,
    /// It has more than anybody needs.
    #[error("expected at most {MAX_ROOTS} certificates, found more")]
    TooMany,
    /// One of them is no certificate.
    #[error("expected an X.509 certificate as number {number}, found something unreadable")]
    Unreadable {
        /// Which one, counted from 1.
        number: usize,
    },
    /// One of them is not an authority's.
    #[error("expected the certificate of an authority (basicConstraints CA:TRUE) as number {number}")]
    NotAnAuthority {
        /// Which one, counted from 1.
        number: usize,
    },
    /// One of them cannot be a root.
    #[error("expected a certificate that can anchor trust")]
    Anchor(#[source] webpki::Error),
}

impl Roots {
    /// These certificates and no others.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, webpki::Error> {
        let anchors = certificates.iter().map(|root| Ok(webpki::anchor_from_trusted_cert(root)?.to_owned()));
        Ok(Self { anchors: anchors.collect::<Result<_, _>>()?, certificates })
    }

    /// All certificates of a text in PEM. One that cannot be a root spoils the set: what it was meant to be would be
    /// missing.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, RootsFault> {
        let found = CertificateDer::pem_slice_iter(text).take(MAX_ROOTS + 1);
        let certificates = found.collect::<Result<Vec<_>, _>>().map_err(RootsFault::Pem)?;
        match certificates.len() {
            0 => return Err(RootsFault::None),
            1..=MAX_ROOTS => {}
            _ => return Err(RootsFault::TooMany),
        }
        for (number, certificate) in (1..).zip(&certificates) {
            check(number, certificate)?;
        }
        Self::new(certificates).map_err(RootsFault::Anchor)
    }

    /// Whether nobody can be trusted.
    pub(super) fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Each of them, for people.
    pub fn report(&self) -> Vec<RootReport> {
        self.certificates.iter().filter_map(report).collect()
    }
}

fn check(number: usize, certificate: &CertificateDer<'_>) -> Result<(), RootsFault> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| RootsFault::Unreadable { number })?;
    if parsed.is_ca() { Ok(()) } else { Err(RootsFault::NotAnAuthority { number }) }
}

fn report(certificate: &CertificateDer<'_>) -> Option<RootReport> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(RootReport {
        subject: parsed.subject().to_string(),
        fingerprint: sha256(certificate),
        not_after: parsed.validity().not_after.to_datetime().into(),
    })
}

fn sha256(bytes: &[u8]) -> String {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    let digest = suite.common.hash_provider.hash(bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.report()).finish()
    }
}
