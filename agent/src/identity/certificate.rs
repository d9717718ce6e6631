//! A workload's certificate with its key, and who signs it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use super::{RootFault, Trust};

/// Whoever signs workload certificates, and vouches for the roots that all of the mesh trusts.
pub trait Issuer: fmt::Debug + Send + Sync {
    /// A new key and a certificate for it: valid from `now` for at most `lifetime`.
    fn issue(&self, id: &SpiffeId, lifetime: Duration, now: SystemTime) -> Result<Certificate, IssueError>;

    /// The roots and the trust domain by which the other side's certificates are judged.
    fn trust(&self) -> Arc<Trust>;
}

/// No certificate could be had for an identity.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The authority signs for one trust domain only.
    #[error("expected an identity of trust domain {expected}, found {found}")]
    ForeignTrustDomain {
        /// The authority's trust domain.
        expected: Arc<str>,
        /// The identity that was asked for.
        found: SpiffeId,
    },
    /// The authority's own certificate does not hold at this time.
    #[error("cannot sign a certificate for {id}")]
    Root {
        /// The identity that was asked for.
        id: SpiffeId,
        /// What is wrong with the root.
        source: RootFault,
    },
    /// Key generation or signing failed.
    #[error("cannot make a certificate for {id}")]
    Sign {
        /// The identity that was asked for.
        id: SpiffeId,
        /// What the library said.
        source: rcgen::Error,
    },
    /// The new key cannot be used for TLS.
    #[error("cannot use the new key of {id}")]
    Key {
        /// The identity that was asked for.
        id: SpiffeId,
        /// What the library said.
        source: rustls::Error,
    },
}

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

    /// When half of its life is over.
    pub(super) fn half_life(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.issued).unwrap_or_default();
        self.issued + life / 2
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
