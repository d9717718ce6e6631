//! Carrying connections: accept, who and where, decide, authorise, connect, relay, record.
//!
//! Each worker is one thread, and a pod belongs to one worker: its listeners, its tunnels and its connections meet
//! no lock and no other thread. [`outbound`] follows a connection of a pod's application to its peer, [`inbound`]
//! a peer's tunnel to the pod's application, [`steered`] a sidecar's connection to it; all end in [`relay`].

mod application;
mod arena;
mod busy_poll;
mod decide;
mod dial;
mod encrypted;
mod enrolled;
mod failure;
pub(crate) mod hbone;
mod inbound;
mod leg;
mod listen;
pub(crate) mod opening;
mod originate;
mod outbound;
pub(crate) mod records;
mod relay;
mod steered;
mod stock;
mod tasks;
#[cfg(test)]
mod tests;
mod time_wait;
mod tls;
mod worker;
mod workers;
mod yielding;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
};

use culvert_policy::Transport;
use tokio::sync::watch;

pub use hbone::PORT as HBONE_PORT;
pub use listen::{Clients, listen};
pub use workers::{Drained, Threads, Workers};

use crate::{
    cluster::{Admission, PodRef, Route},
    identity::Workload,
    netns::Netns,
};

/// The kernel's maps as one worker uses them. Each worker has its own value, so there is no lock.
pub trait Kernel: 'static {
    /// Where the application wanted to go when it connected from `source`; takes the entry out.
    fn take_origin(&self, netns: u64, source: SocketAddr) -> Option<SocketAddr>;
    /// From now on the application sees `client` as the peer of the agent's socket `agent`. Whether that takes the place of
    /// another client of the same socket.
    fn announce_client(&self, netns: u64, agent: SocketAddr, client: SocketAddr) -> io::Result<bool>;
    /// Takes that back.
    fn withdraw_client(&self, netns: u64, agent: SocketAddr);
}

/// The cluster's decisions, as the tunnel asks for them.
pub trait Decide: Send + Sync + 'static {
    /// Where a connection of `client` to `origin` goes, and how. `turn` picks among endpoints.
    fn route(&self, client: &PodRef, origin: SocketAddr, turn: usize) -> Route;
    /// Whether `server` accepts what comes by a transport on this port of its application.
    fn admit(&self, server: &PodRef, by: Transport, port: u16) -> Admission;
    /// The pod that has this address.
    fn pod_at(&self, address: IpAddr) -> Option<PodRef>;
    /// Changes whenever an answer of the other functions may have changed.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// A pod to be served.
#[derive(Debug)]
pub struct Pod {
    /// Its name.
    pub pod: PodRef,
    /// Its network namespace.
    pub netns: Netns,
    /// Its certificates.
    pub workload: Arc<Workload>,
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Non-blocking listeners in its namespace for what the kernel redirects, made by [`listen()`] as all of them.
    pub outbound: Vec<TcpListener>,
    /// Non-blocking listeners in its namespace for tunnels of its peers.
    pub inbound: Vec<TcpListener>,
    /// Non-blocking listeners in its namespace for what the kernel steers away from its applications.
    pub steered: Vec<TcpListener>,
    /// The port that peers listen on for tunnels: [`HBONE_PORT`], but in tests.
    pub hbone_port: u16,
}
