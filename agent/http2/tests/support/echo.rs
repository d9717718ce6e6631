//! Both sides of an echo, with our end of the connection over an async transport.

#![expect(unreachable_pub, reason = "a module of a test")]

use std::collections::HashMap;

use culvert_http2::{Connection, ErrorCode, Event, Request, StreamId, Violation};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What an owner does with one end.
pub trait Owner {
    type Kept;

    /// Acts on what the peer did.
    fn event(&mut self, connection: &mut Connection<Self::Kept>, event: Event<'_>);

    /// Sends what can be sent. Whether the owner is done with the connection.
    fn turn(&mut self, connection: &mut Connection<Self::Kept>) -> bool;
}

/// Serves one end until its owner is done or the peer is gone. The peer's bytes come in parts of at most so many.
pub async fn run<O: Owner, S: AsyncRead + AsyncWrite>(
    connection: &mut Connection<O::Kept>,
    owner: &mut O,
    transport: S,
    part: usize,
) -> Result<(), Violation> {
    let (mut reader, mut writer) = tokio::io::split(transport);
    let mut input = vec![0; part];
    loop {
        let done = owner.turn(connection);
        let output = connection.output();
        if done && output.is_empty() {
            return Ok(());
        }
        let is_waiting = !output.is_empty();
        tokio::select! {
            written = writer.write(output.filled()), if is_waiting => match written {
                Ok(written) => output.consume(written),
                Err(_) => return Ok(()),
            },
            read = reader.read(&mut input) => match read {
                Ok(read @ 1..) => feed(connection, owner, &input[..read])?,
                _ => return Ok(()),
            },
        }
    }
}

fn feed<O: Owner>(
    connection: &mut Connection<O::Kept>,
    owner: &mut O,
    mut bytes: &[u8],
) -> Result<(), Violation> {
    while !bytes.is_empty() {
        let received = connection.receive(bytes)?;
        bytes = &bytes[received.consumed..];
        if let Some(event) = received.event {
            owner.event(connection, event);
        }
    }
    Ok(())
}

/// Sends back what comes, and counts the streams.
#[derive(Default)]
pub struct EchoServer {
    pub requests: usize,
    pub resets: usize,
}

/// What an echo has still to send.
#[derive(Default)]
pub struct Echo {
    waiting: Vec<u8>,
    ended: bool,
}

impl Owner for EchoServer {
    type Kept = Echo;

    fn event(&mut self, connection: &mut Connection<Echo>, event: Event<'_>) {
        let (id, bytes, end) = match event {
            Event::Request { id, request, end } => {
                assert_eq!(
                    (request.method(), request.authority()),
                    (&b"CONNECT"[..], Some(&b"10.0.0.7:80"[..]))
                );
                self.requests += 1;
                connection.keep(id, Echo::default());
                connection.respond(id, 200, false);
                (id, &[][..], end)
            }
            Event::Data { id, bytes, end } => (id, bytes, end),
            Event::End { id } => (id, &[][..], true),
            Event::Reset { id, by_peer, .. } => {
                assert!(by_peer);
                self.resets += 1;
                connection.forget(id).unwrap();
                return;
            }
            _ => return,
        };
        let echo = connection.get_mut(id).unwrap();
        echo.waiting.extend(bytes);
        echo.ended |= end;
    }

    fn turn(&mut self, connection: &mut Connection<Echo>) -> bool {
        let ids: Vec<_> = connection.ids().collect();
        for id in ids {
            let Some(mut waiting) = connection.get_mut(id).map(|echo| std::mem::take(&mut echo.waiting))
            else {
                continue;
            };
            send_what_waits(connection, id, &mut waiting);
            let echo = connection.get_mut(id).unwrap();
            echo.waiting = waiting;
            if echo.ended && echo.waiting.is_empty() {
                connection.finish(id);
                connection.forget(id).unwrap();
            }
        }
        connection.is_finished()
    }
}

/// As far as there is credit. What an echo has sent on is consumed.
fn send_what_waits<T>(connection: &mut Connection<T>, id: StreamId, waiting: &mut Vec<u8>) {
    while !waiting.is_empty() && connection.credit(id) > 0 {
        let sent = connection.send(id, waiting.len(), |room| {
            room.copy_from_slice(&waiting[..room.len()]);
            (room.len(), room.len())
        });
        waiting.drain(..sent);
        connection.consumed(id, sent);
    }
}

/// What one stream of a client does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bytes to send.
    pub bytes: usize,
    /// After so many bytes have come back it resets the stream.
    pub reset_after: Option<usize>,
}

