//! One stream (RFC 9113, section 5.1).

use crate::flow::{ReceiveWindow, SendWindow};

#[derive(Debug)]
pub(crate) struct Stream<T> {
    /// What the owner keeps with it.
    pub(crate) kept: Option<T>,
    pub(crate) send: SendWindow,
    pub(crate) receive: ReceiveWindow,
    /// What we send.
    pub(crate) local: Half,
    /// What the peer sends.
    pub(crate) remote: Half,
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Half {
    /// Its header fields are still to come.
    Head,
    /// Payload may follow.
    Open,
    /// Ended.
    Closed,
}

impl Half {
    /// After header fields, with the end or without.
    pub(crate) const fn after_head(end: bool) -> Self {
        if end { Self::Closed } else { Self::Open }
    }
}

impl<T> Stream<T> {
    pub(crate) fn is_closed(&self) -> bool {
        self.local == Half::Closed && self.remote == Half::Closed
    }
}
