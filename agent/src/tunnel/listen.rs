//! Where connections come to that are to be carried.

use std::{io, net::TcpListener};

use socket2::{SockRef, Socket};

use super::leg;

/// Who connects to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Applications of the pod, redirected by the kernel.
    Applications,
    /// Peers: other agents, or sidecars.
    Peers,
}

/// The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Has a socket listen that is bound. What it accepts inherits its options. So they are set before anyone can connect:
/// peers do as soon as they can, and a tunnel that comes before a worker serves the listener would be without them for
/// all its life, with each small message kept back until what came before it is acknowledged (RFC 896), 40 ms and more.
pub fn listen(socket: Socket, clients: Clients) -> io::Result<TcpListener> {
    socket.set_tcp_nodelay(true)?;
    if clients == Clients::Applications {
        leg::fit_within_pod(&SockRef::from(&socket))?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use culvert_abi::UNPACED;
    use socket2::{Domain, Type};

    use super::*;

    fn accepted(clients: Clients) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let listener = listen(socket, clients).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap().0.into()
    }

    #[test]
    fn what_comes_before_anyone_serves_the_listener_is_set_up_as_well() {
        for clients in [Clients::Peers, Clients::Applications] {
            assert!(accepted(clients).tcp_nodelay().unwrap());
        }
        let congestion = accepted(Clients::Applications).tcp_congestion().unwrap();
        assert!(congestion.starts_with(UNPACED), "{congestion:?}");
    }
}
