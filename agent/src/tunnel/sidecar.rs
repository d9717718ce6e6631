//! Istio sidecar mTLS: the application's bytes straight inside TLS.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

use super::{
    arena::{self, SMALLEST},
    failure::Failure,
    leg::{Broken, Leg},
    tls::{Secured, poll_last_words},
};

/// A connection to a sidecar. It ends with a RST unless it came to its end in both directions.
pub(super) struct Sidecar {
    stream: TlsStream<TcpStream>,
    received_all: bool,
    sent_all: bool,
}

impl Sidecar {
    pub(super) fn new(secured: Secured) -> Self {
        Self { stream: secured.into_stream(), received_all: false, sent_all: false }
    }

    fn poll_sent<T>(&mut self, cx: &mut Context<'_>, sent: io::Result<T>) -> Poll<Result<T, Broken>> {
        Poll::Ready(match sent {
            Ok(sent) => Ok(sent),
            Err(error) => Err(broken(&ready!(poll_last_words(&mut self.stream, cx, error)))),
        })
    }
}

impl Leg for Sidecar {
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
            Err(error) => Poll::Ready(Err(broken(&error))),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<Result<(), Broken>> {
        while !chunk.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, chunk));
            chunk.advance(ready!(self.poll_sent(cx, written))?);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.poll_sent(cx, flushed)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let shut = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        ready!(self.poll_sent(cx, shut))?;
        self.sent_all = true;
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self) {
        self.sent_all = false;
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if !(self.received_all && self.sent_all) {
            // The socket is closed next, in any case.
            let _ = self.stream.get_ref().0.set_zero_linger();
        }
    }
}

fn broken(error: &io::Error) -> Broken {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Broken::Reset,
        _ => Broken::Failed(Failure::in_transit(error)),
    }
}
