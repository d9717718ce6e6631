//! Handshakes. What comes out of one carries the proof of who is at the other end.

use std::{io, sync::Arc, time::Duration};

use culvert_policy::Reason;
use rustls::{ClientConfig, ServerConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::failure::Failure;
use crate::identity::{VerifiedPeer, server_name};

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

/// How long a handshake may take, and so hold on to memory.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The other side takes longer.
pub(super) fn late() -> Failure {
    Failure::new(Reason::Timeout, "the peer did not finish its TLS handshake in time")
}

/// Closes a connection such that the peer can read why: closing it over unread bytes would send a RST, which
/// overtakes the alert.
pub(super) async fn part(mut tcp: TcpStream) {
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
