//! The server's end of a tunnel.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use culvert_policy::Reason;
use h2::{
    RecvStream,
    server::{Builder, Connection, SendResponse},
};
use http::{Request, Response, StatusCode};
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::TlsStream;

use super::{
    super::{
        enrolled::Phase,
        failure::{Failure, Fault},
        tls::Secured,
    },
    CONNECTION_WINDOW, FRAME, HEADER_LIST, MAX_STREAMS, SEND_BUFFER, SERVER_IDLE, STREAM_WINDOW, headers,
    load::{Busy, Load},
    stream::{Stream, failure},
    watched::Watched,
};

/// A request for a stream that nobody has answered yet.
pub(in super::super) struct Asked {
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    fault: Fault,
    busy: Busy,
}

impl Asked {
    /// The address that the client wants to reach.
    pub(in super::super) fn target(&self) -> Result<SocketAddr, Failure> {
        headers::target(&self.request)
    }

    /// The client application's address, on a tunnel that comes from `tunnel`.
    pub(in super::super) fn client(&self, tunnel: SocketAddr) -> SocketAddr {
        headers::client(self.request.headers(), tunnel)
    }

    /// Answers that the stream is connected.
    pub(in super::super) fn accept(mut self) -> Result<Stream, Failure> {
        let send = self.respond.send_response(answer(StatusCode::OK), false);
        let send = send.map_err(|error| failure(&self.fault, error))?;
        Ok(Stream::new(send, self.request.into_body(), self.fault, self.busy))
    }

    /// Answers why it is not.
    pub(in super::super) fn refuse(mut self, reason: Reason) {
        // A client that is gone needs no answer.
        let _ = self.respond.send_response(answer(status(reason)), true);
    }
}

fn answer(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

/// What clients are told: 400 for a request that makes no sense here, 503 for what is not reached, 401 for policy.
const fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::BadRequest | Reason::TargetNotThisPod => StatusCode::BAD_REQUEST,
        Reason::TargetForbidden | Reason::AppUnreachable | Reason::OutOfResources | Reason::Timeout => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::UNAUTHORIZED,
    }
}

/// Serves a tunnel until it is over: each request goes to `asked`.
pub(in super::super) async fn serve(
    secured: Secured,
    mut phase: watch::Receiver<Phase>,
    asked: impl Fn(Asked),
) -> Result<(), Failure> {
    let fault = Fault::default();
    let handshake = builder().handshake(Watched::new(secured.into_stream(), fault.clone()));
    let late = |_| Failure::new(Reason::Timeout, "the peer did not begin HTTP/2 in time");
    let mut connection =
        timeout(PREFACE, handshake).await.map_err(late)?.map_err(|error| failure(&fault, error))?;
    let load = Load::new();
    let mut leaving = false;
    // The handshake may have lasted into another phase.
    phase.mark_changed();
    loop {
        tokio::select! {
            next = connection.accept() => match next {
                Some(Ok((request, respond))) => {
                    asked(Asked { request, respond, fault: fault.clone(), busy: load.begin() });
                }
                Some(Err(error)) => return Err(failure(&fault, error)),
                None => return Ok(()),
            },
            () = load.idle(SERVER_IDLE), if !leaving => {
                connection.graceful_shutdown();
                leaving = true;
            }
            Ok(()) = phase.changed() => follow(&mut connection, *phase.borrow_and_update()),
        }
    }
}

const PREFACE: Duration = Duration::from_secs(10);

fn follow(connection: &mut Connection<Watched<TlsStream<TcpStream>>, Bytes>, phase: Phase) {
    match phase {
        Phase::Serving => {}
        Phase::Draining => connection.graceful_shutdown(),
        Phase::Closing => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}
