//! What is sent: the output, sealed.

use std::{
    io, mem,
    task::{Context, Poll, Waker, ready},
};

use super::{
    super::super::{arena, failure::Failure},
    Driver,
};

impl Driver {
    /// Sends what there is to be sent, as far as the socket takes it.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        loop {
            match self.write(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.unsent.get_or_insert(error);
                    self.sealed.clear();
                }
            }
            match self.seal() {
                Ok(true) => self.link.wake_crowded(),
                Ok(false) => return,
                Err(error) => {
                    self.unsent.get_or_insert(io::Error::other(error));
                    return;
                }
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealed.is_empty() {
            ready!(self.tcp.poll_write_ready(cx))?;
            match self.tcp.try_write(self.sealed.filled()) {
                Ok(written) => self.sealed.consume(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        arena::give_back(self.sealed.take());
        Poll::Ready(Ok(()))
    }

    /// Seals what is in the output; whether that is anything.
    fn seal(&mut self) -> Result<bool, rustls::Error> {
        let core = &mut *self.link.core.borrow_mut();
        let is_last = core.http.is_finished() && !mem::replace(&mut self.has_closed, core.http.is_finished());
        // What cannot be sent any more is not owed: it would be tried for ever.
        let is_owing = self.records.is_owing() && self.unsent.is_none();
        let output = core.http.output();
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

    /// Tells the peer what it did wrong, if it still listens.
    pub(super) fn complain(&mut self, error: rustls::Error) -> Failure {
        if !matches!(error, rustls::Error::AlertReceived(_)) {
            // The error itself counts.
            let _ = self.records.complain(&error, &mut self.sealed);
        }
        self.part_with(Failure::in_transit(&io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Sends what is left without waiting: the one it is for is not waited for any more.
    pub(super) fn part_with(&mut self, failure: Failure) -> Failure {
        let mut nobody = Context::from_waker(Waker::noop());
        self.flush(&mut nobody);
        failure
    }
}
