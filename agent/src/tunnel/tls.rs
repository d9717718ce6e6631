//! Handshakes. What comes out of one carries the proof of who is at the other end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use culvert_policy::Reason;
use rustls::{ClientConfig, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::failure::Failure;
use crate::identity::{VerifiedPeer, server_name, tls_fault};

/// A TLS connection to a peer that has proven who it is.
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    peer: VerifiedPeer,
}

impl Secured {
    /// The client's side of a handshake.
    pub(super) async fn connect(config: Arc<ClientConfig>, tcp: TcpStream) -> Result<Self, Failure> {
        let handshake = TlsConnector::from(config).connect(server_name(), tcp);
        let stream = timeout(HANDSHAKE, handshake)
            .await
            .map_err(|_| late())?
            .map_err(|error| Failure::in_handshake(&error))?;
        let peer = VerifiedPeer::of_server(stream.get_ref().1)?;
        Ok(Self { stream: stream.into(), peer })
    }

    /// The server's side of a handshake.
    pub(super) async fn accept(
        config: Arc<ServerConfig>,
        tcp: TcpStream,
        within: Duration,
    ) -> Result<Self, Failure> {
        let handshake = TlsAcceptor::from(config).accept(tcp).into_fallible();
        let stream = match timeout(within, handshake).await.map_err(|_| late())? {
            Ok(stream) => stream,
            Err((error, tcp)) => {
                part(tcp).await;
                return Err(Failure::in_handshake(&error));
            }
        };
        let peer = VerifiedPeer::of_client(stream.get_ref().1)?;
        Ok(Self { stream: stream.into(), peer })
    }

    pub(super) const fn peer(&self) -> &VerifiedPeer {
        &self.peer
    }

    pub(super) fn into_stream(self) -> TlsStream<TcpStream> {
        self.stream
    }
}

/// Why writing failed: the alert with which the peer broke off may lie there unread, and tells more.
pub(super) fn last_words(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    error: io::Error,
) -> io::Error {
    let mut room = [0; 64];
    match Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut room)) {
        Poll::Ready(Err(told)) if tls_fault(&told).is_some() => told,
        _ => error,
    }
}

/// How long a handshake may take, and so hold on to memory.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

fn late() -> Failure {
    Failure::new(Reason::Timeout, "the peer did not finish its TLS handshake in time")
}

/// Closes a connection such that the peer can read why: closing it over unread bytes would send a RST, which
/// overtakes the alert.
async fn part(mut tcp: TcpStream) {
    let drain = async {
        tcp.shutdown().await?;
        let mut left = [0; 1024];
        for _ in 0..PARTING_READS {
            if tcp.read(&mut left).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // A peer that stays is left.
    let _ = timeout(PARTING, Box::pin(drain)).await;
}

const PARTING: Duration = Duration::from_secs(1);
const PARTING_READS: usize = 64;
