//! Somewhere processes run and sockets are made: a network namespace and a cgroup.

use std::{
    ffi::OsStr,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use socket2::Socket;

use crate::{
    cgroup, netns,
    process::culvert_pod,
    sockets::{Helper, SocketSpec},
};

/// A pod's container, or a node's own part, with one process that lives there.
///
/// Its sockets belong to its network namespace and its cgroup for as long as they live, whoever holds them. They
/// give up on reading, writing and accepting after [`DEADLINE`](crate::DEADLINE).
pub struct Place {
    netns: String,
    cgroup: PathBuf,
    helper: Helper,
}

impl Place {
    /// Settles in a namespace that is there and a cgroup that is made if need be.
    pub(crate) fn settle(netns: String, cgroup: PathBuf) -> anyhow::Result<Self> {
        cgroup::create(&cgroup)?;
        let helper = Helper::start(verb("pause", &netns, &cgroup))?;
        Ok(Self { netns, cgroup, helper })
    }

    /// Connects and waits for the outcome; what `connect()` says is the error.
    pub fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.connect_as(to, SocketSpec::default())
    }

    /// Connects with a socket that is made in another way.
    pub fn connect_as(&self, to: SocketAddr, spec: SocketSpec) -> io::Result<TcpStream> {
        self.helper.connect(to, spec)
    }

    /// Begins to connect without waiting; the socket is non-blocking.
    pub fn start_connect(&self, to: SocketAddr, spec: SocketSpec) -> io::Result<Socket> {
        self.helper.start_connect(to, spec)
    }

    /// Listens at an address, for its family alone.
    pub fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        self.helper.listen(at)
    }

    /// Listens on `[::]` for both families, as Go does.
    pub fn listen_dual(&self, port: u16) -> io::Result<TcpListener> {
        self.helper.listen_dual(port)
    }

    /// A command that runs here.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_in(&self.cgroup, program)
    }

    /// A command that runs in this network namespace and in another cgroup, which has to be there.
    pub(crate) fn command_in(&self, cgroup: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = verb("enter", &self.netns, cgroup);
        command.arg(program);
        command
    }

    /// Sets a kernel parameter of the network namespace; named as below `/proc/sys/net`.
    pub fn sysctl(&self, name: &str, value: &str) -> anyhow::Result<()> {
        netns::sysctl(&self.netns, &[(name, value)])
    }

    /// The name of the network namespace, as `ip netns` knows it.
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// The cgroup's directory.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The id of the process that lives here.
    pub fn process(&self) -> u32 {
        self.helper.id()
    }
}

fn verb(verb: &str, netns: &str, cgroup: &Path) -> Command {
    let mut command = Command::new(culvert_pod());
    command.arg(verb).arg(netns::path(netns)).arg(cgroup);
    command
}
