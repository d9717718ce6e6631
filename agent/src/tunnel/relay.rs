//! Moving bytes between the application and the other side, both ways, in the task that asked for it.

use std::{
    cell::Cell,
    future::poll_fn,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::leg::{Broken, Leg};
use crate::observe::Record;

/// Relays until both directions have ended or one side breaks off; the other is then broken off too.
pub(super) async fn relay(app: impl Leg, far: impl Leg, record: &Record) -> Ended {
    let mut relay = Relay { app, far, up: Pump::default(), down: Pump::default() };
    poll_fn(|cx| relay.poll(cx, record)).await
}

/// How a relay ended.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// In both directions, by the applications.
    Finished,
    /// The application on this node broke off.
    App(Broken),
    /// The other side did.
    Far(Broken),
}

struct Relay<A, F> {
    app: A,
    far: F,
    up: Pump,
    down: Pump,
}

impl<A: Leg, F: Leg> Relay<A, F> {
    fn poll(&mut self, cx: &mut Context<'_>, record: &Record) -> Poll<Ended> {
        let Self { app, far, up, down } = self;
        let ended = match (up.poll(cx, app, far, &record.sent), down.poll(cx, far, app, &record.received)) {
            (Poll::Ready(Err(at)), _) => at.ended(Ended::App, Ended::Far),
            (_, Poll::Ready(Err(at))) => at.ended(Ended::Far, Ended::App),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ended::Finished),
            _ => return self.poll_broken(cx),
        };
        app.reset();
        far.reset();
        Poll::Ready(ended)
    }

    /// A side that has sent all it had can still break off.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Poll::Ready(broken) = self.far.poll_broken(cx) {
            self.app.reset();
            return Poll::Ready(Ended::Far(broken));
        }
        if let Poll::Ready(broken) = self.app.poll_broken(cx) {
            self.far.reset();
            return Poll::Ready(Ended::App(broken));
        }
        Poll::Pending
    }
}

/// One direction. It holds at most one chunk, which its sink has not taken yet.
#[derive(Default)]
struct Pump {
    chunk: Bytes,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Finishing,
    Done,
}

enum At {
    Source(Broken),
    Sink(Broken),
}

impl At {
    fn ended(self, source: impl FnOnce(Broken) -> Ended, sink: impl FnOnce(Broken) -> Ended) -> Ended {
        match self {
            Self::Source(broken) => source(broken),
            Self::Sink(broken) => sink(broken),
        }
    }
}

impl Pump {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Leg,
        sink: &mut impl Leg,
        moved: &Cell<u64>,
    ) -> Poll<Result<(), At>> {
        for _ in 0..ROUNDS {
            ready!(self.poll_sink(cx, source, sink, moved))?;
            if self.state == State::Done {
                return Poll::Ready(Ok(()));
            }
            match source.poll_recv(cx).map_err(At::Source)? {
                Poll::Ready(Some(chunk)) => self.chunk = chunk,
                Poll::Ready(None) => self.state = State::Finishing,
                Poll::Pending => {
                    ready!(sink.poll_flush(cx)).map_err(At::Sink)?;
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands on what is held, or the end.
    fn poll_sink(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Leg,
        sink: &mut impl Leg,
        moved: &Cell<u64>,
    ) -> Poll<Result<(), At>> {
        if !self.chunk.is_empty() {
            let before = self.chunk.len();
            let sent = sink.poll_send(cx, &mut self.chunk);
            let taken = before - self.chunk.len();
            moved.set(moved.get() + taken as u64);
            source.consumed(taken);
            return sent.map_err(At::Sink);
        }
        if self.state == State::Finishing {
            ready!(sink.poll_finish(cx)).map_err(At::Sink)?;
            self.state = State::Done;
        }
        Poll::Ready(Ok(()))
    }
}

/// Chunks that one direction moves before the worker's other connections have their turn.
const ROUNDS: usize = 32;
