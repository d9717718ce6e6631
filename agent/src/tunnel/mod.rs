//! Carrying connections: accept, who and where, decide, authorise, connect, relay, record.

use std::{io, net::SocketAddr};

/// The kernel's maps as one worker uses them. Each worker has its own value, so there is no lock.
pub trait Kernel: 'static {
    /// Where the application wanted to go when it connected from `source`; takes the entry out.
    fn take_origin(&self, netns: u64, source: SocketAddr) -> Option<SocketAddr>;
    /// From now on the application sees `client` as the peer of the agent's socket `agent`.
    fn announce_client(&self, netns: u64, agent: SocketAddr, client: SocketAddr) -> io::Result<()>;
    /// Takes that back.
    fn withdraw_client(&self, netns: u64, agent: SocketAddr);
}
