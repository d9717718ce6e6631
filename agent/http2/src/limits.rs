//! What a peer is held to.

use crate::flow::{DEFAULT_WINDOW, MAX_WINDOW};

/// What we announce in our SETTINGS and hold the peer to. Values beyond what RFC 9113 allows are taken as the nearest
/// that it does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Streams that a client may have open at once.
    pub streams: u32,
    /// Bytes of payload that the peer may send on one stream before the owner has consumed them.
    pub stream_window: u32,
    /// Bytes of payload under way on the connection; at least 65,535.
    pub connection_window: u32,
    /// Bytes of one frame's payload; 16,384 to 16,777,215.
    pub frame: u32,
    /// Bytes of one list of header fields, counted as RFC 9113, section 6.5.2 counts; at most 262,144.
    pub header_list: u32,
}

impl Limits {
    pub(crate) fn checked(self) -> Self {
        Self {
            stream_window: self.stream_window.min(MAX_WINDOW),
            connection_window: self.connection_window.clamp(DEFAULT_WINDOW, MAX_WINDOW),
            frame: self.frame.clamp(DEFAULT_FRAME, MAX_FRAME),
            header_list: self.header_list.min(MAX_HEADER_LIST),
            ..self
        }
    }
}

/// `SETTINGS_MAX_FRAME_SIZE` until a peer says otherwise, and the least that it may say (section 6.5.2).
pub(crate) const DEFAULT_FRAME: u32 = 1 << 14;
/// The most that `SETTINGS_MAX_FRAME_SIZE` may be.
pub(crate) const MAX_FRAME: u32 = (1 << 24) - 1;
/// What the number of CONTINUATION frames that are taken leaves room for.
const MAX_HEADER_LIST: u32 = 1 << 18;
