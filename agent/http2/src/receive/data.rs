//! DATA (RFC 9113, section 6.1).

use super::{State, Step, take};
use crate::{
    Connection, ErrorCode, Event, StreamId, Violation,
    frame::{self, Header},
    stream::Half,
};

/// What is still to come of a DATA frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rest {
    /// The length of the padding, and then so many bytes.
    Padded(Header),
    /// So many bytes of payload, never 0, and then so many of padding.
    Payload { id: StreamId, left: usize, padding: usize, end: bool },
}

impl<T> Connection<T> {
    /// Counts a frame against the windows. All of it counts, its padding too.
    pub(super) fn begin_data(&mut self, header: Header) -> Result<Option<Event<'static>>, Violation> {
        let Header { id, length, .. } = header;
        let padded = header.has(frame::PADDED);
        self.check_opened(id)?;
        if padded && length == 0 {
            return Err(Violation::size("a padded frame has no room for the length of its padding"));
        }
        if !self.receive_window.received(length) {
            return Err(Violation::flow("more DATA than the connection's window allows"));
        }
        if let Some(increment) = self.receive_window.consumed(length, self.limits.connection_window) {
            self.output.window_update(StreamId(0), increment);
        }
        self.reader.state = State::Skip(length);
        let Some(stream) = self.streams.get_open(id) else { return self.stale(id).map(|()| None) };
        match stream.remote {
            Half::Head => self.fault(id, ErrorCode::ProtocolError),
            Half::Closed => self.fault(id, ErrorCode::StreamClosed),
            Half::Open if !stream.receive.received(length) => self.fault(id, ErrorCode::FlowControlError),
            Half::Open if padded => {
                self.reader.state = State::Data(Rest::Padded(header));
                Ok(None)
            }
            Half::Open => self.begin_payload(id, length, 0, header.has(frame::END_STREAM)),
        }
    }

    pub(super) fn data<'a>(&mut self, part: Rest, rest: &mut &'a [u8]) -> Result<Step<'a>, Violation> {
        match part {
            Rest::Padded(header) => match rest.split_first() {
                Some((padding, after)) => {
                    *rest = after;
                    self.on_padding(header, usize::from(*padding)).map(Step::Done)
                }
                None => Ok(Step::Starved),
            },
            Rest::Payload { .. } if rest.is_empty() => Ok(Step::Starved),
            Rest::Payload { id, left, padding, end } => {
                let bytes = take(rest, left);
                let left = left - bytes.len();
                self.reader.state = match left {
                    0 => State::Skip(padding),
                    _ => State::Data(Rest::Payload { id, left, padding, end }),
                };
                Ok(Step::Done(self.on_payload(id, bytes, end && left == 0)))
            }
        }
    }

    /// Padding goes nowhere, so it is consumed at once.
    fn on_padding(&mut self, header: Header, padding: usize) -> Result<Option<Event<'static>>, Violation> {
        let payload = (header.length - 1).checked_sub(padding);
        let payload = payload.ok_or(Violation::protocol("padding is longer than its frame"))?;
        self.consumed(header.id, padding + 1);
        self.begin_payload(header.id, payload, padding, header.has(frame::END_STREAM))
    }

    fn begin_payload(
        &mut self,
        id: StreamId,
        payload: usize,
        padding: usize,
        end: bool,
    ) -> Result<Option<Event<'static>>, Violation> {
        if payload > 0 {
            self.waste.earn(1);
            self.reader.state = State::Data(Rest::Payload { id, left: payload, padding, end });
            return Ok(None);
        }
        self.reader.state = State::Skip(padding);
        if !end {
            return self.wasted(1).map(|()| None);
        }
        Ok(self.end(id))
    }

    /// The stream may have been reset while its payload came.
    fn on_payload<'a>(&mut self, id: StreamId, bytes: &'a [u8], end: bool) -> Option<Event<'a>> {
        self.streams.get_open(id).filter(|stream| stream.remote == Half::Open)?;
        if end {
            self.streams.close_remote(id);
        }
        Some(Event::Data { id, bytes, end })
    }

    /// The peer's half of a stream ends without payload.
    pub(super) fn end(&mut self, id: StreamId) -> Option<Event<'static>> {
        self.streams.get_open(id).filter(|stream| stream.remote == Half::Open)?;
        self.streams.close_remote(id);
        Some(Event::End { id })
    }
}
