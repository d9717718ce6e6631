//! The server's end of a tunnel.

use std::{
    cell::Cell,
    future::{pending, poll_fn},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use culvert_http2::{Connection, ErrorCode, Head, StreamId};
use culvert_policy::Reason;
use tokio::{sync::watch, time::sleep};

use super::{
    super::{enrolled::Phase, failure::Failure, records::Session},
    LIMITS, SERVER_IDLE,
    driver::{Driver, News},
    headers,
    link::Link,
    stream::Stream,
};

/// A request for a stream that nobody has answered yet.
pub(in super::super) struct Asked {
    request: Head,
    stream: Stream,
}

impl Asked {
    fn new(link: &Rc<Link>, id: StreamId, request: Head) -> Option<Self> {
        let flow = link.ask(|http| http.get(id).cloned())?;
        Some(Self { request, stream: Stream::new(Rc::clone(link), id, flow, link.load.begin()) })
    }

    /// The address that the client wants to reach.
    pub(in super::super) fn target(&self) -> Result<SocketAddr, Failure> {
        headers::target(&self.request)
    }

    /// The client application's address, on a tunnel that comes from `tunnel`.
    pub(in super::super) fn client(&self, tunnel: SocketAddr) -> SocketAddr {
        headers::client(&self.request, tunnel)
    }

    /// Answers that the stream is connected.
    pub(in super::super) fn accept(self) -> Stream {
        let Self { stream, .. } = self;
        stream.link.send(|http| http.respond(stream.id, OK, false));
        stream
    }

    /// Answers why it is not.
    pub(in super::super) fn refuse(self, reason: Reason) {
        let Self { stream, .. } = self;
        stream.link.send(|http| {
            http.respond(stream.id, status(reason), true);
            // What the client says unasked is not waited for (RFC 9113, section 8.1).
            http.reset(stream.id, ErrorCode::NoError);
        });
    }
}

const OK: u16 = 200;

/// What clients are told: 400 for a request that makes no sense here, 503 for what is not reached, 401 for policy.
const fn status(reason: Reason) -> u16 {
    match reason {
        Reason::BadRequest | Reason::TargetNotThisPod => 400,
        Reason::TargetForbidden | Reason::AppUnreachable | Reason::OutOfResources | Reason::Timeout => 503,
        _ => 401,
    }
}

/// Serves a tunnel until it is over: each request goes to `asked`.
pub(in super::super) async fn serve(
    session: Session,
    mut phase: watch::Receiver<Phase>,
    asked: impl Fn(Asked),
) -> Result<(), Failure> {
    let (link, mut driver) = Driver::new(session, Connection::server(LIMITS));
    let is_greeted = Cell::new(false);
    let mut news = |news| match news {
        News::Settled => is_greeted.set(true),
        News::Asked(id, request) => {
            if let Some(request) = Asked::new(&link, id, request) {
                asked(request);
            }
        }
    };
    let mut leaving = false;
    // The handshake may have lasted into another phase.
    phase.mark_changed();
    let mut ungreeted = pin!(ungreeted(&is_greeted));
    loop {
        tokio::select! {
            ended = poll_fn(|cx| driver.poll(cx, &mut news)) => return ended,
            () = &mut ungreeted => {
                return Err(Failure::new(Reason::Timeout, "the peer did not begin HTTP/2 in time"));
            }
            () = link.load.idle(SERVER_IDLE), if !leaving => {
                link.send(Connection::shut_down);
                leaving = true;
            }
            Ok(()) = phase.changed() => follow(&link, *phase.borrow_and_update()),
        }
    }
}

const PREFACE: Duration = Duration::from_secs(10);

/// Ends if the peer has not begun HTTP/2 in time.
async fn ungreeted(is_greeted: &Cell<bool>) {
    sleep(PREFACE).await;
    if is_greeted.get() {
        pending::<()>().await;
    }
}

fn follow(link: &Link, phase: Phase) {
    match phase {
        Phase::Serving => {}
        Phase::Draining => link.send(Connection::shut_down),
        Phase::Closing => link.send(|http| http.close(ErrorCode::NoError)),
    }
}
