//! One side of a relay.

use std::{
    future::pending,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes};
use culvert_abi::UNPACED;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

use super::{
    arena::{self, LARGEST, SMALLEST},
    busy_poll,
    failure::Failure,
    time_wait::TimeWait,
};

/// One side of a relay: bytes in, bytes out, each direction ending on its own.
pub(super) trait Leg {
    /// The next bytes of the other side; none at their end.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>>;
    /// That many received bytes have gone on: the other side may send as many again.
    fn consumed(&mut self, _bytes: usize) {}
    /// Takes from the front of `chunk` until it is empty.
    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<Result<(), Broken>>;
    /// Pushes on what was taken, where that is not done by itself.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }
    /// Tells the other side that nothing more comes.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
    /// Ready when the other side has broken off, as far as that can be told without receiving.
    fn poll_broken(&mut self, _cx: &mut Context<'_>) -> Poll<Broken> {
        Poll::Pending
    }
    /// Breaks off in both directions.
    fn reset(&mut self);
}

/// Fits a socket, or those that a listener will accept, to the way between an application and the agent. No way has to
/// be filled there, so the queue is short: what was written lately is still in the cache. And there is no network that
/// is to be spared: what the node uses for congestion control may pace, as BBR does.
pub(super) fn fit_within_pod(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_congestion(UNPACED)?;
    socket.set_recv_buffer_size(QUEUE)
}

/// In bytes; the kernel doubles it (socket(7), `SO_RCVBUF`).
const QUEUE: usize = 128 * 1024;

/// Why a leg carries no more.
#[derive(Clone, Debug)]
pub(super) enum Broken {
    /// The other side broke off, as applications may.
    Reset,
    /// The other side has sent all it had, and takes no more.
    Deaf,
    /// Something in between failed.
    Failed(Failure),
}

/// A TCP connection. It ends with a RST unless it came to its end in both directions.
#[derive(Debug)]
pub(super) struct Tcp {
    stream: Rc<TcpStream>,
    /// Counts those of the pod's ports that an end keeps; none where the other side is not in the pod.
    ports: Option<Rc<TimeWait>>,
    size: u32,
    begun_by: Begun,
    received_all: bool,
    sent_all: bool,
}

/// Who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    ByAgent,
    ByApplication,
}

impl Tcp {
    /// From here on its end is a RST, be it that the agent itself is killed: an end that nobody meant must not look
    /// like the end of what was to come.
    pub(super) fn new(stream: TcpStream) -> Self {
        // Fails only on a socket that is broken, which its first use shows as well.
        let _ = stream.set_zero_linger();
        Self {
            stream: Rc::new(stream),
            ports: None,
            size: short(SMALLEST),
            begun_by: Begun::ByAgent,
            received_all: false,
            sent_all: false,
        }
    }

    /// The same within a pod.
    pub(super) fn within(stream: TcpStream, begun_by: Begun, ports: &Rc<TimeWait>) -> Self {
        let mut within = Self::new(stream);
        (within.begun_by, within.ports) = (begun_by, Some(Rc::clone(ports)));
        within
    }

    /// The socket below, for those who read and write it themselves.
    pub(super) fn socket(&self) -> Rc<TcpStream> {
        Rc::clone(&self.stream)
    }

    /// Nothing more comes from the other side.
    pub(super) const fn received_all(&mut self) {
        self.received_all = true;
    }

    /// Tells the other side that nothing more comes.
    pub(super) fn finish(&mut self) -> Result<(), Broken> {
        self.sent_all = true;
        self.count();
        SockRef::from(&*self.stream).shutdown(std::net::Shutdown::Write).map_err(reset)
    }

    /// Who ends first has `TIME_WAIT`; where that is who has connected, it keeps a port from being used.
    fn count(&self) {
        let ended_by = if self.received_all { Begun::ByApplication } else { Begun::ByAgent };
        if let Some(ports) = self.ports.as_ref().filter(|_| ended_by == self.begun_by) {
            ports.kept();
        }
    }

    /// Has it end with a FIN although the other side may send more, which then meets a RST: as a socket is closed.
    pub(super) const fn leave(&mut self) {
        self.received_all();
    }

    fn read(&mut self) -> io::Result<Bytes> {
        let (stream, size) = (&self.stream, self.size as usize);
        let (result, chunk) = arena::fill(size, |buffer| stream.try_read_buf(&mut buffer.limit(size)));
        busy_poll::heard(result?);
        self.size = short(next_size(size, chunk.len()));
        Ok(chunk)
    }
}

/// A size of at most `LARGEST`, kept with each idle connection.
fn short(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// A flow that fills its reads gets larger ones; one that does not gives the room back.
fn next_size(size: usize, read: usize) -> usize {
    match read {
        _ if read == size => (size * 2).min(LARGEST),
        _ if read < size / 4 => (size / 2).max(SMALLEST),
        _ => size,
    }
}

impl Leg for Tcp {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            ready!(self.stream.poll_read_ready(cx)).map_err(reset)?;
            match self.read() {
                Ok(chunk) if chunk.is_empty() => {
                    self.received_all = true;
                    return Poll::Ready(Ok(None));
                }
                Ok(chunk) => return Poll::Ready(Ok(Some(chunk))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(reset(error))),
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: &mut Bytes) -> Poll<Result<(), Broken>> {
        while !chunk.is_empty() {
            ready!(self.stream.poll_write_ready(cx)).map_err(reset)?;
            match self.stream.try_write(chunk) {
                Ok(written) => chunk.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(reset(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(self.finish())
    }

    fn reset(&mut self) {
        self.sent_all = false;
    }
}

/// Looks out for the end of a connection of which nothing is read. It takes room only once it is needed.
#[derive(Default)]
pub(super) struct Lookout(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl Lookout {
    /// Ready once the other side has broken off, whether or not there is something to be read before.
    pub(super) fn poll(&mut self, tcp: &Tcp, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_or_insert_with(|| Box::pin(broken(tcp.socket()))).as_mut().poll(cx)
    }
}

async fn broken(stream: Rc<TcpStream>) {
    if stream.ready(Interest::ERROR).await.is_err() {
        pending::<()>().await;
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if self.received_all && self.sent_all {
            // The socket is closed next, in any case.
            let _ = SockRef::from(&*self.stream).set_linger(None);
        }
    }
}

fn reset(_error: io::Error) -> Broken {
    Broken::Reset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_size_follows_the_flow() {
        assert_eq!(next_size(SMALLEST, SMALLEST), 2 * SMALLEST);
        assert_eq!(next_size(LARGEST, LARGEST), LARGEST);
        assert_eq!(next_size(LARGEST, 1), LARGEST / 2);
        assert_eq!(next_size(SMALLEST, 1), SMALLEST);
        assert_eq!(next_size(LARGEST, LARGEST / 2), LARGEST);
    }
}
