//! The application's bytes straight inside TLS: Istio sidecar mTLS, and TLS by a rule.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes};
use rustix::net::{RecvFlags, recv};
use rustls::{ConnectionCommon, SideData};
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use super::{
    arena::{self, SMALLEST},
    failure::Failure,
    leg::{Broken, Leg},
    tls::Secured,
};

/// A connection under TLS. It ends with a RST unless it came to its end in both directions.
pub(super) struct Encrypted {
    stream: TlsStream<TcpStream>,
    customs: Customs,
    received_all: bool,
    sent_all: bool,
}

/// What is usual at the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Customs {
    /// What an error means after the handshake.
    pub(super) in_transit: fn(&io::Error) -> Failure,
    /// Whether a FIN is the end, also without a `close_notify` before it.
    pub(super) ends_by_fin: bool,
}

impl Encrypted {
    pub(super) const fn new(stream: TlsStream<TcpStream>, customs: Customs) -> Self {
        Self { stream, customs, received_all: false, sent_all: false }
    }

    fn is_end(&self, error: &io::Error) -> bool {
        self.customs.ends_by_fin && error.kind() == io::ErrorKind::UnexpectedEof
    }

    fn broken(&self, error: &io::Error) -> Broken {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Broken::Reset,
            _ => Broken::Failed((self.customs.in_transit)(error)),
        }
    }

    /// Why sending failed: an alert that came before the RST says more than the RST does.
    fn broken_off(&mut self, error: &io::Error) -> Broken {
        let said = match &mut self.stream {
            TlsStream::Client(stream) => {
                let (tcp, session) = stream.get_mut();
                last_words(tcp, session)
            }
            TlsStream::Server(stream) => {
                let (tcp, session) = stream.get_mut();
                last_words(tcp, session)
            }
        };
        self.broken(said.as_ref().unwrap_or(error))
    }
}

/// To a workload of the mesh.
impl From<Secured> for Encrypted {
    fn from(secured: Secured) -> Self {
        Self::new(secured.into_stream(), Customs { in_transit: Failure::in_transit, ends_by_fin: false })
    }
}

impl Leg for Encrypted {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let stream = &mut self.stream;
        let (result, chunk) =
            arena::fill(SMALLEST, |buffer| pin!(stream.read_buf(&mut buffer.limit(SMALLEST))).poll(cx));
        match ready!(result) {
            Ok(0) => {
                self.received_all = true;
                Poll::Ready(Ok(None))
            }
            Ok(_) => Poll::Ready(Ok(Some(chunk))),
            Err(error) if self.is_end(&error) => {
                self.received_all = true;
                Poll::Ready(Ok(None))
            }
            Err(error) => Poll::Ready(Err(self.broken(&error))),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<Result<(), Broken>> {
        while !chunk.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, chunk));
            chunk.advance(written.map_err(|error| self.broken_off(&error))?);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.broken_off(&error)))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let shut = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        shut.map_err(|error| self.broken_off(&error))?;
        self.sent_all = true;
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self) {
        self.sent_all = false;
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        if !(self.received_all && self.sent_all) {
            // The socket is closed next, in any case.
            let _ = self.stream.get_ref().0.set_zero_linger();
        }
    }
}

/// The error in what has arrived, asked of the socket itself: the runtime may not have heard of it yet.
fn last_words<S: SideData>(tcp: &TcpStream, session: &mut ConnectionCommon<S>) -> Option<io::Error> {
    let mut arrived = Arrived(tcp);
    while session.read_tls(&mut arrived).is_ok_and(|read| read > 0) {
        if let Err(error) = session.process_new_packets() {
            return Some(io::Error::new(io::ErrorKind::InvalidData, error));
        }
    }
    None
}

struct Arrived<'a>(&'a TcpStream);

impl io::Read for Arrived<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0, buffer, RecvFlags::DONTWAIT)?.0)
    }
}
