//! Network namespaces: holding one, and making sockets in it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{netlink::Netlink, sys};

/// A network namespace, kept alive by this handle.
#[derive(Clone, Debug)]
pub struct Netns {
    file: Arc<OwnedFd>,
    cookie: u64,
}

impl Netns {
    /// The namespace behind a path such as `/proc/PID/ns/net`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OwnedFd::from(File::open(path)?);
        let cookie = within(&file, || sys::netns_cookie(probe()?))?;
        Ok(Self { file: Arc::new(file), cookie })
    }

    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        Self::open(Path::new(CURRENT))
    }

    /// What the kernel's programs know this namespace by.
    pub const fn cookie(&self) -> u64 {
        self.cookie
    }

    /// A non-blocking TCP socket that belongs to this namespace; the calling thread is back where it was.
    pub fn tcp_socket(&self, domain: Domain) -> io::Result<Socket> {
        within(&self.file, || tcp_socket(domain))
    }

    /// Some more of them in one visit: at least one, and as many as there is room for.
    pub fn tcp_sockets(&self, domain: Domain, count: usize) -> io::Result<Vec<Socket>> {
        within(&self.file, || {
            let mut sockets = vec![tcp_socket(domain)?];
            sockets.extend((1..count).map_while(|_| tcp_socket(domain).ok()));
            Ok(sockets)
        })
    }

    /// Asks the kernel about this namespace, by a protocol such as `NETLINK_ROUTE`.
    pub(crate) fn netlink(&self, protocol: libc::c_int) -> io::Result<Netlink> {
        let (domain, protocol) = (Domain::from(libc::AF_NETLINK), Protocol::from(protocol));
        Netlink::new(within(&self.file, || Socket::new(domain, Type::RAW.cloexec(), Some(protocol)))?)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

const CURRENT: &str = "/proc/thread-self/ns/net";

fn tcp_socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))
}

fn probe() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM.cloexec(), None)
}

/// Runs `make` in a namespace and comes back, however `make` ends.
fn within<R>(netns: &OwnedFd, make: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    let home = Home(File::open(CURRENT)?.into());
    enter(netns)?;
    let result = make();
    drop(home);
    result
}

struct Home(OwnedFd);

impl Drop for Home {
    fn drop(&mut self) {
        // A thread that stays in a pod's namespace would open the sockets of all other pods there.
        enter(&self.0).expect("the thread can return to its own network namespace");
    }
}

fn enter(netns: &OwnedFd) -> io::Result<()> {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).map_err(io::Error::from)
}
