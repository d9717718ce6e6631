//! Two Envoys as sidecars: the client's speaks mTLS to the server's, one TLS connection for each of the application.
//!
//! Nothing redirects connections to them: clients dial their own sidecar, and the server's dials the application. What
//! iptables would cost on top is not measured.

use std::net::SocketAddr;

use anyhow::Context;
use culvert_testbed::{
    Envoy, Mesh, Pod,
    envoy::{Config, Peer, Tls},
};

use super::{
    cpus::{self, Cpus},
    hops::Hops,
};

/// The client's and the server's.
pub(super) struct Envoys<'s> {
    a: Envoy<'s>,
    b: Envoy<'s>,
    /// Where the server's takes mTLS.
    listeners: Vec<SocketAddr>,
}

impl<'s> Envoys<'s> {
    /// Starts one in each pod, with one worker thread each.
    pub(super) fn start(
        client: &'s Pod,
        server: &'s Pod,
        cpus: Cpus,
        services: &[Hops],
    ) -> anyhow::Result<Self> {
        let mesh = Mesh::foreign();
        let (of_client, of_server) = (mesh.certificate(CLIENT), mesh.certificate(SERVER));
        let tls = |shown, peer| Tls { shown, believed: &mesh, peer: Peer::Exactly(peer) };
        let (tls_a, tls_b) = (tls(&of_client, SERVER), tls(&of_server, CLIENT));
        let a = services.iter().fold(Config::default(), |config, hops| {
            config.sidecar_outbound(hops.client, hops.server, &tls_a)
        });
        let b = services.iter().fold(Config::default(), |config, hops| {
            config.sidecar_strict(hops.server, hops.application, &tls_b)
        });
        Ok(Self {
            a: cpus::on(cpus.a, || Envoy::start(client, &a.resources()))?,
            b: cpus::on(cpus.b, || Envoy::start(server, &b.resources()))?,
            listeners: services.iter().map(|hops| hops.server).collect(),
        })
    }

    pub(super) fn processes(&self) -> [u32; 2] {
        [&self.a, &self.b].map(|envoy| envoy.process())
    }

    /// Whether TLS connections arrived, by the statistics of the server's.
    pub(super) fn encrypted(&self) -> anyhow::Result<bool> {
        let mut handshakes = 0;
        for listener in &self.listeners {
            let name = format!("listener.{}.ssl.handshake", listener.to_string().replace(':', "_"));
            handshakes += self.b.statistic(&name).context("Envoy's statistics")?.unwrap_or(0);
        }
        Ok(handshakes > 0)
    }
}

const CLIENT: &str = "spiffe://cluster.local/ns/bench/sa/client";
const SERVER: &str = "spiffe://cluster.local/ns/bench/sa/server";
