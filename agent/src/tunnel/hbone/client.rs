//! The client's end of a tunnel.

use std::{cell::Cell, future::poll_fn, net::SocketAddr, rc::Rc, task::Poll, time::Duration};

use culvert_http2::{Connection, ErrorCode, Unavailable};
use culvert_policy::Reason;
use tokio::{sync::watch, time::timeout};

use super::{
    super::{failure::Failure, leg::Tcp, records::Session},
    CLIENT_IDLE, FIRST_STREAMS, LIMITS, MAX_STREAMS,
    driver::{self, News},
    early::Early,
    flow::{Flow, Reset},
    headers,
    link::Link,
    load::Busy,
    stream::Stream,
};
use crate::{cluster::PodRef, identity::VerifiedPeer};

/// A live tunnel to a peer that has proven who it is.
pub(in super::super) struct Tunnel {
    link: Rc<Link>,
    /// Whether the peer has said how many streams it allows.
    settled: watch::Sender<bool>,
}

/// What a tunnel's bytes move by: to be driven for as long as the tunnel lives.
pub(in super::super) struct Driver {
    driver: driver::Driver,
    is_over: Cell<bool>,
}

impl Tunnel {
    /// Speaks HTTP/2 over a secured connection.
    pub(in super::super) fn open(session: Session) -> (Rc<Self>, Driver) {
        let (link, driver) = driver::Driver::new(session, Connection::client(LIMITS));
        let tunnel = Rc::new(Self { link, settled: watch::Sender::new(false) });
        (tunnel, Driver { driver, is_over: Cell::new(false) })
    }

    /// A place for one more stream, where there is one.
    pub(in super::super) fn lease(self: &Rc<Self>) -> Option<Lease> {
        let Link { load, is_leaving, .. } = &*self.link;
        let free = !is_leaving.get() && load.streams() < self.limit();
        free.then(|| Lease { busy: load.begin(), tunnel: Rc::clone(self) })
    }

    fn settle(&self) {
        self.settled.send_if_modified(|settled| !std::mem::replace(settled, true));
    }

    fn limit(&self) -> usize {
        match self.link.ask(Connection::peer_streams) {
            Some(streams) => streams.min(MAX_STREAMS) as usize,
            None => FIRST_STREAMS,
        }
    }

    /// Something to wait for, as long as the peer has not said how many streams it allows.
    pub(super) fn settling(&self) -> Option<watch::Receiver<bool>> {
        let receiver = self.settled.subscribe();
        let open = !*receiver.borrow();
        open.then_some(receiver)
    }
}

impl Driver {
    /// Moves the tunnel's bytes until it is over, or was idle for too long.
    pub(in super::super) async fn run(&mut self, tunnel: &Tunnel) {
        let Self { driver, is_over } = self;
        let mut news = |news: News| match news {
            News::Settled => tunnel.settle(),
            News::Asked(..) => {}
        };
        tokio::select! {
            // What broke the tunnel, the streams learn from it.
            _ = poll_fn(|cx| driver.poll(cx, &mut news)) => is_over.set(true),
            () = tunnel.link.load.idle(CLIENT_IDLE) => {}
        }
        // Nobody is to wait any longer for what the peer may allow.
        tunnel.settle();
    }

    /// Moves the bytes of the streams that are left, and closes the tunnel.
    pub(in super::super) async fn finish(mut self) {
        if !self.is_over.get() {
            self.driver.leave();
            // As above.
            let _ = poll_fn(|cx| self.driver.poll(cx, &mut |_| {})).await;
        }
    }
}

/// A place on a tunnel.
pub(in super::super) struct Lease {
    busy: Busy,
    tunnel: Rc<Tunnel>,
}

/// A stream was not opened.
pub(in super::super) enum Unopened {
    /// The tunnel takes no more streams, and this one is known to have left no trace at the peer.
    Stale(Rc<Tunnel>, Failure),
    /// For good.
    Failed(Failure),
}

impl Lease {
    /// Whom the stream will reach.
    pub(in super::super) fn peer(&self) -> &VerifiedPeer {
        &self.tunnel.link.peer
    }

    /// Opens a stream to `target` for an application of `pod` at `client`. What the application says before there is an
    /// answer is sent at once.
    pub(in super::super) async fn connect(
        self,
        target: SocketAddr,
        client: SocketAddr,
        pod: &PodRef,
        app: &Tcp,
        early: &mut Early,
    ) -> Result<Stream, Unopened> {
        let Self { busy, tunnel } = self;
        let mut stream = request(&tunnel, busy, target, client, pod)?;
        early.rewind();
        let answer = poll_fn(|cx| {
            stream.flow.listen(cx);
            if let Some(answer) = answer(&tunnel, &stream.flow) {
                return Poll::Ready(answer);
            }
            early.poll(cx, app, &stream);
            Poll::Pending
        });
        let late = || Failure::new(Reason::Timeout, "the peer's agent did not answer a CONNECT in time");
        timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(Unopened::Failed(late())))?;
        stream.keep_unsaid(early);
        Ok(stream)
    }
}

/// The server connects to its application first, which it gives up sooner than this.
const ANSWER: Duration = Duration::from_secs(15);

fn request(
    tunnel: &Rc<Tunnel>,
    busy: Busy,
    target: SocketAddr,
    client: SocketAddr,
    pod: &PodRef,
) -> Result<Stream, Unopened> {
    let flow = Rc::<Flow>::default();
    let connect = headers::Connect::new(target, client, pod);
    let id = connect.write(|request| tunnel.link.send(|http| http.connect(request, Rc::clone(&flow))));
    match id {
        Ok(id) => Ok(Stream::new(Rc::clone(&tunnel.link), id, flow, busy)),
        Err(unavailable) => Err(stale(tunnel, unavailable)),
    }
}

fn stale(tunnel: &Rc<Tunnel>, why: Unavailable) -> Unopened {
    let failure = tunnel.link.fault().unwrap_or_else(|| Failure::new(Reason::TunnelFailed, why));
    Unopened::Stale(Rc::clone(tunnel), failure)
}

/// What has become of a request; none while that is open. A server that goes away, or refuses a stream as such, has not
/// looked at it (RFC 9113, section 8.7).
fn answer(tunnel: &Rc<Tunnel>, flow: &Flow) -> Option<Result<(), Unopened>> {
    if let Some(status) = flow.status.get() {
        return Some(accepted(status).map_err(Unopened::Failed));
    }
    match flow.reset.get() {
        Some(Reset::Unseen | Reset::ByPeer(ErrorCode::RefusedStream)) => {
            let failure = Failure::new(Reason::TunnelFailed, "the peer's agent takes no more streams");
            Some(Err(Unopened::Stale(Rc::clone(tunnel), failure)))
        }
        Some(Reset::ByPeer(code) | Reset::ByUs(code)) => {
            let detail = format_args!("the stream was reset before it was answered: {code}");
            Some(Err(Unopened::Failed(Failure::new(Reason::TunnelFailed, detail))))
        }
        None => tunnel.link.fault().map(|failure| Err(Unopened::Failed(failure))),
    }
}

fn accepted(status: u16) -> Result<(), Failure> {
    let reason = match status {
        200 => return Ok(()),
        400 | 401 | 403 => Reason::PeerDenied,
        503 => Reason::PeerAppUnreachable,
        _ => Reason::TunnelFailed,
    };
    Err(Failure::new(reason, format_args!("the peer's agent answered {status}")))
}
