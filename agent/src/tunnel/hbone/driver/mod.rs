//! What moves a tunnel's bytes: one TCP connection, TLS records on it, HTTP/2 frames in those, and many streams in these.
//!
//! It seals what all streams have put into the output into as few records and system calls as it takes, and takes apart
//! what arrives.

mod receive;

use std::{
    io, mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use culvert_http2::{Connection, Head, StreamId};
use culvert_policy::Reason;
use tokio::time::{Sleep, sleep_until};

use super::{
    super::{failure::Failure, records::Session, tasks::come_back},
    flow::Flow,
    link::{Ask, Link},
    outlet::Flushed,
};
use receive::Read;

/// To be polled for as long as the tunnel lives.
pub(super) struct Driver {
    link: Rc<Link>,
    /// What came with the end of the handshake.
    arrived: Vec<u8>,
    /// The beginning of a record whose rest has yet to come.
    partial: Vec<u8>,
    /// For a peer that is behind.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What a driver has others do.
pub(super) enum News {
    /// The peer asks for a stream.
    Asked(StreamId, Head),
    /// The peer has said how many streams it allows.
    Settled,
}

/// Turns of reading before the worker's other tasks have theirs. A read that has emptied the socket takes another to see
/// it.
const TURNS: usize = 2;

impl Driver {
    pub(super) fn new(session: Session, http: Connection<Rc<Flow>>) -> (Rc<Link>, Self) {
        let Session { tcp, records, peer, arrived } = session;
        let link = Link::new(peer, tcp, records, http);
        let driver = Self { link: Rc::clone(&link), arrived, partial: Vec::new(), timer: None };
        (link, driver)
    }

    /// Takes no more streams, and ends with the last one.
    pub(super) fn leave(&self) {
        self.link.is_leaving.set(true);
        self.link.send(Connection::shut_down);
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        news: &mut dyn FnMut(News),
    ) -> Poll<Result<(), Failure>> {
        self.link.listen(cx);
        let ended = match self.drive(cx, news) {
            Ok(false) => return Poll::Pending,
            Ok(true) => Ok(()),
            Err(failure) => Err(failure),
        };
        let over = || Failure::new(Reason::TunnelFailed, "the peer closed the tunnel");
        self.link.end(ended.clone().err().unwrap_or_else(over));
        Poll::Ready(ended)
    }

    /// Whether the tunnel has come to its end.
    fn drive(&mut self, cx: &mut Context<'_>, news: &mut dyn FnMut(News)) -> Result<bool, Failure> {
        let mut arrived = mem::take(&mut self.arrived);
        if !arrived.is_empty() && self.take_apart(&mut arrived, news)? == Read::End {
            return Ok(true);
        }
        self.flush(cx);
        let ask = self.link.pass_turn();
        for _ in 0..TURNS {
            if self.is_finished() {
                return Ok(true);
            }
            let Poll::Ready(ready) = self.link.tcp.poll_read_ready(cx) else {
                self.ask(ask, cx);
                return Ok(false);
            };
            ready.map_err(|error| self.broken(error))?;
            if self.read(news)? == Read::End {
                return self.ended();
            }
        }
        come_back(cx);
        Ok(false)
    }

    /// Has the task be polled when it is to ask again whose turn it is.
    fn ask(&mut self, when: Ask, cx: &mut Context<'_>) {
        let is_due = match when {
            Ask::WithNews => false,
            Ask::Again => true,
            Ask::By(end) => {
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end.into())));
                if timer.deadline() != end.into() {
                    timer.as_mut().reset(end.into());
                }
                timer.as_mut().poll(cx).is_ready()
            }
        };
        if is_due {
            come_back(cx);
        }
    }

    /// Sends what there is to be sent, as far as the socket takes it.
    fn flush(&self, cx: &mut Context<'_>) {
        self.link.catch_up();
        while self.link.flush() == Flushed::Blocked {
            if !matches!(self.link.tcp.poll_write_ready(cx), Poll::Ready(Ok(()))) {
                return;
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.link.core.borrow().outlet.is_finished()
    }

    fn send_error(&self) -> Option<io::Error> {
        self.link.core.borrow_mut().outlet.take_error()
    }

    /// What was to be sent and cannot be says less than what was received.
    fn broken(&self, error: io::Error) -> Failure {
        Failure::in_transit(&self.send_error().unwrap_or(error))
    }

    fn ended(&self) -> Result<bool, Failure> {
        match self.send_error() {
            Some(error) => Err(Failure::in_transit(&error)),
            None => Ok(true),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.link.end(Reason::ShuttingDown.into());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::{
        super::{
            super::{records::tests, tests::fixture::soon},
            LIMITS,
        },
        *,
    };

    #[tokio::test]
    async fn what_is_owed_on_a_broken_connection_is_not_tried_for_ever() {
        let (session, mut peer) = tests::accepted().await;
        let (_link, mut driver) = Driver::new(session, Connection::server(LIMITS));
        driver.link.core.borrow_mut().outlet.give_up(io::ErrorKind::BrokenPipe.into());
        tests::refresh(&mut peer);
        soon(peer.flush()).await.unwrap();
        let owing = poll_fn(|cx| {
            assert!(driver.poll(cx, &mut |_| {}).is_pending());
            if driver.link.core.borrow().outlet.records.is_owing() { Poll::Ready(()) } else { Poll::Pending }
        });
        soon(owing).await;
        soon(peer.shutdown()).await.unwrap();
        let ended = soon(poll_fn(|cx| driver.poll(cx, &mut |_| {}))).await;
        assert!(ended.is_err());
    }
}
