//! The sockets that the agent listens on inside a pod.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use culvert_abi::HBONE_PORT;
use socket2::Domain;

use crate::{
    netns::Netns,
    tunnel::{self, Clients},
};

/// A listener could not be opened inside the pod.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something in the pod holds the HBONE port.
    #[error(
        "port {HBONE_PORT} is taken inside the pod at {address}; the application must leave it to the agent"
    )]
    HbonePortTaken {
        /// The pod's address.
        address: IpAddr,
    },
    /// The address of the pod's status is not on an interface of its namespace.
    #[error("the pod's address {address} is not configured inside its network namespace yet")]
    NoAddress {
        /// The pod's address.
        address: IpAddr,
    },
    /// Another failure.
    #[error("cannot listen on {address} inside the pod")]
    Listen {
        /// The address and port.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A pod's listeners: of each of its addresses, one for its own connections, one for HBONE and one for sidecars.
#[derive(Debug)]
pub struct Listeners {
    /// Where the kernel sends what the pod's applications connect. The kernel chose the ports.
    pub outbound: Vec<TcpListener>,
    /// Where peers' agents connect, on port 15008.
    pub inbound: Vec<TcpListener>,
    /// Where the kernel steers what sidecars send to the pod's applications. The kernel chose the ports.
    pub steered: Vec<TcpListener>,
}

impl Listeners {
    /// Opens them.
    pub fn open(netns: &Netns, addresses: &[IpAddr]) -> Result<Self, ListenError> {
        let open = |port, clients| -> Result<Vec<TcpListener>, ListenError> {
            addresses.iter().map(|&address| listen(netns, SocketAddr::new(address, port), clients)).collect()
        };
        Ok(Self {
            inbound: open(HBONE_PORT, Clients::Peers).map_err(port_taken)?,
            outbound: open(0, Clients::Applications)?,
            steered: open(0, Clients::Peers)?,
        })
    }

    /// Where the kernel has to send the pod's connections.
    pub fn outbound_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        addresses(&self.outbound)
    }

    /// Where it has to send what sidecars send to the pod.
    pub fn steered_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        addresses(&self.steered)
    }
}

fn addresses(listeners: &[TcpListener]) -> io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
}

fn listen(netns: &Netns, address: SocketAddr, clients: Clients) -> Result<TcpListener, ListenError> {
    try_listen(netns, address, clients).map_err(|source| match source.kind() {
        io::ErrorKind::AddrNotAvailable => ListenError::NoAddress { address: address.ip() },
        _ => ListenError::Listen { address, source },
    })
}

fn try_listen(netns: &Netns, address: SocketAddr, clients: Clients) -> io::Result<TcpListener> {
    let socket = netns.tcp_socket(Domain::for_address(address))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // An agent that takes over finds connections of the one before it in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    tunnel::listen(socket, clients)
}

fn port_taken(error: ListenError) -> ListenError {
    match error {
        ListenError::Listen { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
            ListenError::HbonePortTaken { address: address.ip() }
        }
        other => other,
    }
}
