//! Why a connection could not be carried, or not to its end.

use std::{fmt, io, rc::Rc};

use culvert_policy::Reason;

use crate::identity::{tls_detail, tls_fault, tls_reason};

/// A reason out of the closed list, and words for people.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) detail: Rc<str>,
}

impl Failure {
    pub(super) fn new(reason: Reason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string().into() }
    }

    /// A TLS handshake ended with this.
    pub(super) fn in_handshake(error: &io::Error) -> Self {
        Self::new(tls_reason(error), tls_detail(error))
    }

    /// A TLS connection broke with this.
    pub(super) fn in_transit(error: &io::Error) -> Self {
        Self::new(tls_fault(error).unwrap_or(Reason::TunnelFailed), tls_detail(error))
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: "".into() }
    }
}
