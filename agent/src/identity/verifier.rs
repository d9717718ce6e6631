//! Whom a workload accepts on the other side.

use std::{fmt, sync::Arc};

use culvert_policy::SpiffeId;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature,
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::{EndEntityCert, KeyUsage};

use super::{LeafFault, peer, tls};

/// The roots that certificates must chain to, and the trust domains that they may carry.
pub struct Trust {
    roots: Vec<TrustAnchor<'static>>,
    /// Our own first; those behind it are its aliases.
    trust_domains: Vec<Arc<str>>,
}

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
    /// Signed by our root, but no workload's certificate.
    #[error(transparent)]
    Leaf(#[from] LeafFault),
    /// The chain breaks a rule of X.509.
    #[error("the certificate chain is not valid: {0}")]
    Chain(webpki::Error),
}

impl Trust {
    /// Trusts what these roots signed for `trust_domain`.
    pub fn new<'a>(
        trust_domain: &str,
        roots: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    ) -> Result<Self, webpki::Error> {
        let anchors = roots.into_iter().map(|root| Ok(webpki::anchor_from_trusted_cert(root)?.to_owned()));
        Ok(Self { roots: anchors.collect::<Result<_, _>>()?, trust_domains: vec![trust_domain.into()] })
    }

    /// Whether `id` is of our trust domain; the error is what it should have been.
    pub(super) fn is_ours(&self, id: &SpiffeId) -> Result<(), Arc<str>> {
        if self.trust_domains.contains(&id.trust_domain) {
            return Ok(());
        }
        Err(self.trust_domains[0].clone())
    }

    /// The identity that a certificate proves, for whoever can also sign with its key.
    fn identify(&self, shown: &Shown<'_>, usage: KeyUsage) -> Result<SpiffeId, CertificateError> {
        let leaf = EndEntityCert::try_from(shown.leaf).map_err(chain_error)?;
        let algorithms = tls::algorithms().all;
        leaf.verify_for_usage(algorithms, &self.roots, shown.intermediates, shown.now, usage, None, None)
            .map_err(chain_error)?;
        let found = peer::workload_of(shown.leaf).map_err(PeerFault::from)?;
        self.is_ours(&found)
            .map_err(|expected| PeerFault::ForeignTrustDomain { expected, found: found.clone() })?;
        Ok(found)
    }
}

/// What the other side shows, and when.
struct Shown<'a> {
    leaf: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    now: UnixTime,
}

/// In the words that make rustls send the alert which RFC 8446, section 6.2 has for it. A signature that is not our
/// root's is an authority that merely has the name of ours.
fn chain_error(error: webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => CertificateError::UnknownIssuer,
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => PeerFault::Chain(other).into(),
    }
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
        if found == self.expected {
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

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("trust_domains", &self.trust_domains).finish_non_exhaustive()
    }
}
