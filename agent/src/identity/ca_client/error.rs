//! Why an authority elsewhere gave no certificate, and what to do about it.

use std::{error::Error, io, path::PathBuf, time::Duration};

use culvert_policy::SpiffeId;
use tonic::{Code, Status};

use super::{AnswerFault, CaAddress};
use crate::identity::IssueFault;

/// How much of an authority's own words an error repeats: they come from the network.
const MAX_SHOWN: usize = 256;

/// No certificate was had from the authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The key or the request could not be made.
    #[error("cannot make a certificate request for {id}")]
    Request {
        /// The identity that it was for.
        id: SpiffeId,
        /// What the library said.
        source: rcgen::Error,
    },
    /// There is no token to show.
    #[error("cannot read the token for the certificate authority in {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Without roots, no server can be told from an impostor.
    #[error("no root is trusted yet, by which the certificate authority at {address} could be known")]
    NoRoots {
        /// The authority.
        address: CaAddress,
    },
    /// There is no connection, or it broke.
    #[error("cannot reach the certificate authority at {address}")]
    Unreachable {
        /// The authority.
        address: CaAddress,
        /// What the library said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is a connection, and no answer.
    #[error("the certificate authority at {address} did not answer within {after:?}")]
    Late {
        /// The authority.
        address: CaAddress,
        /// How long it had.
        after: Duration,
    },
    /// The authority cannot serve anybody now, or not us.
    #[error("the certificate authority at {address} cannot answer now ({code:?}): {message}")]
    Busy {
        /// The authority.
        address: CaAddress,
        /// gRPC's word for it.
        code: Code,
        /// The authority's own, shortened.
        message: String,
        /// How long we are to leave it alone, if it says so.
        pushback: Option<Duration>,
    },
    /// The authority does not sign for this identity.
    #[error("the certificate authority refused a certificate for {id} ({code:?}): {message}")]
    Refused {
        /// The identity that was asked for.
        id: SpiffeId,
        /// gRPC's word for it.
        code: Code,
        /// The authority's own, shortened.
        message: String,
    },
    /// The authority's answer cannot be used.
    #[error("the certificate authority's answer for {id} cannot be used")]
    Answer {
        /// The identity that was asked for.
        id: SpiffeId,
        /// What is wrong with it.
        source: AnswerFault,
    },
}

impl CaError {
    /// What a failed call means. Only a status that the authority itself sent is about the identity.
    pub(super) fn of(address: &CaAddress, id: &SpiffeId, status: Status) -> Self {
        let (code, message) = (status.code(), shown(status.message()));
        if status.source().is_some() {
            return Self::Unreachable { address: address.clone(), source: status.into() };
        }
        match code {
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Cancelled => {
                Self::Busy { address: address.clone(), code, message, pushback: pushback(&status) }
            }
            Code::OutOfRange => Self::Answer { id: id.clone(), source: AnswerFault::TooLong },
            _ => Self::Refused { id: id.clone(), code, message },
        }
    }

    /// How long the authority is to be left alone, if it says so.
    pub const fn pushback(&self) -> Option<Duration> {
        match self {
            Self::Busy { pushback, .. } => *pushback,
            _ => None,
        }
    }

    /// Whom it is to be laid at.
    pub const fn fault(&self) -> IssueFault {
        match self {
            Self::Request { .. }
            | Self::Token { .. }
            | Self::NoRoots { .. }
            | Self::Unreachable { .. }
            | Self::Late { .. }
            | Self::Busy { .. } => IssueFault::Away,
            Self::Refused { .. } => IssueFault::Refused,
            Self::Answer { .. } => IssueFault::BadAnswer,
        }
    }
}

/// As gRPC's retries have it (gRFC A6).
fn pushback(status: &Status) -> Option<Duration> {
    let milliseconds = status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?;
    milliseconds.parse().ok().map(Duration::from_millis)
}

/// Quoted, so that it cannot be taken for our own words, or for a line of its own.
fn shown(message: &str) -> String {
    format!("{:?}", message.chars().take(MAX_SHOWN).collect::<String>())
}
