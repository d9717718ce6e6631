//! What a tunnel sends: its output, sealed.

use std::{io, mem, rc::Rc};

use culvert_http2::{Buffer, Connection};
use tokio::net::TcpStream;

use super::{
    super::{arena, records::Records},
    flow::Flow,
};

/// The way from the frames that wait to the socket. Nothing is sealed before what was sealed last is with the kernel.
pub(super) struct Outlet {
    pub(super) records: Records,
    sealed: Buffer,
    /// Why nothing can be sent any more. What the peer said before may explain it, so it is read first.
    unsent: Option<io::Error>,
    has_closed: bool,
}

/// How far the output could be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    All,
    /// As far as the socket takes it now.
    Blocked,
}

impl Outlet {
    pub(super) fn new(records: Records) -> Self {
        Self { records, sealed: Buffer::default(), unsent: None, has_closed: false }
    }

    /// Sends what there is to be sent, as far as the socket takes it.
    pub(super) fn flush(&mut self, http: &mut Connection<Rc<Flow>>, tcp: &TcpStream) -> Flushed {
        loop {
            match self.write(tcp) {
                Ok(Flushed::All) => {}
                Ok(Flushed::Blocked) => return Flushed::Blocked,
                Err(error) => self.give_up(error),
            }
            match self.seal(http) {
                Ok(true) => {}
                Ok(false) => return Flushed::All,
                Err(error) => {
                    self.give_up(io::Error::other(error));
                    return Flushed::All;
                }
            }
        }
    }

    fn write(&mut self, tcp: &TcpStream) -> io::Result<Flushed> {
        while !self.sealed.is_empty() {
            match tcp.try_write(self.sealed.filled()) {
                Ok(written) => self.sealed.consume(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) => return Err(error),
            }
        }
        arena::give_back(self.sealed.take());
        Ok(Flushed::All)
    }

    /// Seals what is in the output; whether that is anything.
    fn seal(&mut self, http: &mut Connection<Rc<Flow>>) -> Result<bool, rustls::Error> {
        let is_last = http.is_finished() && !mem::replace(&mut self.has_closed, http.is_finished());
        // What cannot be sent any more is not owed: it would be tried for ever.
        let is_owing = self.records.is_owing() && self.unsent.is_none();
        let output = http.output();
        if output.is_empty() && !is_owing && !is_last {
            arena::give_back(output.take());
            return Ok(false);
        }
        if self.unsent.is_none() {
            arena::equip(&mut self.sealed);
            self.records.seal(output.filled(), &mut self.sealed)?;
            if is_last {
                self.records.close(&mut self.sealed)?;
            }
        }
        output.clear();
        Ok(true)
    }

    /// Sends nothing from now on.
    pub(super) fn give_up(&mut self, error: io::Error) {
        self.unsent.get_or_insert(error);
        self.sealed.clear();
    }

    /// Why nothing is sent any more.
    pub(super) const fn take_error(&mut self) -> Option<io::Error> {
        self.unsent.take()
    }

    /// Whether the last that there will be to send is with the kernel.
    pub(super) const fn is_finished(&self) -> bool {
        self.has_closed && self.sealed.is_empty()
    }

    /// Puts what tells the peer its fault behind what is sealed.
    pub(super) fn complain(&mut self, error: &rustls::Error) {
        if !matches!(error, rustls::Error::AlertReceived(_)) {
            // The error itself counts.
            let _ = self.records.complain(error, &mut self.sealed);
        }
    }
}
