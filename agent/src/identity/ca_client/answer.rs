//! What an authority answers, and what is demanded of it.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{borrow::Borrow, time::SystemTime};

use culvert_policy::SpiffeId;
use rustls::{
    CertificateError,
    pki_types::{CertificateDer, pem, pem::PemObject},
};
use webpki::KeyUsage;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::identity::{PeerFault, Trust, clock::unix_time, fault::in_words, trust::Shown};

/// More certificates than any chain has, with the roots behind it.
const MAX_CERTIFICATES: usize = 32;

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// It is longer than any chain.
    #[error("it is too long for a chain of certificates")]
    TooLong,
    /// It has no certificate.
    #[error("expected a chain of certificates in PEM, found none")]
    Empty,
    /// It is not PEM.
    #[error("expected a chain of certificates in PEM")]
    Pem(#[source] pem::Error),
    /// It is not X.509.
    #[error("expected an X.509 certificate, found something unreadable")]
    Unreadable,
    /// It is for somebody else's key.
    #[error("expected a certificate for the key that was sent, found another key's")]
    OtherKey,
    /// Peers would not accept it.
    #[error("peers would refuse it: {0}")]
    Refused(String),
    /// The key cannot be used for TLS.
    #[error("the key cannot be used for TLS")]
    Key(#[source] rustls::Error),
}

/// A chain to show, and how long its leaf holds.
#[derive(Debug)]
pub(in crate::identity) struct Answer {
    pub(in crate::identity) chain: Vec<CertificateDer<'static>>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

/// Demands of an answer that its leaf is for `id` and for the key with `public_key` (DER), and that peers accept it
/// now, whichever side they are on.
pub(in crate::identity) fn check(
    answer: &[impl Borrow<str>],
    id: &SpiffeId,
    public_key: impl AsRef<[u8]>,
    trust: &Trust,
    now: SystemTime,
) -> Result<Answer, AnswerFault> {
    let chain = read(answer)?;
    let (not_before, not_after) = {
        let leaf = parse(&chain[0])?;
        if leaf.public_key().raw != public_key.as_ref() {
            return Err(AnswerFault::OtherKey);
        }
        let validity = leaf.validity();
        (validity.not_before.to_datetime().into(), validity.not_after.to_datetime().into())
    };
    check_accepted(&chain, id, trust, now).map_err(refused)?;
    Ok(Answer { chain, not_before, not_after })
}

/// All certificates but the roots, which peers have: each text may hold several, as istiod's intermediates do.
fn read(answer: &[impl Borrow<str>]) -> Result<Vec<CertificateDer<'static>>, AnswerFault> {
    let found = answer.iter().flat_map(|text| CertificateDer::pem_slice_iter(text.borrow().as_bytes()));
    let mut chain =
        found.take(MAX_CERTIFICATES + 1).collect::<Result<Vec<_>, _>>().map_err(AnswerFault::Pem)?;
    match chain.len() {
        0 => return Err(AnswerFault::Empty),
        1..=MAX_CERTIFICATES => {}
        _ => return Err(AnswerFault::TooLong),
    }
    let behind_the_leaf = chain.split_off(1);
    for certificate in behind_the_leaf {
        if !is_root(&certificate)? {
            chain.push(certificate);
        }
    }
    Ok(chain)
}

fn is_root(certificate: &CertificateDer<'_>) -> Result<bool, AnswerFault> {
    let parsed = parse(certificate)?;
    Ok(parsed.subject().as_raw() == parsed.issuer().as_raw())
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, AnswerFault> {
    X509Certificate::from_der(certificate).map(|(_, parsed)| parsed).map_err(|_| AnswerFault::Unreadable)
}

fn check_accepted(
    chain: &[CertificateDer<'_>],
    id: &SpiffeId,
    trust: &Trust,
    now: SystemTime,
) -> Result<(), CertificateError> {
    let now = unix_time(now).ok_or(CertificateError::NotValidYet)?;
    for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
        let shown = Shown { leaf: &chain[0], intermediates: &chain[1..], now };
        let found = trust.identify(&shown, usage)?;
        if found != *id {
            return Err(PeerFault::WrongIdentity { expected: id.clone(), found }.into());
        }
    }
    Ok(())
}

fn refused(error: CertificateError) -> AnswerFault {
    AnswerFault::Refused(in_words(&rustls::Error::InvalidCertificate(error)))
}
