//! What `culvert-pod` does: it is a pod's first process, and the way into a pod for every other.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Command,
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    cgroup, netns,
    protocol::{Answer, Request, receive, send},
};

/// Joins a pod and makes sockets there, as its standard input asks for, until that closes.
pub fn pause(netns: &Path, cgroup: &Path) -> io::Result<()> {
    let stdin = io::stdin();
    let channel = stdin.as_fd();
    if let Err(error) = join(netns, cgroup) {
        return send(channel, &Answer::Broken(error.to_string()), None);
    }
    send(channel, &Answer::Done, None)?;
    while let Some((request, _)) = receive::<Request>(channel)? {
        answer(channel, &request)?;
    }
    Ok(())
}

/// Joins a pod and becomes `command`; returns only if that fails.
pub fn enter(netns: &Path, cgroup: &Path, command: &[OsString]) -> io::Error {
    let Some((program, arguments)) = command.split_first() else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no command to run");
    };
    match join(netns, cgroup) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

/// The namespace first: who finds a process in the cgroup must find it in the pod's namespace.
fn join(netns: &Path, cgroup: &Path) -> io::Result<()> {
    netns::enter(netns)?;
    cgroup::join(cgroup)
}

fn answer(channel: BorrowedFd<'_>, request: &Request) -> io::Result<()> {
    match make(request) {
        Ok(socket) => {
            send(channel, &Answer::Made, Some(socket.as_fd()))?;
            drop(socket);
            send(channel, &Answer::Done, None)
        }
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
            send(channel, &Answer::Errno(errno), None)
        }
    }
}

fn make(request: &Request) -> io::Result<Socket> {
    match request {
        Request::Connect { to, bind, unsent_mark } => connect(*to, *bind, *unsent_mark),
        Request::Listen { at, dual_stack } => listen(*at, *dual_stack),
    }
}

fn connect(to: SocketAddr, bind: Option<SocketAddr>, unsent_mark: Option<u32>) -> io::Result<Socket> {
    let socket = socket(to)?;
    if let Some(bytes) = unsent_mark {
        socket.set_tcp_notsent_lowat(bytes)?;
    }
    if let Some(address) = bind {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok(socket),
        result => result.map(|()| socket),
    }
}

fn listen(at: SocketAddr, dual_stack: bool) -> io::Result<Socket> {
    let socket = socket(at)?;
    if at.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// What servers made for many connections ask for.
const BACKLOG: i32 = 4096;

fn socket(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))
}
