//! Handshakes. What comes out of one carries the proof of who is at the other end.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
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
pub(super) fn poll_last_words(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    error: io::Error,
) -> Poll<io::Error> {
    if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
        return Poll::Ready(error);
    }
    loop {
        let mut room = [0; 64];
        let mut words = ReadBuf::new(&mut room);
        // That such a connection can be read, at least to its end, is certain, but may not have been told yet.
        match ready!(Pin::new(&mut *stream).poll_read(cx, &mut words)) {
            Ok(()) if !words.filled().is_empty() => {}
            Err(told) if tls_fault(&told).is_some() => return Poll::Ready(told),
            _ => return Poll::Ready(error),
        }
    }
}

/// How long a handshake may take, and so hold on to memory.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The other side takes longer.
pub(super) fn late() -> Failure {
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
