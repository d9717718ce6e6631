//! How a connection ends (RFC 9113, section 6.8).

use crate::{
    Connection, ErrorCode, Event, StreamId, Violation,
    connection::Role,
    frame::{ACK, Kind},
};

/// What was said about the end.
#[derive(Debug, Default)]
pub(crate) struct Going {
    sent: Sent,
    /// The last stream of ours that the peer may have processed.
    received: Option<StreamId>,
}

#[derive(Debug, Default, Eq, PartialEq)]
enum Sent {
    #[default]
    Nothing,
    /// That the end is near, and a PING that tells when the peer knows.
    Warning,
    /// The last stream of the peer's that is processed.
    Final(StreamId),
}

impl Going {
    pub(crate) fn is_announced(&self) -> bool {
        self.sent != Sent::Nothing || self.received.is_some()
    }

    /// Whether we said that this stream of the peer's would not be processed.
    pub(crate) fn excludes(&self, id: StreamId) -> bool {
        matches!(self.sent, Sent::Final(last) if id > last)
    }
}

impl<T> Connection<T> {
    /// Ends gracefully: no new streams, those that are open go on. A server says so first and names the last stream when
    /// the client is sure to know.
    pub fn shut_down(&mut self) {
        match self.role {
            Role::Client if self.going.sent == Sent::Nothing => self.close(ErrorCode::NoError),
            Role::Server if self.going.sent == Sent::Nothing => {
                self.going.sent = Sent::Warning;
                self.output.go_away(StreamId::MAX, ErrorCode::NoError);
                self.output.frame(Kind::Ping, 0, StreamId(0), &WARNING);
            }
            Role::Client | Role::Server => {}
        }
    }

    /// Ends at once: names the last stream that is processed, and why. The owner sends what is in the output and ends the
    /// transport.
    pub fn close(&mut self, code: ErrorCode) {
        let last = match (&self.going.sent, self.role) {
            (Sent::Final(last), _) => *last,
            (_, Role::Server) => self.newest,
            (_, Role::Client) => StreamId(0),
        };
        self.going.sent = Sent::Final(last);
        self.output.go_away(last, code);
    }

    /// Whether one end has said that it takes no new streams, and all that were open are forgotten.
    pub fn is_finished(&self) -> bool {
        let last = matches!(self.going.sent, Sent::Final(_)) || self.going.received.is_some();
        last && self.is_empty()
    }

    /// The streams that the peer has gone away without having looked at, which can be tried again elsewhere. They are over
    /// and wait to be forgotten.
    pub fn unprocessed(&self) -> Vec<StreamId> {
        match (self.role, self.going.received) {
            (Role::Client, Some(last)) => self.ids().filter(|id| *id > last).collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn on_go_away(
        &mut self,
        last: StreamId,
        code: ErrorCode,
    ) -> Result<Event<'static>, Violation> {
        if self.going.received.is_some_and(|before| last > before) {
            return Err(Violation::protocol("a GOAWAY names a later stream than the one before"));
        }
        self.going.received = Some(last);
        for id in self.unprocessed() {
            self.streams.abort(id);
        }
        Ok(Event::GoAway { last, code })
    }

    pub(crate) fn on_ping(&mut self, ack: bool, payload: &[u8]) -> Result<(), Violation> {
        match (ack, &self.going.sent) {
            (false, _) => self.output.answer(Kind::Ping, ACK, StreamId(0), payload),
            (true, Sent::Warning) if payload == WARNING => {
                self.close(ErrorCode::NoError);
                Ok(())
            }
            (true, _) => self.wasted(1),
        }
    }
}

/// The PING after a server's first GOAWAY; its content is ours to choose.
const WARNING: [u8; 8] = *b"going.\r\n";
