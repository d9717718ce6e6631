//! From bytes to frames.

mod control;
mod data;
mod headers;
mod streams;

use crate::{
    Connection, Event, Received, StreamId, Violation,
    connection::Role,
    frame::{self, Header, Kind, PREFACE},
};
use headers::Block;

/// Where in the peer's bytes we are.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    /// The first bytes of a frame's header that was cut.
    start: [u8; frame::HEADER],
    /// The first bytes of a payload that was cut.
    carry: Vec<u8>,
    /// A field block that is still to be continued.
    block: Option<Block>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So much of the client's preface has come.
    Preface(usize),
    /// So much of a frame's header has come.
    Start(usize),
    /// So many of the first bytes of a payload are needed at once.
    Payload(Header, usize),
    /// The payload of a DATA frame.
    Data(data::Rest),
    /// Bytes that mean nothing.
    Skip(usize),
}

impl Reader {
    pub(crate) const fn new(role: Role) -> Self {
        let state = match role {
            Role::Client => State::Start(0),
            Role::Server => State::Preface(0),
        };
        Self { state, start: [0; frame::HEADER], carry: Vec::new(), block: None }
    }
}

/// What one step made of the bytes.
enum Step<'a> {
    /// It needs more.
    Starved,
    /// It took some, and there may be more to take.
    Done(Option<Event<'a>>),
}

impl<T> Connection<T> {
    /// Takes from the front of what the peer sent, which may be cut anywhere: all of it, or up to and with the bytes that
    /// make the first event.
    ///
    /// After an error the connection is over: the GOAWAY that says why is in the output.
    pub fn receive<'a>(&mut self, bytes: &'a [u8]) -> Result<Received<'a>, Violation> {
        let mut rest = bytes;
        loop {
            match self.step(&mut rest) {
                Ok(Step::Done(None)) => {}
                Ok(Step::Done(event)) => return Ok(Received { consumed: bytes.len() - rest.len(), event }),
                Ok(Step::Starved) => return Ok(Received { consumed: bytes.len(), event: None }),
                Err(violation) => return Err(self.violated(violation)),
            }
        }
    }

    fn violated(&mut self, violation: Violation) -> Violation {
        if self.violation.is_none() {
            self.violation = Some(violation);
            self.close(violation.code);
        }
        violation
    }

    fn step<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Step<'a>, Violation> {
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        match self.reader.state {
            State::Preface(matched) => self.preface(matched, rest),
            State::Start(have) => self.start(have, rest),
            State::Payload(header, needed) => self.payload(header, needed, rest),
            State::Data(part) => self.data(part, rest),
            State::Skip(left) => Ok(self.skip(left, rest)),
        }
    }

    fn preface<'a>(&mut self, matched: usize, rest: &mut &'a [u8]) -> Result<Step<'a>, Violation> {
        let part = take(rest, PREFACE.len() - matched);
        let matched_now = matched + part.len();
        if part != &PREFACE[matched..matched_now] {
            return Err(Violation::protocol("the connection does not start with HTTP/2's preface"));
        }
        let complete = matched_now == PREFACE.len();
        self.reader.state = if complete { State::Start(0) } else { State::Preface(matched_now) };
        Ok(if complete { Step::Done(None) } else { Step::Starved })
    }

    fn start<'a>(&mut self, have: usize, rest: &mut &'a [u8]) -> Result<Step<'a>, Violation> {
        if have == 0
            && let Some((whole, after)) = rest.split_first_chunk()
        {
            *rest = after;
            return self.begin(Header::parse(*whole)).map(Step::Done);
        }
        let part = take(rest, frame::HEADER - have);
        self.reader.start[have..have + part.len()].copy_from_slice(part);
        let have = have + part.len();
        if have < frame::HEADER {
            self.reader.state = State::Start(have);
            return Ok(Step::Starved);
        }
        self.begin(Header::parse(self.reader.start)).map(Step::Done)
    }

    /// What can be said before a frame's payload has come.
    fn begin(&mut self, header: Header) -> Result<Option<Event<'static>>, Violation> {
        if header.length > self.limits.frame as usize {
            return Err(Violation::size("a frame is larger than announced"));
        }
        if self.peer.is_none() && (header.kind != Kind::Settings || header.has(frame::ACK)) {
            return Err(Violation::protocol("the first frame is not SETTINGS"));
        }
        let continued = self.reader.block.as_ref().map(|block| block.id);
        if (header.kind == Kind::Continuation || continued.is_some())
            && (header.kind != Kind::Continuation || continued != Some(header.id))
        {
            return Err(Violation::protocol("a field block is not followed by its CONTINUATION"));
        }
        let needed = match header.kind {
            Kind::Data => return self.begin_data(header),
            Kind::Headers | Kind::Continuation => self.begin_block(header)?,
            Kind::PushPromise => return Err(Violation::protocol("PUSH_PROMISE though push is disabled")),
            Kind::Priority => return self.on_priority(header),
            _ => Self::begin_control(header)?,
        };
        self.reader.state = State::Payload(header, needed);
        Ok(None)
    }

    /// Hands the start of a payload on, out of what was received where it lies there whole.
    fn payload<'a>(
        &mut self,
        header: Header,
        needed: usize,
        rest: &mut &'a [u8],
    ) -> Result<Step<'a>, Violation> {
        let skip = State::Skip(header.length - needed);
        if self.reader.carry.is_empty()
            && let Some((whole, after)) = rest.split_at_checked(needed)
        {
            *rest = after;
            self.reader.state = skip;
            return self.on_frame(header, whole).map(Step::Done);
        }
        let part = take(rest, needed - self.reader.carry.len());
        self.reader.carry.extend_from_slice(part);
        if self.reader.carry.len() < needed {
            return Ok(Step::Starved);
        }
        self.reader.state = skip;
        let whole = std::mem::take(&mut self.reader.carry);
        self.on_frame(header, &whole).map(Step::Done)
    }

    fn on_frame(&mut self, header: Header, payload: &[u8]) -> Result<Option<Event<'static>>, Violation> {
        match header.kind {
            Kind::Headers => self.on_headers(header, payload),
            Kind::Continuation => self.on_continuation(header, payload),
            _ => self.on_control(header, payload),
        }
    }

    fn skip<'a>(&mut self, left: usize, rest: &mut &'a [u8]) -> Step<'a> {
        let left = left - take(rest, left).len();
        self.reader.state = if left == 0 { State::Start(0) } else { State::Skip(left) };
        if left == 0 { Step::Done(None) } else { Step::Starved }
    }

    /// Frames that mean nothing may come, but not for ever.
    pub(crate) fn wasted(&mut self, cost: u32) -> Result<(), Violation> {
        if self.waste.spend(cost) {
            Ok(())
        } else {
            Err(Violation::calm("the peer sends frames without a meaning"))
        }
    }
}

/// Takes at most so many bytes from the front.
fn take<'a>(rest: &mut &'a [u8], at_most: usize) -> &'a [u8] {
    let (part, after) = rest.split_at(at_most.min(rest.len()));
    *rest = after;
    part
}

/// The word at a place of a payload.
fn word(payload: &[u8], at: usize) -> u32 {
    payload.iter().skip(at).take(4).fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// The identifier at a place of a payload, without the bit that is reserved.
fn stream_id(payload: &[u8], at: usize) -> StreamId {
    StreamId(word(payload, at) & StreamId::MAX.0)
}
