//! What a peer did.

use crate::{ErrorCode, Head, StreamId};

/// What became of bytes that were received.
#[derive(Debug)]
pub struct Received<'a> {
    /// How many were taken from the front. All of them where there is no event.
    pub consumed: usize,
    /// What they meant.
    pub event: Option<Event<'a>>,
}

/// What the peer did, in the order in which it did it.
#[derive(Debug)]
pub enum Event<'a> {
    /// The peer's settings, its first or new ones. The credit of each stream may have changed.
    Settings,
    /// A request, well-formed whatever it asks for. Server only.
    Request {
        /// The new stream.
        id: StreamId,
        /// The header fields.
        request: Head,
        /// Whether the client sends nothing more.
        end: bool,
    },
    /// The final answer to a request. Client only; interim answers (1xx) do not show.
    Response {
        /// The stream.
        id: StreamId,
        /// The status code, 200 to 999.
        status: u16,
        /// Whether the server sends nothing more.
        end: bool,
    },
    /// A part of a DATA frame's payload, without padding. Never empty.
    Data {
        /// The stream.
        id: StreamId,
        /// The part, where it stood in what was received.
        bytes: &'a [u8],
        /// Whether the peer sends nothing more.
        end: bool,
    },
    /// The peer sends nothing more: an empty DATA frame or trailers (whose fields are dropped) ended the stream.
    End {
        /// The stream.
        id: StreamId,
    },
    /// The stream is over both ways. What is kept with it stays until [`forget`](crate::Connection::forget).
    Reset {
        /// The stream.
        id: StreamId,
        /// Why.
        code: ErrorCode,
        /// Whether the peer reset it, or else we, because the peer broke the protocol on it.
        by_peer: bool,
    },
    /// More may be sent where nothing could be.
    Credit {
        /// On this stream, or on any where there is none.
        id: Option<StreamId>,
    },
    /// The peer takes no new streams.
    /// [`unprocessed`](crate::Connection::unprocessed) names those of ours that it has not looked at.
    GoAway {
        /// The last stream that it may have processed.
        last: StreamId,
        /// Why.
        code: ErrorCode,
    },
}
