//! The TCP sockets of a network namespace: listed, and closed (sock_diag(7)).

use std::{
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd as _},
    time::Duration,
};

use culvert_abi::FlowKind;
use socket2::Socket as Netlink;

use crate::netns::Netns;

/// The kernel answers at once; this only bounds a defect.
const PATIENCE: Duration = Duration::from_secs(5);
/// As much as the kernel puts into one datagram of a dump (`SKB_MAX_ALLOC`, with room).
const DATAGRAM: usize = 64 * 1024;

/// A door to the kernel's sockets of one namespace.
pub(super) struct Diag(Netlink);

/// A TCP socket.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) state: State,
    /// What the kernel's programs remember of it; none where it is older than they are.
    pub(super) flow: Option<Flow>,
    family: u8,
    /// `struct inet_diag_sockid`, by which the kernel knows it.
    id: [u8; ID],
}

/// As far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It accepts.
    Listening,
    /// The handshake is not over, and the application has yet to hear of it.
    Request,
    /// A connection.
    Open,
}

/// Whose it is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// An application's, which was called from outside in plaintext.
    PlaintextInbound,
    /// Anything else.
    Other,
}

impl Socket {
    #[cfg(test)]
    pub(super) const fn new(local: SocketAddr, remote: SocketAddr, state: State, flow: Option<Flow>) -> Self {
        Self { local, remote, state, flow, family: 0, id: [0; ID] }
    }

    /// Whether its handshake is not over.
    pub(super) fn is_request(&self) -> bool {
        self.state == State::Request
    }
}

impl Diag {
    /// Of a namespace.
    pub(super) fn open(netns: &Netns) -> io::Result<Self> {
        let socket = netns.diag_socket()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// All sockets but those that only wait for the last packets to die out. `flows` is the kernel's map of flows.
    pub(super) fn sockets(&self, flows: &impl AsFd) -> io::Result<Vec<Socket>> {
        let mut all = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let family = u8::try_from(family).map_err(io::Error::other)?;
            self.send(&dump_request(family, flows)?)?;
            self.receive(|kind, body| {
                if kind == BY_FAMILY {
                    all.extend(socket(body)?);
                }
                Ok(())
            })?;
        }
        Ok(all)
    }

