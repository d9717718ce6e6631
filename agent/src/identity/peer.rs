//! The other side of a finished handshake.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use culvert_policy::{Reason, SpiffeId, SpiffeIdError};
use rustls::{CommonState, pki_types::CertificateDer};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// Proof that a handshake with one of a [`super::Workload`]'s configurations ended well, and with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPeer(SpiffeId);

/// Why a certificate, although our root signed it, is no workload's (X.509-SVID, sections 2 and 4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafFault {
    /// The DER, or one of its extensions, cannot be read.
    #[error("expected an X.509 certificate, found something unreadable")]
    Unreadable,
    /// A workload has one identity.
    #[error("expected exactly one URI among the certificate's names, found {found}")]
    NotOneUri {
        /// How many there are.
        found: usize,
    },
    /// The URI is no identity of a Kubernetes workload.
    #[error("the certificate's URI is not a workload's")]
    NotAWorkload(#[from] SpiffeIdError),
    /// The key may sign certificates, or may not sign handshakes.
    #[error("expected a certificate whose key is for digital signatures only")]
    KeyUsage,
}

impl VerifiedPeer {
    /// The server, as its client sees it.
    pub fn of_server(connection: &rustls::ClientConnection) -> Result<Self, Reason> {
        Self::of(connection)
    }

    /// The client, as its server sees it.
    pub fn of_client(connection: &rustls::ServerConnection) -> Result<Self, Reason> {
        Self::of(connection)
    }

    /// The peer's identity.
    pub fn id(&self) -> &SpiffeId {
        &self.0
    }

    /// The other side of a connection whose handshake is over, whichever that is.
    pub fn of(connection: &CommonState) -> Result<Self, Reason> {
        if connection.is_handshaking() {
            return Err(Reason::HandshakeFailed);
        }
        let leaf = connection.peer_certificates().and_then(<[_]>::first).ok_or(Reason::NoPeerCertificate)?;
        workload_of(leaf).map(Self).map_err(|_| Reason::BadCertificate)
    }
}

/// The one identity in a certificate. It says nothing about who signed it.
pub(super) fn workload_of(leaf: &CertificateDer<'_>) -> Result<SpiffeId, LeafFault> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| LeafFault::Unreadable)?;
    check_key_usage(&leaf)?;
    Ok(only_uri(&leaf)?.parse()?)
}

fn check_key_usage(leaf: &X509Certificate<'_>) -> Result<(), LeafFault> {
    let Some(usage) = leaf.key_usage().map_err(|_| LeafFault::Unreadable)? else {
        return Ok(());
    };
    let usage = usage.value;
    if usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign() {
        return Ok(());
    }
    Err(LeafFault::KeyUsage)
}

fn only_uri<'a>(leaf: &'a X509Certificate<'a>) -> Result<&'a str, LeafFault> {
    let names = leaf.subject_alternative_name().map_err(|_| LeafFault::Unreadable)?;
    let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
    let uris: Vec<_> = names.iter().filter(|name| is_uri(name)).collect();
    match uris[..] {
        [GeneralName::URI(uri)] => Ok(uri),
        [_] => Err(LeafFault::Unreadable),
        _ => Err(LeafFault::NotOneUri { found: uris.len() }),
    }
}

/// One that cannot be read counts too: other readers might see an identity in it.
fn is_uri(name: &GeneralName<'_>) -> bool {
    matches!(name, GeneralName::URI(_) | GeneralName::Invalid(..))
}
