//! The TCP sockets of a network namespace: listed, and closed (`sock_diag(7)`).

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd as _},
};

use culvert_abi::FlowKind;

use crate::{
    netlink::{Attributes, Netlink, attribute, truncated, u32_at, value_of},
    netns::Netns,
};

/// A door to the kernel's sockets of one namespace.
pub(crate) struct Diag(Netlink);

/// A TCP socket.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: State,
    /// What the kernel's programs remember of it; none where it is older than they are.
    pub(crate) flow: Option<Flow>,
    family: u8,
    /// `struct inet_diag_sockid`, by which the kernel knows it.
    id: [u8; ID],
}

/// As far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It accepts.
    Listening,
    /// The handshake is not over, and the application has yet to hear of it.
    Request,
    /// A connection.
    Open,
    /// It has ended, and waits for packets that may still come (`TIME_WAIT`).
    Ended,
}

/// Whose it is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// An application's, which was called from outside in plaintext.
    PlaintextInbound,
    /// Anything else.
    Other,
}

impl Socket {
    #[cfg(test)]
    pub(crate) const fn new(local: SocketAddr, remote: SocketAddr, state: State, flow: Option<Flow>) -> Self {
        Self { local, remote, state, flow, family: 0, id: [0; ID] }
    }

    /// Whether its handshake is not over.
    pub(crate) fn is_request(&self) -> bool {
        self.state == State::Request
    }
}

impl Diag {
    /// Of a namespace.
    pub(crate) fn open(netns: &Netns) -> io::Result<Self> {
        Ok(Self(netns.netlink(libc::NETLINK_SOCK_DIAG)?))
    }

    /// All sockets but those that have ended. `flows` is the kernel's map of flows.
    pub(crate) fn sockets(&self, flows: &impl AsFd) -> io::Result<Vec<Socket>> {
        let flows = u32::try_from(flows.as_fd().as_raw_fd()).map_err(io::Error::other)?;
        let storages = attribute(REQUEST_STORAGES, &attribute(REQUEST_MAP, &flows.to_ne_bytes()));
        let mut all = Vec::new();
        for family in FAMILIES {
            all.extend(self.list(family, !(1 << TIME_WAIT | 1 << CLOSE), &storages)?);
        }
        Ok(all)
    }

    /// Those that have ended and are not gone.
    pub(crate) fn ended(&self) -> io::Result<Vec<Socket>> {
        let mut all = Vec::new();
        for family in FAMILIES {
            all.extend(self.list(family, 1 << TIME_WAIT, &[])?);
        }
        Ok(all)
    }