    /// Closes a connection as if it had been reset; false if it has ended by itself.
    pub(super) fn destroy(&self, socket: &Socket) -> io::Result<bool> {
        match self.try_destroy(socket.family, &socket.id) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the kernel closes connections at all, which it tells of one that does not exist.
    pub(super) fn can_destroy(&self) -> io::Result<bool> {
        let family = u8::try_from(libc::AF_INET).map_err(io::Error::other)?;
        match self.try_destroy(family, &[0; ID]).map_err(|error| error.raw_os_error()) {
            Err(Some(libc::EOPNOTSUPP)) => Ok(false),
            Err(Some(libc::ENOENT)) | Ok(()) => Ok(true),
            Err(Some(error)) => Err(io::Error::from_raw_os_error(error)),
            Err(None) => Err(truncated()),
        }
    }

    fn try_destroy(&self, family: u8, id: &[u8; ID]) -> io::Result<()> {
        self.send(&message(DESTROY, FLAG_REQUEST | FLAG_ACK, &request(family, 0, id)))?;
        self.receive(|_, _| Ok(()))
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.0.send(message).map(drop)
    }

    /// Hands on the messages of an answer, to its end.
    fn receive(&self, mut each: impl FnMut(u16, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut datagram = vec![0; DATAGRAM];
        loop {
            let length = (&self.0).read(&mut datagram)?;
            if read_messages(&datagram[..length], &mut each)? {
                return Ok(());
            }
        }
    }
}

/// Reads the messages of a datagram; true after the last one of the answer.
fn read_messages(mut rest: &[u8], each: &mut impl FnMut(u16, &[u8]) -> io::Result<()>) -> io::Result<bool> {
    while !rest.is_empty() {
        let length = usize::try_from(u32_at(rest, 0)?).map_err(io::Error::other)?;
        let body = rest.get(HEADER..length).ok_or_else(truncated)?;
        match u16_at(rest, 4)? {
            DONE => return Ok(true),
            ERROR => return acknowledged(body).map(|()| true),
            kind => each(kind, body)?,
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `struct nlmsgerr` begins with a negative error number; 0 is success.
fn acknowledged(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0)?.cast_signed() {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
    }
}

fn dump_request(family: u8, flows: &impl AsFd) -> io::Result<Vec<u8>> {
    let flows = u32::try_from(flows.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    let mut body = request(family, STATES, &[0; ID]);
    body.extend(attribute(REQUEST_STORAGES, &attribute(REQUEST_MAP, &flows.to_ne_bytes())));
    Ok(message(BY_FAMILY, FLAG_REQUEST | FLAG_DUMP, &body))
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, states: u32, id: &[u8; ID]) -> Vec<u8> {
    let mut body = vec![family, IPPROTO_TCP, 0, 0];
    body.extend(states.to_ne_bytes());
    body.extend(id);
    body
}

/// `struct nlmsghdr` and what follows it.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("some bytes");
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.resize(HEADER, 0);
    message.extend(body);
    message
}

/// `struct nlattr` and its value, which is a whole number of words.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE + value.len()).expect("some bytes");
    let mut attribute = length.to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute
}

/// `struct inet_diag_msg` and its attributes.
fn socket(body: &[u8]) -> io::Result<Option<Socket>> {
    let (fixed, attributes) = body.split_at_checked(FIXED).ok_or_else(truncated)?;
    let Some(state) = state(fixed[1]) else { return Ok(None) };
    let id: [u8; ID] = fixed[4..4 + ID].try_into().map_err(|_| truncated())?;
    let mut flow = None;
    for (kind, value) in Attributes(attributes) {
        if kind == STORAGES {
            flow = flow_of(value);
        }
    }
    let (local, remote) = (ip(fixed[0], &id[4..20]), ip(fixed[0], &id[20..36]));
    let port = |at: usize| u16::from_be_bytes([id[at], id[at + 1]]);
    Ok(Some(Socket {
        local: SocketAddr::new(local, port(0)),
        remote: SocketAddr::new(remote, port(2)),
        state,
        flow,
        family: fixed[0],
        id,
    }))
}

/// `TCP_LISTEN` and the like, include/net/tcp_states.h. A socket that waits for its last packets is none of ours.
const fn state(number: u8) -> Option<State> {
    match number {
        LISTEN => Some(State::Listening),
        SYN_RECV | NEW_SYN_RECV => Some(State::Request),
        CLOSE | TIME_WAIT => None,
        _ => Some(State::Open),
    }
}

/// The storages of a socket: only that of the flows' map was asked for.
fn flow_of(storages: &[u8]) -> Option<Flow> {
    let mut values = Attributes(storages).flat_map(|(_, storage)| Attributes(storage));
    let (_, value) = values.find(|(kind, _)| *kind == STORAGE_VALUE)?;
    let kind = u32_at(value, KIND_OF_FLOW).ok()?;
    match kind {
        0 => None,
        kind if kind == FlowKind::PlaintextInbound as u32 => Some(Flow::PlaintextInbound),
        _ => Some(Flow::Other),
    }
}

/// Where `kind` is in the kernel's `Flow`.
const KIND_OF_FLOW: usize = std::mem::offset_of!(culvert_abi::Flow, kind);

/// Attributes, as far as they are whole.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0).ok()?);
        let kind = u16_at(self.0, 2).ok()? & TYPE_MASK;
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Four words, of which IPv4 uses the first.
fn ip(family: u8, words: &[u8]) -> IpAddr {
    let octets: [u8; 16] = words.try_into().expect("four words");
    if i32::from(family) == libc::AF_INET {
        let [a, b, c, d, ..] = octets;
        return Ipv4Addr::new(a, b, c, d).into();
    }
    Ipv6Addr::from(octets).to_canonical()
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    bytes.get(at..at + 2).and_then(|it| it.try_into().ok()).map(u16::from_ne_bytes).ok_or_else(truncated)
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    bytes.get(at..at + 4).and_then(|it| it.try_into().ok()).map(u32::from_ne_bytes).ok_or_else(truncated)
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's list of sockets is cut short")
}

/// Sizes of `struct nlmsghdr`, `nlattr`, `inet_diag_sockid` and `inet_diag_msg` (linux/netlink.h, inet_diag.h).
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
const ID: usize = 48;
const FIXED: usize = 72;

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY`, linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const FLAG_DUMP: u16 = 0x300;
const TYPE_MASK: u16 = 0x3fff;

/// `INET_DIAG_REQ_SK_BPF_STORAGES` and `INET_DIAG_SK_BPF_STORAGES`, linux/inet_diag.h.
const REQUEST_STORAGES: u16 = 2;
const STORAGES: u16 = 20;
/// `SK_DIAG_BPF_STORAGE_REQ_MAP_FD` and `SK_DIAG_BPF_STORAGE_MAP_VALUE`, linux/sock_diag.h.
const REQUEST_MAP: u16 = 1;
const STORAGE_VALUE: u16 = 3;

const IPPROTO_TCP: u8 = 6;
/// include/net/tcp_states.h.
const SYN_RECV: u8 = 3;
const TIME_WAIT: u8 = 6;
const CLOSE: u8 = 7;
const LISTEN: u8 = 10;
const NEW_SYN_RECV: u8 = 12;
const STATES: u32 = !(1 << TIME_WAIT | 1 << CLOSE);

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    /// A descriptor that is no map of flows.
    fn no_map() -> File {
        File::open("/dev/null").expect("it is there")
    }

    fn diag() -> Diag {
        Diag::open(&Netns::current().expect("a namespace")).expect("the kernel has sock_diag")
    }

    /// A list that asks for no storages.
    fn sockets(diag: &Diag, family: i32) -> Vec<Socket> {
        let mut all = Vec::new();
        let body = request(u8::try_from(family).expect("small"), STATES, &[0; ID]);
        diag.send(&message(BY_FAMILY, FLAG_REQUEST | FLAG_DUMP, &body)).expect("sent");
        let list = diag.receive(|_, body| {
            all.extend(socket(body)?);
            Ok(())
        });
        list.expect("it answers");
        all
    }

    #[test]
    fn a_connection_is_found_and_closed_and_no_other() {
        for (address, family) in [("127.0.0.1:0", libc::AF_INET), ("[::1]:0", libc::AF_INET6)] {
            let listener = TcpListener::bind(address).expect("a port is free");
            let at = listener.local_addr().expect("it has one");
            let connect = || {
                let client = TcpStream::connect(at).expect("it listens");
                (client, listener.accept().expect("it is there").0)
            };
            let ((mut closed, _kept), (mut other, mut server)) = (connect(), connect());
            let diag = diag();
            let all = sockets(&diag, family);
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
    fn this_kernel_closes_connections() {
        assert!(diag().can_destroy().expect("it answers"));
    }

    #[test]
    fn what_is_no_map_of_flows_is_refused() {
        assert!(diag().sockets(&no_map()).is_err());
    }

    #[test]
    fn a_message_that_is_cut_short_is_an_error() {
        let whole = message(BY_FAMILY, 0, &[0; FIXED]);
        let mut take = |_: u16, body: &[u8]| socket(body).map(drop);
        for length in 1..whole.len() {
            assert!(read_messages(&whole[..length], &mut take).is_err(), "{length}");
        }
        let mut zero = whole;
        zero[..4].fill(0);
        assert!(read_messages(&zero, &mut take).is_err(), "a length of zero would never end");
    }
}