/// The byte at a place of what a stream sends.
pub fn byte(number: usize, at: usize) -> u8 {
    (number * 31 + at * 7 + at / 251).to_le_bytes()[0]
}

/// Runs plans against an echo, so many at once as the peer allows.
pub struct PlanClient {
    plans: Vec<Plan>,
    opened: usize,
    /// The plans that came to their end.
    pub done: HashMap<usize, Outcome>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Echoed,
    Reset,
    /// The peer did.
    WasReset(ErrorCode),
    Refused(u16),
}

/// A plan on its way.
pub struct Running {
    number: usize,
    sent: usize,
    back: usize,
    finished: bool,
}

impl PlanClient {
    pub fn new(plans: Vec<Plan>) -> Self {
        Self { plans, opened: 0, done: HashMap::new() }
    }

    fn over(&mut self, number: usize, outcome: Outcome) {
        assert_eq!(self.done.insert(number, outcome), None);
    }

    fn data(&mut self, connection: &mut Connection<Running>, id: StreamId, bytes: &[u8], end: bool) {
        let running = connection.get_mut(id).unwrap();
        for found in bytes {
            assert_eq!(*found, byte(running.number, running.back));
            running.back += 1;
        }
        let (number, back) = (running.number, running.back);
        connection.consumed(id, bytes.len());
        if self.plans[number].reset_after.is_some_and(|after| back >= after) {
            connection.reset(id, ErrorCode::Cancel).unwrap();
            self.over(number, Outcome::Reset);
        } else if end {
            assert_eq!(back, self.plans[number].bytes);
            connection.forget(id).unwrap();
            self.over(number, Outcome::Echoed);
        }
    }
}

impl Owner for PlanClient {
    type Kept = Running;

    fn event(&mut self, connection: &mut Connection<Running>, event: Event<'_>) {
        match event {
            Event::Data { id, bytes, end } => self.data(connection, id, bytes, end),
            Event::End { id } => self.data(connection, id, &[], true),
            Event::Response { id, status, .. } if status != 200 => {
                let running = connection.reset(id, ErrorCode::NoError).unwrap();
                self.over(running.number, Outcome::Refused(status));
            }
            Event::Reset { id, code, by_peer } => {
                assert!(by_peer);
                let running = connection.forget(id).unwrap();
                self.over(running.number, Outcome::WasReset(code));
            }
            _ => {}
        }
    }

    fn turn(&mut self, connection: &mut Connection<Running>) -> bool {
        while self.opened < self.plans.len() {
            let running = Running { number: self.opened, sent: 0, back: 0, finished: false };
            let request =
                Request { authority: "10.0.0.7:80", headers: &[("forwarded", "for=\"10.0.0.1:5\"")] };
            if connection.connect(&request, running).is_err() {
                break;
            }
            self.opened += 1;
        }
        let ids: Vec<_> = connection.ids().collect();
        for id in ids {
            advance(connection, id, &self.plans);
        }
        self.done.len() == self.plans.len()
    }
}

fn advance(connection: &mut Connection<Running>, id: StreamId, plans: &[Plan]) {
    let running = connection.get(id).unwrap();
    let (number, mut sent) = (running.number, running.sent);
    while sent < plans[number].bytes && connection.credit(id) > 0 {
        sent += connection.send(id, plans[number].bytes - sent, |room| {
            room.iter_mut().enumerate().for_each(|(at, place)| *place = byte(number, sent + at));
            (room.len(), room.len())
        });
    }
    let running = connection.get_mut(id).unwrap();
    running.sent = sent;
    if sent == plans[number].bytes && !std::mem::replace(&mut running.finished, true) {
        connection.finish(id);
    }
}
