//! Why a request gets no certificate, in words for the caller, and as the gRPC status that istiod would send.

use std::time::Duration;

use culvert_policy::{SpiffeId, SpiffeIdError};
use tonic::{Code, Status, metadata::MetadataValue};

use super::{Account, csr::CsrFault};

/// The trailer by which a server says when to come back, in milliseconds (gRPC A6, "Pushback").
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("expected a service account's token as authorization: Bearer")]
    NoToken,
    #[error("the API server does not accept the token for this authority's audience")]
    BadToken,
    #[error("expected the token of a service account")]
    NotAServiceAccount,
    #[error("expected the name of a workload as ImpersonatedIdentity")]
    Malformed(#[from] Unnamed),
    #[error("expected an identity of trust domain {expected}, found {found}")]
    ForeignTrustDomain { expected: String, found: SpiffeId },
    #[error("{caller} may ask for its own identity only, not for {asked}")]
    NotOwn { caller: Account, asked: SpiffeId },
    #[error("no pod with identity {asked} runs on node {node}")]
    NotOnNode { asked: SpiffeId, node: String },
    #[error(
        "the token of {caller} does not say which node it is used on: it must be bound to a pod that runs"
    )]
    NoNode { caller: Account },
    #[error("cannot sign the request: {0}")]
    Csr(#[from] CsrFault),
    #[error("too many requests, come back in {} ms", .wait.as_millis())]
    TooMany { wait: Duration },
    #[error("the authority is busy, come back later")]
    Busy,
    #[error("the API server cannot be asked")]
    ApiServer(#[source] Option<Box<kube::Error>>),
    #[error("there is no root that could sign")]
    NoRoot,
    #[error("the request took too long")]
    TooSlow,
    #[error("signing failed")]
    Sign(#[from] rcgen::Error),
}

/// The metadata names no workload.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unnamed {
    #[error("expected a string")]
    NotAString,
    #[error(transparent)]
    NotAnIdentity(#[from] SpiffeIdError),
}

impl Refusal {
    fn code(&self) -> Code {
        match self {
            Self::NoToken | Self::BadToken => Code::Unauthenticated,
            Self::NotAServiceAccount
            | Self::ForeignTrustDomain { .. }
            | Self::NotOwn { .. }
            | Self::NotOnNode { .. }
            | Self::NoNode { .. } => Code::PermissionDenied,
            Self::Malformed(_) | Self::Csr(_) => Code::InvalidArgument,
            Self::TooMany { .. } | Self::Busy => Code::ResourceExhausted,
            Self::ApiServer(_) | Self::NoRoot => Code::Unavailable,
            Self::TooSlow => Code::DeadlineExceeded,
            Self::Sign(_) => Code::Internal,
        }
    }
}

impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        let mut status = Self::new(refusal.code(), refusal.to_string());
        if let Refusal::TooMany { wait } = refusal {
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            status.metadata_mut().insert(PUSHBACK, MetadataValue::from(millis));
        }
        status
    }
}
