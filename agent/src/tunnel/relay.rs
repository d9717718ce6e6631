//! Moving bytes between the application and the other side, both ways, in the task that asked for it.

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use culvert_policy::Reason;
use tokio::time::timeout;

use super::{
    leg::{Broken, Leg, Lookout, Tcp},
    tasks::come_back,
};
use crate::observe::Record;

/// Relays until both directions have ended or one side breaks off; the other is then broken off too.
pub(super) fn relay(app: Tcp, far: impl Leg, record: Rc<Record>) -> impl Future<Output = Ended> {
    let (up, down, lookout) = Default::default();
    // Outside of what waits, which would have room for each of them twice.
    let mut relay = Relay { app, far, up, down, lookout };
    async move {
        let ended = poll_fn(|cx| match relay.poll(cx, &record) {
            Poll::Pending if relay.is_app_unheard() => relay.poll_app(cx),
            polled => polled,
        })
        .await;
        if matches!(ended, Ended::Far(Broken::Deaf)) {
            Box::pin(part(relay.app)).await;
        }
        ended
    }
}

/// Closes the application's connection such that it can read all that it was sent: closing it over unread bytes would
/// send a RST, which overtakes them.
pub(super) async fn part(mut app: Tcp) {
    let drain = poll_fn(|cx| {
        while let Ok(Some(_)) = ready!(app.poll_recv(cx)) {}
        Poll::Ready(())
    });
    // Who goes on sending to nobody may know.
    let _ = timeout(PARTING, drain).await;
    app.leave();
}

const PARTING: Duration = Duration::from_secs(1);

/// A connection whose bytes move, until it ends.
pub(super) type Carried = Pin<Box<dyn Future<Output = Ended>>>;

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

/// Writes down how a relay ended.
pub(super) fn close(record: &Record, reason: Reason, ended: Ended) {
    match ended {
        Ended::Finished => record.carried(reason),
        Ended::App(Broken::Reset) => {
            record.note("reset by the application");
            record.carried(reason);
        }
        Ended::Far(Broken::Reset) => {
            record.note("reset by the peer");
            record.carried(reason);
        }
        Ended::App(Broken::Deaf) | Ended::Far(Broken::Deaf) => {
            record.note("ended by the peer alone");
            record.carried(reason);
        }
        Ended::App(Broken::Failed(failure)) | Ended::Far(Broken::Failed(failure)) => {
            record.ended(failure.reason, &*failure.detail);
        }
    }
}

struct Relay<F> {
    app: Tcp,
    far: F,
    up: Pump,
    down: Pump,
    lookout: Lookout,
}

impl<F: Leg> Relay<F> {
    fn poll(&mut self, cx: &mut Context<'_>, record: &Record) -> Poll<Ended> {
        let Self { app, far, up, down, .. } = self;
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

    /// A peer that has sent all it had can still break off. If it only wants to hear no more, what it said comes first,
    /// with its end.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        match ready!(self.far.poll_broken(cx)) {
            Broken::Deaf if self.down.state != State::Done => Poll::Pending,
            Broken::Deaf => Poll::Ready(Ended::Far(Broken::Deaf)),
            broken => {
                self.app.reset();
                Poll::Ready(Ended::Far(broken))
            }
        }
    }

    /// Whether nothing of the application is being waited for, so that its breaking off would go unnoticed.
    fn is_app_unheard(&self) -> bool {
        self.up.state != State::Open || !self.up.chunk.is_empty()
    }

    fn poll_app(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        ready!(self.lookout.poll(&self.app, cx));
        self.far.reset();
        Poll::Ready(Ended::App(Broken::Reset))
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
        come_back(cx);
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

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, rc::Rc};

    use culvert_policy::Reason;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::Notify,
    };

    use super::{super::tests::fixture::record, *};

    /// A peer that takes nothing and says nothing.
    struct Wall(Rc<Notify>);

    impl Leg for Wall {
        fn poll_recv(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
            Poll::Pending
        }

        fn poll_send(&mut self, _cx: &mut Context<'_>, _chunk: &mut Bytes) -> Poll<Result<(), Broken>> {
            self.0.notify_one();
            Poll::Pending
        }

        fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Ok(()))
        }

        fn reset(&mut self) {}
    }

    /// A peer that has answered in so many chunks, and wants to hear no more.
    struct Answered {
        chunks: usize,
        is_over: bool,
    }

    impl Leg for Answered {
        fn poll_recv(&mut self, _cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
            self.is_over = self.chunks == 0;
            self.chunks = self.chunks.saturating_sub(1);
            Poll::Ready(Ok((!self.is_over).then_some(Bytes::from_static(b"answer"))))
        }

        fn poll_send(&mut self, _cx: &mut Context<'_>, _chunk: &mut Bytes) -> Poll<Result<(), Broken>> {
            Poll::Pending
        }

        fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
            Poll::Ready(Ok(()))
        }

        fn poll_broken(&mut self, _cx: &mut Context<'_>) -> Poll<Broken> {
            if self.is_over { Poll::Ready(Broken::Deaf) } else { Poll::Pending }
        }

        fn reset(&mut self) {}
    }

    async fn accepted() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (agent, source) = listener.accept().await.unwrap();
        (app, agent, source)
    }

    #[tokio::test]
    async fn an_answer_ends_well_wherever_the_relays_turn_ends_in_it() {
        for chunks in ROUNDS - 2..=ROUNDS + 2 {
            let (mut app, agent, source) = accepted().await;
            let record = record(source);
            let relay = relay(Tcp::new(agent), Answered { chunks, is_over: false }, Rc::clone(&record));
            let reading = async {
                let mut answer = Vec::new();
                app.read_to_end(&mut answer).await.map(|_| answer.len())
            };
            let (ended, read) = tokio::join!(relay, reading);
            assert!(matches!(ended, Ended::Far(Broken::Deaf)), "{ended:?}");
            assert_eq!(read.unwrap(), chunks * b"answer".len());
            record.carried(Reason::PeerHbone);
        }
    }

    #[tokio::test]
    async fn a_reset_is_noticed_while_the_peer_takes_nothing() {
        let (mut app, agent, source) = accepted().await;
        let record = record(source);
        let stuck = Rc::new(Notify::new());
        let relay = relay(Tcp::new(agent), Wall(Rc::clone(&stuck)), Rc::clone(&record));
        let aborting = async {
            app.write_all(b"upload").await.unwrap();
            stuck.notified().await;
            app.set_zero_linger().unwrap();
            drop(app);
        };
        let (ended, ()) = tokio::join!(relay, aborting);
        assert!(matches!(ended, Ended::App(Broken::Reset)), "{ended:?}");
        record.carried(Reason::PeerHbone);
    }
}
