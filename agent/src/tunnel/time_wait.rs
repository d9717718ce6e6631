//! `TIME_WAIT` within a pod.
//!
//! Of a connection that the one ends who began it, the kernel keeps the port for a minute (RFC 9293, section 3.6.1), so
//! that no packet that is still on its way is taken for one of the next connection. A pod has 28,000 ports. Its clients
//! call the agent instead of many servers, and the agent calls its servers instead of many clients: what would be spread
//! over many pairs of addresses has to do with one, and a pod would be at its end after 470 short connections a second.
//! Within a pod no packet is on its way for long, so the agent has the kernel forget them.

use std::{cell::Cell, io, net::IpAddr, rc::Rc, sync::Arc};

use tokio::{
    sync::Mutex,
    task::{spawn_blocking, spawn_local},
};

use crate::{cluster::PodRef, netns::Netns, sock_diag::Diag};

/// Ports that may wait. A list of them takes the kernel milliseconds.
const MOST: u32 = 1024;

/// What has ended within a pod and keeps a port.
#[derive(Debug)]
pub(super) struct TimeWait {
    pod: PodRef,
    netns: Netns,
    addresses: Arc<[IpAddr]>,
    kept: Cell<u32>,
    /// How often they were freed.
    freed: Cell<u32>,
    /// Who is at it has it.
    turn: Mutex<()>,
}

impl TimeWait {
    /// Of a pod with these addresses.
    pub(super) fn new(pod: PodRef, netns: Netns, addresses: &[IpAddr]) -> Rc<Self> {
        Rc::new(Self {
            pod,
            netns,
            addresses: addresses.into(),
            kept: Cell::default(),
            freed: Cell::default(),
            turn: Mutex::default(),
        })
    }

    /// A connection between application and agent ends, and keeps a port.
    pub(super) fn kept(self: &Rc<Self>) {
        self.kept.set(self.kept.get() + 1);
        if self.kept.get() >= MOST && self.turn.try_lock().is_ok() {
            let this = Rc::clone(self);
            // It goes on by itself.
            spawn_local(async move { this.free().await });
        }
    }

    /// Frees the ports that are kept. Who comes while somebody is at it waits for that.
    pub(super) async fn free(&self) {
        let freed = self.freed.get();
        let _turn = self.turn.lock().await;
        if self.freed.get() != freed {
            return;
        }
        self.kept.set(0);
        let (netns, addresses) = (self.netns.clone(), Arc::clone(&self.addresses));
        let forgotten = spawn_blocking(move || forget(&netns, &addresses)).await;
        match forgotten.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(count) => tracing::debug!(pod = %self.pod, count, "ports of ended connections are free again"),
            Err(error) => {
                tracing::warn!(pod = %self.pod, %error, "ports of ended connections are kept for a minute");
            }
        }
        self.freed.set(freed.wrapping_add(1));
    }
}

/// Has the kernel forget what has ended between two addresses of the pod, also where no agent had a part in it; how much
/// that was.
fn forget(netns: &Netns, addresses: &[IpAddr]) -> io::Result<usize> {
    let diag = Diag::open(netns)?;
    let mut count = 0;
    for socket in diag.ended()? {
        if addresses.contains(&socket.local.ip()) && addresses.contains(&socket.remote.ip()) {
            count += usize::from(diag.destroy(&socket)?);
        }
    }
    Ok(count)
}
