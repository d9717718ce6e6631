//! A connection's state, and what the owner asks of it.

use crate::{
    Buffer, Limits, StreamId, Violation,
    flow::{DEFAULT_WINDOW, ReceiveWindow, SendWindow},
    frame::{Kind, PREFACE},
    going::Going,
    hpack::{Decoder, Encoder},
    output::Output,
    patience::Patience,
    receive::Reader,
    settings::{self, Settings},
    stream::{Half, Stream},
    streams::Streams,
};

/// One end of an HTTP/2 connection whose streams are CONNECT tunnels. `T` is what the owner keeps with each stream.
#[derive(Debug)]
pub struct Connection<T> {
    pub(crate) role: Role,
    pub(crate) limits: Limits,
    /// The initial window of streams that the peer knows of: ours once it has acknowledged it.
    pub(crate) stream_window: u32,
    /// Whether the peer has acknowledged our settings.
    pub(crate) acknowledged: bool,
    /// The peer's, none before its first have come.
    pub(crate) peer: Option<Settings>,
    pub(crate) streams: Streams<T>,
    /// The highest identifier that the client has used.
    pub(crate) newest: StreamId,
    pub(crate) send_window: SendWindow,
    pub(crate) receive_window: ReceiveWindow,
    pub(crate) reader: Reader,
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Encoder,
    pub(crate) output: Output,
    pub(crate) going: Going,
    /// For streams that are opened and reset before they were answered (CVE-2023-44487).
    pub(crate) resets: Patience,
    /// For frames that mean nothing.
    pub(crate) waste: Patience,
    /// What ended the connection.
    pub(crate) violation: Option<Violation>,
}

/// Which end it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Client,
    Server,
}

impl<T> Connection<T> {
    /// The end that opens streams. Its preface is in the output at once.
    pub fn client(limits: Limits) -> Self {
        let mut connection = Self::new(Role::Client, limits);
        connection.output.buffer.extend(PREFACE);
        connection.announce();
        connection
    }

    /// The end that answers. Its settings are in the output at once; it expects the client's preface.
    pub fn server(limits: Limits) -> Self {
        let mut connection = Self::new(Role::Server, limits);
        connection.announce();
        connection
    }

    fn new(role: Role, limits: Limits) -> Self {
        let limits = limits.checked();
        Self {
            role,
            limits,
            stream_window: limits.stream_window.max(DEFAULT_WINDOW),
            acknowledged: false,
            peer: None,
            streams: Streams::new(),
            newest: StreamId(0),
            send_window: SendWindow::new(DEFAULT_WINDOW),
            receive_window: ReceiveWindow::new(limits.connection_window),
            reader: Reader::new(role),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            output: Output::default(),
            going: Going::default(),
            resets: Patience::new(MAX_UNANSWERED),
            waste: Patience::new(MAX_WASTE),
            violation: None,
        }
    }

    fn announce(&mut self) {
        let settings = settings::announcement(&self.limits, self.role == Role::Client);
        self.output.frame(Kind::Settings, 0, StreamId(0), &settings);
        let more = self.limits.connection_window - DEFAULT_WINDOW;
        if more > 0 {
            self.output.window_update(StreamId(0), more);
        }
    }

    /// What is kept with a stream.
    pub fn get(&self, id: StreamId) -> Option<&T> {
        self.streams.get(id)?.kept.as_ref()
    }

    /// What is kept with a stream.
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut T> {
        self.streams.get_mut(id)?.kept.as_mut()
    }

    /// Keeps something with a stream that [`Event::Request`](crate::Event::Request) announced. Dropped where that is
    /// over already. A stream with which nothing is kept is forgotten by itself when it is over.
    pub fn keep(&mut self, id: StreamId, kept: T) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.kept = Some(kept);
        }
    }

    /// The streams that are not forgotten, in no order. Some may be over.
    pub fn ids(&self) -> impl Iterator<Item = StreamId> {
        self.streams.ids()
    }

    /// How many streams are not forgotten.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether all streams are forgotten.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many streams are not over: those that count against the limit of concurrent ones.
    pub const fn open(&self) -> usize {
        self.streams.open()
    }

    /// Takes what is kept out of a stream that is over on both sides, which is then forgotten.
    pub fn forget(&mut self, id: StreamId) -> Option<T> {
        self.streams.forget(id)
    }

    /// How many streams the peer lets us have open, none before its settings have come, `u32::MAX` where they name no
    /// limit.
    pub fn peer_streams(&self) -> Option<u32> {
        self.peer.map(|settings| settings.streams)
    }

    /// The frames to be sent, in order. The owner takes them from the front.
    pub const fn output(&mut self) -> &mut Buffer {
        &mut self.output.buffer
    }

    /// Frees the memory that an idle connection does not need.
    pub fn release(&mut self) {
        self.output.buffer.release();
        self.streams.shrink();
    }

    pub(crate) fn new_stream(&self, local: Half, remote: Half, kept: Option<T>) -> Stream<T> {
        Stream {
            kept,
            send: SendWindow::new(self.peer.unwrap_or_default().window),
            receive: ReceiveWindow::new(self.stream_window),
            local,
            remote,
        }
    }
}

/// Streams that a client may reset unanswered, less those that were answered since.
const MAX_UNANSWERED: u32 = 1000;
/// Frames without a meaning, less those with payload.
const MAX_WASTE: u32 = 10_000;
