//! Which streams a frame may be for.

use crate::{Connection, ErrorCode, Event, StreamId, Violation, connection::Role, frame::Kind};

impl<T> Connection<T> {
    /// A frame that belongs to a stream names one that was opened before (RFC 9113, sections 5.1 and 5.1.1).
    pub(super) fn check_opened(&self, id: StreamId) -> Result<(), Violation> {
        if id.0.is_multiple_of(2) || id > self.newest {
            return Err(Violation::protocol("a frame is for a stream that is not open yet"));
        }
        Ok(())
    }

    /// The peer broke a rule on a stream: a stream error (section 5.4.2).
    pub(super) fn fault(
        &mut self,
        id: StreamId,
        code: ErrorCode,
    ) -> Result<Option<Event<'static>>, Violation> {
        let announced = self.streams.get_open(id).is_some();
        self.refuse(id, code)?;
        // Each is a request that was worked on in vain, as if the peer had reset it.
        self.in_vain()?;
        self.streams.abort(id);
        Ok(announced.then_some(Event::Reset { id, code, by_peer: false }))
    }

    /// A `RST_STREAM`, and frames that are under way still are ignored.
    pub(super) fn refuse(&mut self, id: StreamId, code: ErrorCode) -> Result<(), Violation> {
        self.streams.remember_reset(id);
        self.output.answer(Kind::Reset, 0, id, &code.to_wire())
    }

    /// A frame with payload or fields for a stream that is over. All but those that crossed our `RST_STREAM` are answered,
    /// once.
    pub(super) fn stale(&mut self, id: StreamId) -> Result<(), Violation> {
        if self.streams.was_reset_lately(id) { Ok(()) } else { self.refuse(id, ErrorCode::StreamClosed) }
    }

    /// Requests that cost their work and were not waited for may come, but not for ever.
    pub(super) fn in_vain(&mut self) -> Result<(), Violation> {
        if self.role == Role::Client || self.resets.spend(1) {
            return Ok(());
        }
        Err(Violation::calm("the peer opens streams and resets them before they are answered"))
    }
}
