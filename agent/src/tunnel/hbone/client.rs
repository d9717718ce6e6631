//! The client's end of a tunnel.

use std::{future::poll_fn, net::SocketAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use culvert_policy::Reason;
use futures::future::{Fuse, FusedFuture, FutureExt};
use h2::client::{Builder, Connection, SendRequest};
use http::StatusCode;
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::TlsStream;

use super::{
    super::{
        failure::{Failure, Fault},
        tls::Secured,
    },
    CLIENT_IDLE, CONNECTION_WINDOW, FIRST_STREAMS, FRAME, HEADER_LIST, MAX_STREAMS, SEND_BUFFER,
    STREAM_WINDOW, headers,
    load::{Busy, Load},
    stream::{Stream, failure},
    watched::Watched,
};
use crate::{cluster::PodRef, identity::VerifiedPeer};

/// A live tunnel to a peer that has proven who it is.
pub(in super::super) struct Tunnel {
    requests: SendRequest<Bytes>,
    peer: VerifiedPeer,
    fault: Fault,
    load: Rc<Load>,
    /// Whether the peer has said how many streams it allows.
    settled: watch::Sender<bool>,
}

/// What a tunnel's bytes move by: to be driven for as long as the tunnel lives.
pub(in super::super) struct Driver {
    connection: Fuse<Connection<Watched<TlsStream<TcpStream>>, Bytes>>,
    load: Rc<Load>,
}

impl Tunnel {
    /// Speaks HTTP/2 over a secured connection.
    pub(in super::super) async fn open(secured: Secured) -> Result<(Rc<Self>, Driver), Failure> {
        let fault = Fault::default();
        let peer = secured.peer().clone();
        let handshake = builder().handshake(Watched::new(secured.into_stream(), fault.clone())).await;
        let (requests, connection) = handshake.map_err(|error| failure(&fault, error))?;
        let load = Load::new();
        let driver = Driver { connection: connection.fuse(), load: Rc::clone(&load) };
        Ok((Rc::new(Self { requests, peer, fault, load, settled: watch::Sender::new(false) }), driver))
    }

    /// A place for one more stream, where there is one.
    pub(in super::super) fn lease(self: &Rc<Self>) -> Option<Lease> {
        let free = self.load.streams() < self.limit();
        free.then(|| Lease { busy: self.load.begin(), tunnel: Rc::clone(self) })
    }

    /// Notes that the peer has said how many streams it allows: its first frame does (RFC 9113, section 3.4).
    fn listen(&self) {
        if !*self.settled.borrow() && self.requests.current_max_send_streams() != FIRST_STREAMS {
            self.settle();
        }
    }

    fn settle(&self) {
        self.settled.send_if_modified(|settled| !std::mem::replace(settled, true));
    }

    fn limit(&self) -> usize {
        if *self.settled.borrow() {
            self.requests.current_max_send_streams().min(MAX_STREAMS as usize)
        } else {
            FIRST_STREAMS
        }
    }

    /// Something to wait for, as long as the peer has not said how many streams it allows.
    pub(super) fn settling(&self) -> Option<watch::Receiver<bool>> {
        let receiver = self.settled.subscribe();
        let open = !*receiver.borrow();
        open.then_some(receiver)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(FIRST_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

impl Driver {
    /// Moves the tunnel's bytes until it is over, or was idle for too long.
    pub(in super::super) async fn run(&mut self, tunnel: &Tunnel) {
        let Self { connection, load } = self;
        let connection = poll_fn(|cx| {
            let polled = connection.poll_unpin(cx);
            tunnel.listen();
            polled
        });
        tokio::select! {
            // What broke the connection, the streams learn from it.
            _ = connection => {}
            () = load.idle(CLIENT_IDLE) => {}
        }
    }

    /// Moves the bytes of the streams that are left, and closes the tunnel.
    pub(in super::super) async fn finish(self) {
        if !self.connection.is_terminated() {
            // As above.
            let _ = self.connection.await;
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
        &self.tunnel.peer
    }

    /// Opens a stream to `target` for an application of `pod` at `client`.
    pub(in super::super) async fn connect(
        self,
        target: SocketAddr,
        client: SocketAddr,
        pod: &PodRef,
    ) -> Result<Stream, Unopened> {
        let answer = timeout(ANSWER, self.request(target, client, pod)).await;
        // Nobody is to wait any longer for what the peer may allow.
        self.tunnel.settle();
        let (send, recv) = answer.unwrap_or_else(|_| {
            let late = Failure::new(Reason::Timeout, "the peer's agent did not answer a CONNECT in time");
            Err(Unopened::Failed(late))
        })?;
        Ok(Stream::new(send, recv, self.tunnel.fault.clone(), self.busy))
    }

    async fn request(
        &self,
        target: SocketAddr,
        client: SocketAddr,
        pod: &PodRef,
    ) -> Result<(h2::SendStream<Bytes>, h2::RecvStream), Unopened> {
        let request = headers::request(target, client, pod).map_err(Unopened::Failed)?;
        let ready = self.tunnel.requests.clone().ready().await;
        let mut requests = ready.map_err(|error| self.stale(&error))?;
        let (answer, send) = requests.send_request(request, false).map_err(|error| self.stale(&error))?;
        let answer = answer.await.map_err(|error| self.unanswered(&error))?;
        accepted(answer.status()).map_err(Unopened::Failed)?;
        Ok((send, answer.into_body()))
    }

    fn stale(&self, error: &h2::Error) -> Unopened {
        Unopened::Stale(Rc::clone(&self.tunnel), failure(&self.tunnel.fault, error))
    }

    /// A server that goes away, or refuses a stream as such, has not looked at it (RFC 9113, section 8.7).
    fn unanswered(&self, error: &h2::Error) -> Unopened {
        let untouched =
            error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM));
        if untouched { self.stale(error) } else { Unopened::Failed(failure(&self.tunnel.fault, error)) }
    }
}

/// The server connects to its application first, which it gives up sooner than this.
const ANSWER: Duration = Duration::from_secs(15);

fn accepted(status: StatusCode) -> Result<(), Failure> {
    let reason = match status {
        StatusCode::OK => return Ok(()),
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::PeerDenied,
        StatusCode::SERVICE_UNAVAILABLE => Reason::PeerAppUnreachable,
        _ => Reason::TunnelFailed,
    };
    Err(Failure::new(reason, format_args!("the peer's agent answered {status}")))
}
