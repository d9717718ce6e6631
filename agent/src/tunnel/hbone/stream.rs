//! One stream of a tunnel, as a leg of a relay.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use culvert_policy::Reason;
use h2::{RecvStream, SendStream};

use super::{
    super::{
        failure::{Failure, Fault},
        leg::{Broken, Leg},
    },
    load::Busy,
};

/// A stream that both sides have agreed upon. It is reset unless it came to its end in both directions.
pub(in super::super) struct Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    received_all: bool,
    fault: Fault,
    _busy: Busy,
}

impl Stream {
    pub(super) const fn new(send: SendStream<Bytes>, recv: RecvStream, fault: Fault, busy: Busy) -> Self {
        Self { send, recv, received_all: false, fault, _busy: busy }
    }

    fn broken(&self, error: h2::Error) -> Broken {
        if error.is_reset() && error.is_remote() {
            return Broken::Reset;
        }
        Broken::Failed(failure(&self.fault, error))
    }

    /// What an error of sending means: nothing while the peer, who wants no more, has bytes for us on the way.
    fn poll_unsent(&mut self, cx: &mut Context<'_>, error: h2::Error) -> Poll<Broken> {
        match self.send.poll_reset(cx) {
            Poll::Ready(Ok(_)) => self.poll_broken(cx),
            _ => Poll::Ready(self.broken(error)),
        }
    }

    /// Asks for credit only while there is something to send: what an idle stream holds, the others lack.
    fn poll_credit(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Broken>> {
        let credit = self.send.capacity();
        if credit > 0 {
            return Poll::Ready(Ok(credit));
        }
        self.send.reserve_capacity(wanted);
        match ready!(self.send.poll_capacity(cx)) {
            Some(Ok(credit)) => Poll::Ready(Ok(credit)),
            Some(Err(error)) => Poll::Ready(Err(self.broken(error))),
            None => Poll::Ready(Err(ready!(self.poll_broken(cx)))),
        }
    }
}

/// What an error of the codec means: what broke the bytes below it, where something did.
pub(super) fn failure(fault: &Fault, error: impl std::fmt::Display) -> Failure {
    fault.get().unwrap_or_else(|| Failure::new(Reason::TunnelFailed, error))
}

impl Leg for Stream {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Poll::Ready(Ok(Some(chunk))),
                Some(Err(error)) => return Poll::Ready(Err(self.broken(error))),
                None => {
                    self.received_all = true;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    fn consumed(&mut self, bytes: usize) {
        // Fails only on a stream that is over.
        let _ = self.recv.flow_control().release_capacity(bytes);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<Result<(), Broken>> {
        while !chunk.is_empty() {
            let credit = ready!(self.poll_credit(cx, chunk.len()))?;
            let part = chunk.split_to(credit.min(chunk.len()));
            if let Err(error) = self.send.send_data(part, false) {
                return Poll::Ready(Err(ready!(self.poll_unsent(cx, error))));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self.send.send_data(Bytes::new(), true) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(ready!(self.poll_unsent(cx, error)))),
        }
    }

    /// A server that has answered may refuse to hear more with `NO_ERROR`, and its answer has to arrive nevertheless
    /// (RFC 9113, section 8.1). What says the same before the end of an answer is found by receiving.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        match ready!(self.send.poll_reset(cx)) {
            Ok(h2::Reason::NO_ERROR) if self.received_all => Poll::Ready(Broken::Deaf),
            Ok(h2::Reason::NO_ERROR) => Poll::Pending,
            Ok(_) => Poll::Ready(Broken::Reset),
            Err(error) => Poll::Ready(self.broken(error)),
        }
    }

    fn reset(&mut self) {
        self.send.send_reset(h2::Reason::CANCEL);
    }
}
