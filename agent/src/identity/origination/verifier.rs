//! Whom a client that goes by a rule accepts as the server.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use rustls::{
    CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::identity::PeerFault;

/// Accepts a server that shows a certificate of a trusted root for a name, or any.
#[derive(Debug)]
pub(super) struct Server {
    /// None verifies nothing.
    roots: Option<RootCertStore>,
    /// None means the name that was asked for.
    names: Vec<Arc<str>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Server {
    pub(super) fn with_certificate(
        roots: RootCertStore,
        names: &[Arc<str>],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { roots: Some(roots), names: names.to_vec(), algorithms }
    }

    pub(super) const fn unverified(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { roots: None, names: Vec::new(), algorithms }
    }

    /// A name in the rule is one in the certificate, letter for letter, or one that the certificate is good for by its
    /// wildcard, as Envoy has it.
    fn check_names(
        &self,
        leaf: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
    ) -> Result<(), PeerFault> {
        let found = alternative_names(leaf);
        let is_good = |name: &Arc<str>| {
            let named = || ServerName::try_from(&**name).ok();
            found.iter().any(|found| **found == **name)
                || named().is_some_and(|name| verify_server_name(parsed, &name).is_ok())
        };
        if self.names.iter().any(is_good) {
            return Ok(());
        }
        Err(PeerFault::WrongName { expected: self.names.join(", "), found: bounded(&found.join(", ")) })
    }
}

impl ServerCertVerifier for Server {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)
            .map_err(of_chain)?;
        if self.names.is_empty() {
            verify_server_name(&parsed, name)?;
        } else {
            self.check_names(leaf, &parsed).map_err(CertificateError::from)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A signature that is not a trusted root's is of an authority that merely has the name of one.
fn of_chain(error: rustls::Error) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            CertificateError::UnknownIssuer.into()
        }
        other => other,
    }
}

fn alternative_names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(in_words).collect()
}

fn in_words(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| Ipv4Addr::from(bytes).to_string());
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(|bytes| Ipv6Addr::from(bytes).to_string())).ok()
        }
        _ => None,
    }
}

/// As much as a person reads.
fn bounded(text: &str) -> String {
    text.chars().take(MAX_NAMES).collect()
}

const MAX_NAMES: usize = 256;
