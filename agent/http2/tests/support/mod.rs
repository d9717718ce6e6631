//! Frames by hand, and connections that are past their beginning.

#![expect(dead_code, unreachable_pub, reason = "each file of tests uses a part of it")]

use culvert_http2::{Connection, ErrorCode, Event, Limits, Request, StreamId, Violation};

pub const LIMITS: Limits = Limits {
    streams: 4,
    stream_window: 100_000,
    connection_window: 200_000,
    frame: 1 << 14,
    header_list: 2000,
};

pub const CONNECT: Request<'static> = Request { authority: "10.0.0.7:80", headers: &[] };

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 32;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame (RFC 9113, section 4.1).
pub fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

/// SETTINGS of one parameter.
pub fn setting(key: u8, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, key], &value.to_be_bytes()[..]].concat())
}

pub fn window_update(id: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, id, &increment.to_be_bytes())
}

pub fn rst_stream(id: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, id, &code.to_be_bytes())
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// Literals without indexing (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let string = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], string(name), string(value)].concat()).collect()
}

pub fn connect_block() -> Vec<u8> {
    block(&[(":method", "CONNECT"), (":authority", "10.0.0.7:80")])
}

/// A CONNECT, and more to come.
pub fn request(id: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, id, &connect_block())
}

/// A 200, and more to come.
pub fn response(id: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, id, &[0x88])
}

/// What the events of some bytes were, without the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    Settings,
    Request { id: u32, end: bool },
    Response { id: u32, status: u16, end: bool },
    Data { id: u32, bytes: usize, end: bool },
    End { id: u32 },
    Reset { id: u32, code: ErrorCode, by_peer: bool },
    Credit { id: Option<u32> },
    GoAway { last: u32, code: ErrorCode },
}

impl From<&Event<'_>> for Seen {
    fn from(event: &Event<'_>) -> Self {
        match *event {
            Event::Settings => Self::Settings,
            Event::Request { id, end, .. } => Self::Request { id: id.into(), end },
            Event::Response { id, status, end } => Self::Response { id: id.into(), status, end },
            Event::Data { id, bytes, end } => Self::Data { id: id.into(), bytes: bytes.len(), end },
            Event::End { id } => Self::End { id: id.into() },
            Event::Reset { id, code, by_peer } => Self::Reset { id: id.into(), code, by_peer },
            Event::Credit { id } => Self::Credit { id: id.map(u32::from) },
            Event::GoAway { last, code } => Self::GoAway { last: last.into(), code },
        }
    }
}

/// Feeds bytes, keeps the number of each stream with it, and says what happened.
pub fn feed(connection: &mut Connection<u32>, mut bytes: &[u8]) -> Result<Vec<Seen>, Violation> {
    let mut seen = Vec::new();
    while !bytes.is_empty() {
        let received = connection.receive(bytes)?;
        bytes = &bytes[received.consumed..];
        seen.extend(received.event.as_ref().map(Seen::from));
        if let Some(Event::Request { id, .. }) = received.event {
            connection.keep(id, id.into());
        }
    }
    Ok(seen)
}

/// A server to which a client has said hello. Its output is empty.
pub fn server(limits: Limits) -> Connection<u32> {
    let mut server = Connection::server(limits);
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, ACK, 0, &[])].concat();
    assert_eq!(feed(&mut server, &hello), Ok(vec![Seen::Settings]));
    server.output().clear();
    server
}

/// A server with an answered stream, 1.
pub fn serving() -> Connection<u32> {
    let mut server = server(LIMITS);
    assert_eq!(feed(&mut server, &request(1)), Ok(vec![Seen::Request { id: 1, end: false }]));
    server.respond(stream(&server, 1), 200, false);
    server.output().clear();
    server
}

/// A client to which a server has said hello. Its output is empty.
pub fn client(limits: Limits) -> Connection<u32> {
    let mut client = Connection::client(limits);
    let hello = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat();
    assert_eq!(feed(&mut client, &hello), Ok(vec![Seen::Settings]));
    client.output().clear();
    client
}

/// A client with a stream, 1, whose answer has come.
pub fn connected() -> Connection<u32> {
    let mut client = client(LIMITS);
    client.connect(&CONNECT, 1).unwrap();
    assert_eq!(feed(&mut client, &response(1)), Ok(vec![Seen::Response { id: 1, status: 200, end: false }]));
    client.output().clear();
    client
}

/// The identifier of a stream that there is.
pub fn stream(connection: &Connection<u32>, id: u32) -> StreamId {
    connection.ids().find(|other| u32::from(*other) == id).unwrap()
}

/// The frames that wait: type, flags, stream and payload. They are taken, and a preface before them.
pub fn sent(connection: &mut Connection<u32>) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    if connection.output().filled().starts_with(PREFACE) {
        connection.output().consume(PREFACE.len());
    }
    while let Some((header, rest)) = connection.output().filled().split_first_chunk::<9>() {
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let id = u32::from_be_bytes(*header.last_chunk().unwrap());
        frames.push((header[3], header[4], id, rest[..length].to_vec()));
        connection.output().consume(9 + length);
    }
    assert!(connection.output().is_empty());
    frames
}

/// Sends so many bytes, as far as there is credit. How many were.
pub fn send(connection: &mut Connection<u32>, id: u32, bytes: usize) -> usize {
    let id = stream(connection, id);
    let mut left = bytes;
    while left > 0 && connection.credit(id) > 0 {
        left -= connection.send(id, left, |room| {
            room.fill(0);
            (room.len(), room.len())
        });
    }
    bytes - left
}