    fn list(&self, family: u8, states: u32, attributes: &[u8]) -> io::Result<Vec<Socket>> {
        let request = [request(family, states, &[0; ID]), attributes.to_vec()].concat();
        let mut all = Vec::new();
        self.0.list(BY_FAMILY, &request, |_, body| {
            all.extend(socket(body)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Closes a connection as if it had been reset, and has what has ended gone; false if it is gone already, or has ended
    /// and the kernel is older than Linux 6.0.
    pub(crate) fn destroy(&self, socket: &Socket) -> io::Result<bool> {
        match self.0.act(DESTROY, &request(socket.family, 0, &socket.id)) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the kernel closes connections at all, which it tells of one that does not exist.
    pub(crate) fn can_destroy(&self) -> io::Result<bool> {
        match self.0.act(DESTROY, &request(FAMILIES[0], 0, &[0; ID])) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(true),
        }
    }
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, states: u32, id: &[u8; ID]) -> Vec<u8> {
    let mut body = vec![family, IPPROTO_TCP, 0, 0];
    body.extend(states.to_ne_bytes());
    body.extend(id);
    body
}

/// `struct inet_diag_msg` and its attributes.
fn socket(body: &[u8]) -> io::Result<Option<Socket>> {
    let (fixed, attributes) = body.split_at_checked(FIXED).ok_or_else(truncated)?;
    let Some(state) = state(fixed[1]) else { return Ok(None) };
    let id: [u8; ID] = fixed[4..4 + ID].try_into().map_err(|_| truncated())?;
    let (local, remote) = (ip(fixed[0], &id[4..20]), ip(fixed[0], &id[20..36]));
    let port = |at: usize| u16::from_be_bytes([id[at], id[at + 1]]);
    Ok(Some(Socket {
        local: SocketAddr::new(local, port(0)),
        remote: SocketAddr::new(remote, port(2)),
        state,
        flow: value_of(attributes, STORAGES).and_then(flow_of),
        family: fixed[0],
        id,
    }))
}

const fn state(number: u8) -> Option<State> {
    match number {
        LISTEN => Some(State::Listening),
        SYN_RECV | NEW_SYN_RECV => Some(State::Request),
        TIME_WAIT => Some(State::Ended),
        CLOSE => None,
        _ => Some(State::Open),
    }
}

/// The storages of a socket: only that of the flows' map was asked for.
fn flow_of(storages: &[u8]) -> Option<Flow> {
    let value = Attributes(storages).find_map(|(_, storage)| value_of(storage, STORAGE_VALUE))?;
    let kind = u32_at(value, KIND_OF_FLOW).ok()?;
    match kind {
        0 => None,
        kind if kind == FlowKind::PlaintextInbound as u32 => Some(Flow::PlaintextInbound),
        _ => Some(Flow::Other),
    }
}

/// Where `kind` is in the kernel's `Flow`.
const KIND_OF_FLOW: usize = std::mem::offset_of!(culvert_abi::Flow, kind);

/// Four words, of which IPv4 uses the first.
fn ip(family: u8, words: &[u8]) -> IpAddr {
    let octets: [u8; 16] = words.try_into().expect("four words");
    if family == FAMILIES[0] {
        let [a, b, c, d, ..] = octets;
        return Ipv4Addr::new(a, b, c, d).into();
    }
    Ipv6Addr::from(octets).to_canonical()
}

/// The sizes of `struct inet_diag_sockid` and `struct inet_diag_msg`, and numbers, of `linux/inet_diag.h`.
const ID: usize = 48;
const FIXED: usize = 72;
const REQUEST_STORAGES: u16 = 2;
const STORAGES: u16 = 20;

/// `SOCK_DIAG_BY_FAMILY` and the like, `linux/sock_diag.h`.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const REQUEST_MAP: u16 = 1;
const STORAGE_VALUE: u16 = 3;

/// `AF_INET` and `AF_INET6`, `linux/socket.h`.
const FAMILIES: [u8; 2] = [2, 10];
const IPPROTO_TCP: u8 = 6;

/// `include/net/tcp_states.h`.
const SYN_RECV: u8 = 3;
const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
const NEW_SYN_RECV: u8 = 12;

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::Read as _,
        net::{TcpListener, TcpStream},
    };

    use socket2::{Domain, Type};

    use super::*;

    /// A descriptor that is no map of flows.
    fn no_map() -> File {
        File::open("/dev/null").expect("it is there")
    }

    fn diag() -> Diag {
        Diag::open(&Netns::current().expect("a namespace")).expect("the kernel has sock_diag")
    }

    #[test]
    fn a_connection_is_found_and_closed_and_no_other() {
        for (address, family) in ["127.0.0.1:0", "[::1]:0"].into_iter().zip(FAMILIES) {
            let listener = TcpListener::bind(address).expect("a port is free");
            let at = listener.local_addr().expect("it has one");
            let connect = || {
                let client = TcpStream::connect(at).expect("it listens");
                (client, listener.accept().expect("it is there").0)
            };
            let ((mut closed, _kept), (mut other, mut server)) = (connect(), connect());
            let diag = diag();
            let all = diag.list(family, u32::MAX, &[]).expect("it answers");
            let is_listener = |it: &&Socket| it.local == at && it.state == State::Listening;
            assert_eq!(all.iter().filter(is_listener).count(), 1);
            let remote = closed.local_addr().expect("it has one");
            let found: Vec<_> = all.iter().filter(|it| it.local == at && it.remote == remote).collect();
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(diag.destroy(found[0]).expect("it can be closed"));
            assert!(!diag.destroy(found[0]).expect("it is no error"), "it is gone");
            let error = closed.read(&mut [0]).expect_err("a reset");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            io::Write::write_all(&mut other, b"x").expect("it is open");
            server.read_exact(&mut [0]).expect("it is open");
        }
    }

    #[test]
    fn what_has_ended_is_found_and_gone() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("a port is free");
            let at = listener.local_addr().expect("it has one");
            let client = TcpStream::connect(at).expect("it listens");
            let from = client.local_addr().expect("it has one");
            let (mut server, _) = listener.accept().expect("it is there");
            drop(client);
            assert_eq!(server.read(&mut [0]).expect("an end"), 0);
            drop(server);
            let diag = diag();
            let ended = || {
                let all = diag.ended().expect("it answers");
                all.into_iter().find(|it| it.local == from && it.remote == at)
            };
            let found = ended().expect("it is listed");
            assert_eq!(found.state, State::Ended);
            assert!(diag.destroy(&found).expect("it can be ended"));
            assert!(ended().is_none());
            assert!(!diag.destroy(&found).expect("it is no error"), "it is gone");

            let again =
                socket2::Socket::new(Domain::for_address(from), Type::STREAM, None).expect("a socket");
            again.bind(&from.into()).expect("the port is free");
            again.connect(&at.into()).expect("it listens");
            assert!(!diag.destroy(&found).expect("it is no error"), "that is another one");
            let (mut server, _) = listener.accept().expect("it is there");
            io::Write::write_all(&mut TcpStream::from(again), b"x").expect("it is open");
            server.read_exact(&mut [0]).expect("it is open");
        }
    }

    #[test]
    fn this_kernel_closes_connections() {
        assert!(diag().can_destroy().expect("it answers"));
    }

    #[test]
    fn what_is_no_map_of_flows_is_refused() {
        assert!(diag().sockets(&no_map()).is_err());
    }

    #[test]
    fn a_socket_that_is_cut_short_is_an_error() {
        for length in 0..FIXED {
            assert!(socket(&[1; FIXED][..length]).is_err(), "{length}");
        }
    }
}
