//! What ends a whole connection.

use crate::ErrorCode;

/// The peer broke the protocol, or a bound of ours: a connection error (RFC 9113, section 5.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the HTTP/2 peer broke the protocol ({code}): {what}")]
pub struct Violation {
    /// What the GOAWAY says.
    pub code: ErrorCode,
    /// What was expected and what was found.
    pub what: &'static str,
}

impl Violation {
    pub(crate) const fn new(code: ErrorCode, what: &'static str) -> Self {
        Self { code, what }
    }

    pub(crate) const fn protocol(what: &'static str) -> Self {
        Self::new(ErrorCode::ProtocolError, what)
    }

    pub(crate) const fn size(what: &'static str) -> Self {
        Self::new(ErrorCode::FrameSizeError, what)
    }

    pub(crate) const fn flow(what: &'static str) -> Self {
        Self::new(ErrorCode::FlowControlError, what)
    }

    pub(crate) const fn calm(what: &'static str) -> Self {
        Self::new(ErrorCode::EnhanceYourCalm, what)
    }
}
