//! What a failed handshake means, in the words of the log.

use std::{error::Error, io};

use culvert_policy::Reason;
use rustls::{AlertDescription, CertificateError};

use super::{PeerFault, failing::with_sources};

/// Why a handshake failed. An error without a word about TLS, such as a reset, is a failed handshake and no more.
pub fn tls_reason(error: &io::Error) -> Reason {
    tls_fault(error).unwrap_or(Reason::HandshakeFailed)
}

/// What an error on a TLS stream says about TLS, if anything. A client learns that its certificate was refused only
/// from its first read after the handshake (RFC 8446, appendix E.1.1), so this is asked of reads and writes too.
pub fn tls_fault(error: &io::Error) -> Option<Reason> {
    match find_tls(error) {
        Some(error) => Some(reason_of(error)),
        None if error.kind() == io::ErrorKind::TimedOut => Some(Reason::Timeout),
        None => None,
    }
}

/// The whole error for the log, with what was expected and what was found. It carries names out of the other side's
/// certificate, bounded in length, but no key.
pub fn tls_detail(error: &io::Error) -> String {
    find_tls(error).map_or_else(|| error.to_string(), in_words)
}

fn find_tls(error: &io::Error) -> Option<&rustls::Error> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of an io::Error is the source of what it wraps, not what it wraps.
        next = match error.downcast_ref::<io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    None
}

fn reason_of(error: &rustls::Error) -> Reason {
    match error {
        rustls::Error::InvalidCertificate(error) => reason_of_certificate(error),
        rustls::Error::NoCertificatesPresented => Reason::NoPeerCertificate,
        rustls::Error::AlertReceived(alert) => reason_of_alert(*alert),
        rustls::Error::General(text) if text == NO_SERVER_CERTIFICATE => Reason::NoCertificate,
        _ => Reason::HandshakeFailed,
    }
}

/// rustls has no variant for a server whose resolver found nothing to show.
const NO_SERVER_CERTIFICATE: &str = "no server certificate chain resolved";

fn reason_of_certificate(error: &CertificateError) -> Reason {
    match error {
        CertificateError::UnknownIssuer => Reason::ForeignCa,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Reason::WrongIdentity
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Reason::CertificateExpired,
        CertificateError::Other(other) => {
            other.0.downcast_ref().map_or(Reason::BadCertificate, reason_of_peer)
        }
        _ => Reason::BadCertificate,
    }
}

fn reason_of_peer(fault: &PeerFault) -> Reason {
    match fault {
        PeerFault::ForeignTrustDomain { .. } => Reason::ForeignTrustDomain,
        PeerFault::WrongIdentity { .. } | PeerFault::WrongName { .. } => Reason::WrongIdentity,
        PeerFault::Leaf(_) | PeerFault::Chain(_) => Reason::BadCertificate,
    }
}

/// Only a client that showed nothing is told `certificate_required` (RFC 8446, section 6.2), and we show nothing only
/// when we have nothing that holds.
fn reason_of_alert(alert: AlertDescription) -> Reason {
    match alert {
        AlertDescription::CertificateRequired => Reason::NoCertificate,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => Reason::RefusedByPeer,
        _ => Reason::HandshakeFailed,
    }
}

/// What a TLS error says, in the words of the mesh.
pub(super) fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "expected a certificate that a trusted root signed, found another's".into()
        }
        other => peer_fault(other).map_or_else(|| other.to_string(), |fault| with_sources(fault)),
    }
}

fn peer_fault(error: &rustls::Error) -> Option<&PeerFault> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}
