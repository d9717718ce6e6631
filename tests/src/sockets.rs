//! Sockets of a pod in the hands of a test.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, bail};
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt},
};
use socket2::Socket;

use crate::{
    DEADLINE, process,
    protocol::{Answer, Request, receive, send},
};

/// How a connecting socket is made, where the plain way does not do.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketSpec {
    /// Bind to this address before connecting; port zero for any.
    pub bind: Option<SocketAddr>,
    /// Use an `AF_INET6` socket for an IPv4 address, which is then written as `::ffff:a.b.c.d`.
    pub mapped: bool,
    /// How many bytes the kernel may hold that are not under way yet (`TCP_NOTSENT_LOWAT`).
    pub unsent_mark: Option<u32>,
}

/// The process that lives in a pod and makes its sockets.
pub(crate) struct Helper {
    process: Child,
    channel: Mutex<OwnedFd>,
}

impl Helper {
    /// Starts the helper; when this returns it is in its place.
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let (ours, its) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(DEADLINE))?;
        command.stdin(Stdio::from(its)).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().with_context(|| {
            format!(
                "{} cannot be started: build it with `cargo xtask build`",
                command.get_program().display()
            )
        })?;
        // Its end of the channel lives in the command; only then does the channel close when the helper ends.
        drop(command);
        let (answer, _) = receive(&ours)?.context("the helper ended at once")?;
        match answer {
            Answer::Done => Ok(Self { process, channel: Mutex::new(ours) }),
            Answer::Errno(errno) => Err(io::Error::from_raw_os_error(errno).into()),
            Answer::Broken(message) => bail!("the helper cannot join its pod: {message}"),
            Answer::Made => bail!("the helper made what nobody asked for"),
        }
    }

    /// Its process id: the pod's first process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Connects, and waits for the outcome.
    pub(crate) fn connect(&self, to: SocketAddr, spec: SocketSpec) -> io::Result<TcpStream> {
        let stream = self.start_connect(to, spec)?;
        finish_connect(&stream)?;
        stream.set_nonblocking(false)?;
        bounded(&stream)?;
        Ok(stream.into())
    }

    /// Begins to connect; the socket is left non-blocking.
    pub(crate) fn start_connect(&self, to: SocketAddr, spec: SocketSpec) -> io::Result<Socket> {
        let to = if spec.mapped { mapped(to) } else { to };
        let bind = spec.bind.map(|address| if spec.mapped { mapped(address) } else { address });
        self.ask(&Request::Connect { to, bind, unsent_mark: spec.unsent_mark })
    }

    /// Listens at an address.
    pub(crate) fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        self.listener(&Request::Listen { at, dual_stack: false })
    }

    /// Listens on `[::]` for both families.
    pub(crate) fn listen_dual(&self, port: u16) -> io::Result<TcpListener> {
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        self.listener(&Request::Listen { at: any, dual_stack: true })
    }

    fn listener(&self, request: &Request) -> io::Result<TcpListener> {
        let listener = self.ask(request)?;
        listener.set_nonblocking(false)?;
        bounded(&listener)?;
        Ok(listener.into())
    }

    fn ask(&self, request: &Request) -> io::Result<Socket> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        send(channel.as_fd(), request, None)?;
        let mut made = None;
        loop {
            match (receive(&*channel)?, made.take()) {
                (Some((Answer::Made, Some(socket))), None) => made = Some(socket),
                (Some((Answer::Done, None)), Some(socket)) => return Ok(socket.into()),
                (Some((Answer::Errno(errno), _)), _) => return Err(io::Error::from_raw_os_error(errno)),
                (answer, _) => {
                    return Err(io::Error::other(format!("the pod's helper answered {answer:?}")));
                }
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended already, together with its pod.
        let _ = process::signal(&self.process, rustix::process::Signal::KILL);
        let _ = self.process.wait();
    }
}

fn finish_connect(socket: &Socket) -> io::Result<()> {
    let left = process::timeout(Instant::now() + DEADLINE);
    if poll(&mut [PollFd::new(socket, PollFlags::OUT)], left.as_ref())? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    socket.take_error()?.map_or(Ok(()), Err)
}

/// A test that waits for bytes or a connection in vain fails where it waits.
fn bounded(socket: &Socket) -> io::Result<()> {
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.set_write_timeout(Some(DEADLINE))
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => address,
    }
}
