//! Whom a workload accepts on the other side.

use std::sync::Arc;

use culvert_policy::SpiffeId;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::KeyUsage;

use super::{LeafFault, Trust, tls, trust::Shown};

/// What is wrong with the other side's certificate, where rustls has no word for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// Signed by our root, for another trust domain.
    #[error("expected a certificate of trust domain {expected}, found {found}")]
    ForeignTrustDomain {
        /// Our trust domain.
        expected: Arc<str>,
        /// The identity that was shown.
        found: SpiffeId,
    },
    /// A workload of our mesh, but not the one that was asked for.
    #[error("expected {expected}, found {found}")]
    WrongIdentity {
        /// The identity that the cluster gives for this peer.
        expected: SpiffeId,
        /// The identity that was shown.
        found: SpiffeId,
    },
    /// The server that a rule asks for shows another's certificate.
    #[error("expected a certificate for {expected}, found one for {found}")]
    WrongName {
        /// The names that the rule allows.
        expected: String,
        /// Those in the certificate.
        found: String,
    },
    /// Signed by our root, but no workload's certificate.
    #[error(transparent)]
    Leaf(#[from] LeafFault),
    /// The chain breaks a rule of X.509.
    #[error("the certificate chain is not valid: {0}")]
    Chain(webpki::Error),
}

impl From<PeerFault> for CertificateError {
    fn from(fault: PeerFault) -> Self {
        Self::Other(OtherError(Arc::new(fault)))
    }
}

/// Accepts every workload of the mesh as a client.
#[derive(Debug)]
pub(super) struct AnyWorkload(pub(super) Arc<Trust>);

impl ClientCertVerifier for AnyWorkload {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.identify(&Shown { leaf, intermediates, now }, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(TLS12_IS_OFF)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &tls::algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::algorithms().supported_schemes()
    }
}

/// Accepts one workload as the server.
#[derive(Debug)]
pub(super) struct OneWorkload {
    pub(super) trust: Arc<Trust>,
    pub(super) expected: SpiffeId,
}

impl OneWorkload {
    fn check(&self, found: SpiffeId) -> Result<(), PeerFault> {
        if self.trust.is_same(&found, &self.expected) {
            return Ok(());
        }
        Err(PeerFault::WrongIdentity { expected: self.expected.clone(), found })
    }
}

impl ServerCertVerifier for OneWorkload {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = self.trust.identify(&Shown { leaf, intermediates, now }, KeyUsage::server_auth())?;
        self.check(found).map_err(CertificateError::from)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(TLS12_IS_OFF)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &tls::algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::algorithms().supported_schemes()
    }
}

const TLS12_IS_OFF: rustls::Error =
    rustls::Error::PeerIncompatible(rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig);
