//! A new key, what is asked of the authority for it, and the certificate that comes of it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use prost_types::{Struct, Value, value::Kind};
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData, SanType};

use super::{AnswerFault, answer};
use crate::identity::{
    Certificate, Key, Trust,
    certificate::certified_key,
    istio_ca::{IMPERSONATED_IDENTITY, IstioCertificateRequest},
};

/// A request that has yet to be answered.
pub(super) struct Request<'a> {
    id: &'a SpiffeId,
    key: Key,
    csr: String,
}

impl<'a> Request<'a> {
    /// Makes a key for `id`.
    pub(super) fn new(id: &'a SpiffeId) -> Result<Self, rcgen::Error> {
        let key = Key::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.to_string().try_into()?)];
        let csr = params.serialize_request(&key)?.pem()?;
        Ok(Self { id, key, csr })
    }

    /// As it travels.
    pub(super) fn message(&self, lifetime: Duration) -> IstioCertificateRequest {
        let id = Value { kind: Some(Kind::StringValue(self.id.to_string())) };
        IstioCertificateRequest {
            csr: self.csr.clone(),
            validity_duration: lifetime.as_secs().try_into().unwrap_or(i64::MAX),
            metadata: Some(Struct { fields: [(IMPERSONATED_IDENTITY.to_owned(), id)].into() }),
        }
    }

    /// The certificate in an answer, if it is what was asked for.
    pub(super) fn certificate(
        self,
        answer: &[String],
        trust: &Trust,
        now: SystemTime,
    ) -> Result<Certificate, AnswerFault> {
        let answer = answer::check(answer, self.id, self.key.subject_public_key_info(), trust, now)?;
        let key = certified_key(answer.chain, &self.key).map_err(AnswerFault::Key)?;
        Ok(Certificate {
            key: Arc::new(key),
            issued: now,
            not_before: answer.not_before,
            not_after: answer.not_after,
        })
    }
}
