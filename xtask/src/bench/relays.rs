//! Two relays that only copy: the least that two more processes on the way can cost.

use std::net::SocketAddr;

use culvert_testbed::Pod;

use super::{
    cpus::{self, Cpus},
    hops::Hops,
    load::{Background, culvert_load},
};

/// The client's and the server's.
pub(super) struct Relays {
    a: Background,
    b: Background,
}

impl Relays {
    /// Starts one in each pod.
    pub(super) fn start(client: &Pod, server: &Pod, cpus: Cpus, services: &[Hops]) -> anyhow::Result<Self> {
        let a = services.iter().map(|hops| (hops.client, hops.server));
        let b = services.iter().map(|hops| (hops.server, hops.application));
        Ok(Self { a: cpus::on(cpus.a, || relay(client, a))?, b: cpus::on(cpus.b, || relay(server, b))? })
    }

    pub(super) fn processes(&self) -> [u32; 2] {
        [&self.a, &self.b].map(Background::process)
    }
}

fn relay(pod: &Pod, hops: impl Iterator<Item = (SocketAddr, SocketAddr)>) -> anyhow::Result<Background> {
    let mut relay = pod.command(culvert_load());
    relay.arg("relay").args(hops.map(|(from, to)| format!("{from}={to}")));
    Background::start(relay, "listening")
}
