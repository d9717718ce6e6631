//! What the owner does with streams.

use crate::{
    Connection, ErrorCode, StreamId,
    connection::Role,
    stream::{Half, Stream},
};

/// What a CONNECT asks for (RFC 9113, section 8.5).
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Host and port.
    pub authority: &'a str,
    /// Further fields, their names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unavailable {
    /// As many are open as the peer allows.
    #[error("the HTTP/2 peer allows no further stream at the moment")]
    Full,
    /// One of both ends takes no new streams.
    #[error("the HTTP/2 connection is going away")]
    GoingAway,
    /// All identifiers are used up.
    #[error("the HTTP/2 connection has no stream identifiers left")]
    Exhausted,
}

impl<T> Connection<T> {
    /// Opens a stream. Payload may follow at once; the answer comes as [`Event::Response`](crate::Event::Response).
    pub fn connect(&mut self, request: &Request<'_>, kept: T) -> Result<StreamId, Unavailable> {
        let id = self.next_id()?;
        self.newest = id;
        let block = self.encoder.connect(request);
        let frame = self.peer.unwrap_or_default().frame as usize;
        self.output.headers(id, block, false, frame);
        let stream = self.new_stream(Half::Open, Half::Head, Some(kept));
        self.streams.insert(id, stream);
        Ok(id)
    }

    fn next_id(&self) -> Result<StreamId, Unavailable> {
        if self.role == Role::Server || self.going.is_announced() {
            return Err(Unavailable::GoingAway);
        }
        let limit = self.peer_streams().unwrap_or(STREAMS_BEFORE_SETTINGS);
        if self.open() >= limit as usize {
            return Err(Unavailable::Full);
        }
        let id = if self.newest.0 == 0 { 1 } else { self.newest.0 + 2 };
        if id > StreamId::MAX.0 { Err(Unavailable::Exhausted) } else { Ok(StreamId(id)) }
    }

    /// Answers a request. Ignored where it is answered or over.
    pub fn respond(&mut self, id: StreamId, status: u16, end: bool) {
        let Some(stream) = self.streams.get_open(id).filter(|stream| stream.local == Half::Head) else {
            return;
        };
        stream.local = Half::Open;
        let block = self.encoder.status(status);
        let frame = self.peer.unwrap_or_default().frame as usize;
        self.output.headers(id, block, end, frame);
        self.resets.earn(1);
        if end {
            self.streams.close_local(id);
        }
    }

    /// How many bytes of payload one frame may carry now: what the windows of the stream and of the connection, and the
    /// peer's frame size, leave. 0 where nothing may be sent, be it for now or for ever.
    pub fn credit(&self, id: StreamId) -> usize {
        self.streams.get(id).map_or(0, |stream| self.credit_of(stream))
    }

    /// Whether the connection's window is used up: no stream has credit before the peer gives some to all.
    pub fn is_starved(&self) -> bool {
        self.send_window.available() == 0
    }

    fn credit_of(&self, stream: &Stream<T>) -> usize {
        if stream.local != Half::Open {
            return 0;
        }
        let frame = self.peer.unwrap_or_default().frame as usize;
        stream.send.available().min(self.send_window.available()).min(frame)
    }

    /// Sends what `fill` writes into room for as much as there is credit for, but not more than `at_most`, as one frame.
    /// Nothing is sent where it writes nothing. `fill` says how much it wrote, and what else the owner wants to know.
    ///
    /// # Panics
    /// Where `fill` says that it wrote more than there was room for.
    pub fn send<R>(&mut self, id: StreamId, at_most: usize, fill: impl FnOnce(&mut [u8]) -> (usize, R)) -> R {
        let (written, result) = self.output.data(id, at_most.min(self.credit(id)), fill);
        if let Some(stream) = self.streams.get_mut(id) {
            stream.send.sent(written);
            self.send_window.sent(written);
        }
        result
    }

    /// Ends what we send on a stream. Ignored where it has ended, and before it is answered.
    pub fn finish(&mut self, id: StreamId) {
        if self.streams.get(id).is_some_and(|stream| stream.local == Half::Open) {
            self.output.end(id);
            self.streams.close_local(id);
        }
    }

    /// Ends a stream both ways and forgets it, whatever its state. What was kept with it.
    pub fn reset(&mut self, id: StreamId, code: ErrorCode) -> Option<T> {
        if self.streams.get_open(id).is_some() {
            self.output.reset(id, code);
            self.streams.remember_reset(id);
            self.streams.abort(id);
        }
        self.forget(id)
    }

    /// So many bytes of what a stream received have gone on: the peer may send as many more. Announced once they are half
    /// of the window, so that small messages cost no frame.
    ///
    /// The connection's own window is given back as payload arrives: it bounds what is under way, and one stalled reader
    /// must not stall the others. What waits here is bounded by the streams' windows.
    pub fn consumed(&mut self, id: StreamId, bytes: usize) {
        let window = self.stream_window;
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.remote != Half::Closed) else {
            return;
        };
        if let Some(increment) = stream.receive.consumed(bytes, window) {
            self.output.window_update(id, increment);
        }
    }
}

/// What section 6.5.2 recommends as the least that a peer allows.
const STREAMS_BEFORE_SETTINGS: u32 = 100;
