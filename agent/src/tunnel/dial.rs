//! Connections that the agent opens, in a pod's network namespace.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use culvert_policy::Reason;
use socket2::{Domain, SockRef, Socket, TcpKeepalive};
use tokio::{net::TcpStream, time::timeout};

use super::{failure::Failure, leg, stock::Stock};
use crate::sys;

/// Connects to a peer of the pod that has `addresses`, from the one of the same family.
pub(super) async fn peer(
    sockets: &Stock,
    addresses: &[IpAddr],
    to: SocketAddr,
) -> Result<TcpStream, Failure> {
    let socket = peer_socket(sockets, addresses, to).map_err(|error| exhausted(&error))?;
    connect(socket, to).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => exhausted(&error),
        _ => Failure::new(Reason::PeerUnreachable, format_args!("connecting to {to}: {error}")),
    })
}

fn peer_socket(sockets: &Stock, addresses: &[IpAddr], to: SocketAddr) -> io::Result<Socket> {
    let socket = sockets.take(Domain::for_address(to))?;
    if let Some(from) = addresses.iter().find(|address| address.is_ipv4() == to.is_ipv4()) {
        // The port is chosen by connect, which can share one among many peers.
        sys::bind_address_no_port(&socket)?;
        socket.bind(&SocketAddr::new(*from, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// A socket of `from`, with a port, that has yet to be connected.
pub(super) fn app_socket(sockets: &Stock, from: IpAddr) -> io::Result<(Socket, SocketAddr)> {
    let wanted = SocketAddr::new(from, 0);
    let socket = sockets.take(Domain::for_address(wanted))?;
    socket.bind(&wanted.into())?;
    socket.set_tcp_nodelay(true)?;
    leg::fit_within_pod(&SockRef::from(&socket))?;
    let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket, bound))
}

/// Finishes the connection of a socket.
pub(super) async fn connect(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    let connected = begin(&socket, to)?;
    let stream = TcpStream::from_std(socket.into())?;
    if connected {
        return Ok(stream);
    }
    timeout(CONNECT, stream.writable()).await??;
    stream.take_error()?.map_or(Ok(stream), Err)
}

/// Whether it is connected already. Within one machine it is by the time that the first call returns, which cannot tell
/// yet; the second one can.
fn begin(socket: &Socket, to: SocketAddr) -> io::Result<bool> {
    for _ in 0..2 {
        match socket.connect(&to.into()) {
            Ok(()) => return Ok(true),
            Err(error) if is_under_way(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn is_under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EALREADY))
}

const CONNECT: Duration = Duration::from_secs(10);

/// What a failure to make a socket means: descriptors, ports or memory are used up.
pub(super) fn exhausted(error: &io::Error) -> Failure {
    Failure::new(Reason::OutOfResources, format_args!("opening a socket in the pod: {error}"))
}

/// Has the kernel notice a peer whose node is gone: after 60 s without a word, be it idle or in the midst of sending.
pub(super) fn watch_peer(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
    socket.set_tcp_user_timeout(Some(Duration::from_mins(1)))
}
