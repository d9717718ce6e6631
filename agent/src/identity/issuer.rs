//! Who signs workload certificates, and what it means when there is none to be had.

use std::{
    fmt,
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use futures::future::{BoxFuture, ready};

use super::{Authority, CaError, Certificate, RootFault, Trust, clock::utc};

/// Whoever signs workload certificates, and vouches for the roots that all of the mesh trusts.
pub trait Issuer: fmt::Debug + Send + Sync {
    /// A new key and a certificate for it, for `lifetime` from `now` on; the issuer may decide on another.
    fn issue<'a>(
        &'a self,
        id: &'a SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Certificate, IssueError>>;

    /// The roots and the trust domains by which the other side's certificates are judged. They may change.
    fn trust(&self) -> Arc<Trust>;

    /// Keeps [`Self::trust`] up to date, for ever.
    fn follow(&self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }
}

impl Issuer for Authority {
    fn issue<'a>(
        &'a self,
        id: &'a SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Certificate, IssueError>> {
        Box::pin(ready(Self::issue(self, id, lifetime, now)))
    }

    fn trust(&self) -> Arc<Trust> {
        Self::trust(self)
    }
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
    /// The authority gave one, but of no use.
    #[error(
        "expected a certificate for {id} that holds now and for more than a second, found one that holds from {} to {}: \
         check the clocks, and the lifetime that the authority gives",
        utc(*.not_before),
        utc(*.not_after)
    )]
    Useless {
        /// The identity that it is for.
        id: SpiffeId,
        /// The start of its validity.
        not_before: SystemTime,
        /// The end of its validity.
        not_after: SystemTime,
    },
    /// The authority elsewhere gave none.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// Whom a missing certificate is to be laid at, which decides who has to wait how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IssueFault {
    /// The authority cannot answer anybody now.
    Away,
    /// The authority does not want to sign for this identity.
    Refused,
    /// The authority's answer cannot be used.
    BadAnswer,
}

impl IssueError {
    /// Whom it is to be laid at.
    pub const fn fault(&self) -> IssueFault {
        match self {
            Self::ForeignTrustDomain { .. } => IssueFault::Refused,
            Self::Root { .. } | Self::Sign { .. } | Self::Key { .. } => IssueFault::Away,
            Self::Useless { .. } => IssueFault::BadAnswer,
            Self::Ca(error) => error.fault(),
        }
    }

    /// How long the authority is to be left alone, if it says so.
    pub const fn pushback(&self) -> Option<Duration> {
        match self {
            Self::Ca(error) => error.pushback(),
            _ => None,
        }
    }
}
