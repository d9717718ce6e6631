//! Frames without payload or fields (RFC 9113, sections 6.3 to 6.9).

use super::{State, stream_id, word};
use crate::{
    Connection, ErrorCode, Event, StreamId, Violation,
    connection::Role,
    frame::{ACK, Header, Kind},
    settings::PARAMETER,
    stream::Half,
};

impl<T> Connection<T> {
    /// How much of the payload is needed.
    pub(super) fn begin_control(header: Header) -> Result<usize, Violation> {
        let Header { length, id, .. } = header;
        let of_connection = matches!(header.kind, Kind::Settings | Kind::Ping | Kind::GoAway);
        if of_connection && id != StreamId(0) {
            return Err(Violation::protocol("a frame of the connection names a stream"));
        }
        let (fits, needed) = match header.kind {
            Kind::Settings if header.has(ACK) => (length == 0, 0),
            Kind::Settings => (length % PARAMETER == 0, length),
            Kind::Ping => (length == 8, 8),
            Kind::GoAway => (length >= 8, 8),
            Kind::Reset | Kind::WindowUpdate => (length == 4, 4),
            _ => (true, 0),
        };
        if !fits {
            return Err(Violation::size("a frame has a size that its type does not allow"));
        }
        if needed > MAX_SETTINGS {
            return Err(Violation::calm("SETTINGS are larger than any that make sense"));
        }
        Ok(needed)
    }

    pub(super) fn on_control(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event<'static>>, Violation> {
        match header.kind {
            Kind::Settings if header.has(ACK) => self.on_acknowledged().map(|()| None),
            Kind::Settings => self.on_settings(payload).map(Some),
            Kind::Ping => self.on_ping(header.has(ACK), payload).map(|()| None),
            Kind::GoAway => {
                let code = ErrorCode::from_wire(word(payload, 4));
                self.on_go_away(stream_id(payload, 0), code).map(Some)
            }
            Kind::Reset => self.on_reset(header.id, ErrorCode::from_wire(word(payload, 0))),
            Kind::WindowUpdate => self.on_window_update(header.id, stream_id(payload, 0).0),
            _ => self.wasted(1).map(|()| None),
        }
    }

    /// Priorities are deprecated and mean nothing to us (section 5.3.2), but they have a size.
    pub(super) fn on_priority(&mut self, header: Header) -> Result<Option<Event<'static>>, Violation> {
        let Header { length, id, .. } = header;
        self.reader.state = State::Skip(length);
        self.wasted(1)?;
        match (id, length) {
            (StreamId(0), _) => Err(Violation::protocol("PRIORITY names no stream")),
            (_, 5) => Ok(None),
            (_, _) if self.streams.get_open(id).is_some() => self.fault(id, ErrorCode::FrameSizeError),
            (_, _) => Err(Violation::size("PRIORITY is not of 5 bytes")),
        }
    }

    fn on_settings(&mut self, payload: &[u8]) -> Result<Event<'static>, Violation> {
        if self.peer.is_some() {
            self.wasted(SETTINGS_COST)?;
        }
        let before = self.peer.unwrap_or_default();
        let settings = before.updated(payload, self.role == Role::Client)?;
        self.peer = Some(settings);
        if settings.window != before.window {
            let change = i64::from(settings.window) - i64::from(before.window);
            let shifted = self.streams.iter_mut().try_for_each(|stream| stream.send.shift(change));
            shifted.map_err(|_| Violation::flow("INITIAL_WINDOW_SIZE makes a window larger than 2^31-1"))?;
        }
        self.output.answer(Kind::Settings, ACK, StreamId(0), &[])?;
        Ok(Event::Settings)
    }

    /// A peer that had not seen our settings yet was right to think that windows have their default size.
    fn on_acknowledged(&mut self) -> Result<(), Violation> {
        if std::mem::replace(&mut self.acknowledged, true) {
            return Err(Violation::protocol("SETTINGS are acknowledged that were not sent"));
        }
        let change = i64::from(self.limits.stream_window) - i64::from(self.stream_window);
        self.stream_window = self.limits.stream_window;
        self.streams.iter_mut().for_each(|stream| stream.receive.shift(change));
        Ok(())
    }

    fn on_reset(&mut self, id: StreamId, code: ErrorCode) -> Result<Option<Event<'static>>, Violation> {
        self.check_opened(id)?;
        let Some(stream) = self.streams.get_open(id) else { return Ok(None) };
        if stream.local == Half::Head {
            self.in_vain()?;
        }
        self.streams.abort(id);
        Ok(Some(Event::Reset { id, code, by_peer: true }))
    }

    fn on_window_update(
        &mut self,
        id: StreamId,
        increment: u32,
    ) -> Result<Option<Event<'static>>, Violation> {
        if id == StreamId(0) {
            return self.on_connection_window(increment);
        }
        self.check_opened(id)?;
        let Some(stream) = self.streams.get_open(id) else { return Ok(None) };
        if increment == 0 {
            return self.fault(id, ErrorCode::ProtocolError);
        }
        match stream.send.grow(increment) {
            Ok(risen) => Ok(risen.then_some(Event::Credit { id: Some(id) })),
            Err(_) => self.fault(id, ErrorCode::FlowControlError),
        }
    }

    fn on_connection_window(&mut self, increment: u32) -> Result<Option<Event<'static>>, Violation> {
        if increment == 0 {
            return Err(Violation::protocol("WINDOW_UPDATE of the connection by 0"));
        }
        let risen = self.send_window.grow(increment);
        let risen = risen.map_err(|_| Violation::flow("the connection's window grows beyond 2^31-1"))?;
        Ok(risen.then_some(Event::Credit { id: None }))
    }
}

/// Some 680 parameters, of which HTTP/2 has seven.
const MAX_SETTINGS: usize = 4096;
/// New settings can make us look at each stream.
const SETTINGS_COST: u32 = 10;
