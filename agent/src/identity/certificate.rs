//! A workload's certificate with its key.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use super::Key;

/// What ends sooner is over before a connection is made with it: certificates count in whole seconds.
const SHORTEST_USE: Duration = Duration::from_secs(1);

/// A certificate chain, its private key, and how long they hold.
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) issued: SystemTime,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Certificate {
    /// The certificates, the workload's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// Until when it holds.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether it may be shown at `now`.
    pub fn holds_at(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Whether it holds at `now` and for long enough to be used.
    pub(super) fn is_of_use(&self, now: SystemTime) -> bool {
        self.holds_at(now) && self.not_after > now + SHORTEST_USE
    }

    /// When half of its life is over.
    pub(super) fn half_life(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.issued).unwrap_or_default();
        self.issued + life / 2
    }
}

/// What TLS shows and signs with.
pub(crate) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: &Key,
) -> Result<CertifiedKey, rustls::Error> {
    Ok(CertifiedKey::new(chain, any_ecdsa_type(&PrivateKeyDer::Pkcs8(key.pkcs8()))?))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
