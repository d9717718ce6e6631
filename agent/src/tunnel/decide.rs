//! The cluster, as the tunnel asks it.

use std::net::{IpAddr, SocketAddr};

use culvert_policy::Transport;
use tokio::sync::watch;

use super::Decide;
use crate::cluster::{Admission, Cluster, PodRef, Route};

impl Decide for Cluster {
    fn route(&self, client: &PodRef, origin: SocketAddr, turn: usize) -> Route {
        self.read().route(client, origin, turn)
    }

    fn admit(&self, server: &PodRef, by: Transport, port: u16) -> Admission {
        self.read().admit(server, by, port)
    }

    fn pod_at(&self, address: IpAddr) -> Option<PodRef> {
        self.read().pod_at(address)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        Self::changed(self)
    }
}
