//! An enrolled pod with its agent on one node, and a pod with Envoy on another that has no agent.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use culvert_testbed::{
    Agent, AgentOptions, DEADLINE, Envoy, Family, Machine, Mesh, Node, Pod, PodSpec,
    envoy::{Config, Peer, Tls},
    skip,
};
use serde_json::Value;

use crate::app::connect;

/// The two pods, and one more that has nothing to do with the mesh.
pub(crate) struct Site {
    pub(crate) agent: Agent,
    /// `full/ours`.
    pub(crate) ours: Pod,
    /// `foreign/peer`.
    pub(crate) peer: Pod,
    /// `legacy/sleep`, on the agent's node.
    pub(crate) legacy: Pod,
    pub(crate) a: Node,
    pub(crate) b: Node,
    pub(crate) machine: Machine,
    pub(crate) mesh: Mesh,
}

pub(crate) const OURS: &str = "spiffe://cluster.local/ns/full/sa/ours";
pub(crate) const PEER: &str = "spiffe://cluster.local/ns/foreign/sa/peer";

/// How the cluster knows what Envoy's pod can speak.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speaks {
    /// Nothing tells: Envoy is a client only.
    Nothing,
    /// `ambient.istio.io/redirection: enabled`.
    Redirected,
    /// `networking.istio.io/tunnel: http`.
    Tunnel,
    /// `security.istio.io/tlsMode: istio`.
    Sidecar,
}

impl Speaks {
    fn of(self, pod: PodSpec) -> PodSpec {
        match self {
            Self::Nothing => pod,
            Self::Redirected => pod.annotation("ambient.istio.io/redirection", "enabled"),
            Self::Tunnel => pod.label("networking.istio.io/tunnel", "http"),
            Self::Sidecar => pod.label("security.istio.io/tlsMode", "istio"),
        }
    }
}

/// Where applications listen: in our pod, and behind Envoy.
pub(crate) const APP: u16 = 80;
/// Where Envoy takes connections of its pod, to carry them to us.
pub(crate) const OUT: u16 = 8000;
/// Where the application of Envoy's pod is that Envoy takes connections for.
pub(crate) const BEHIND: u16 = 8080;
pub(crate) const HBONE: u16 = 15008;

impl Site {
    /// None, and it is said, where Envoy is not to be had.
    pub(crate) fn start(test: &str, speaks: Speaks) -> Option<Self> {
        if Envoy::binary().is_none() {
            skip(test, "Envoy is not installed, which cargo xtask setup does");
            return None;
        }
        let mut machine = Machine::new().unwrap();
        let (a, b) = (machine.node("a").unwrap(), machine.node("b").unwrap());
        let ours = machine.pod(&a, PodSpec::new("full", "ours").enrolled()).unwrap();
        let legacy = machine.pod(&a, PodSpec::new("legacy", "sleep")).unwrap();
        let peer = machine.pod(&b, speaks.of(PodSpec::new("foreign", "peer"))).unwrap();
        machine.publish().unwrap();
        let agent = a.agent(&AgentOptions::default()).unwrap();
        agent.wait_ready().unwrap();
        let mesh = Mesh::of(&machine);
        Some(Self { agent, ours, peer, legacy, a, b, machine, mesh })
    }

    /// Starts Envoy in its pod.
    pub(crate) fn envoy(&self, config: &Config) -> Envoy<'_> {
        Envoy::start(&self.peer, &config.resources()).unwrap()
    }

    /// The one record of a connection that has ended.
    pub(crate) fn record(&self, direction: &str, source: SocketAddr) -> Value {
        let is_its =
            |record: &Value| record["direction"] == direction && record["source"] == source.to_string();
        let record = self.agent.wait_for_record(is_its).unwrap();
        let count = self.agent.records().iter().filter(|record| is_its(record)).count();
        assert_eq!(count, 1, "one connection, one record: {record}");
        record
    }
}

/// The four ways in which a peer that is not ours meets our agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Our client, Envoy's HBONE server.
    ToHbone,
    /// Envoy's HBONE client, our server.
    FromHbone,
    /// Our client, Envoy as the sidecar of a server.
    ToSidecar,
    /// Envoy as the sidecar of a client, our server.
    FromSidecar,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::ToHbone, Self::FromHbone, Self::ToSidecar, Self::FromSidecar];

    /// What the pod of Envoy has to be known for.
    pub(crate) const fn speaks(self) -> Speaks {
        match self {
            Self::ToHbone => Speaks::Redirected,
            Self::FromHbone => Speaks::Nothing,
            Self::ToSidecar | Self::FromSidecar => Speaks::Sidecar,
        }
    }

    /// Envoy's part of it, for both families, in good faith.
    pub(crate) fn config(self, site: &Site) -> Config {
        let shown = site.mesh.certificate(PEER);
        self.config_with(site, &Tls { shown: &shown, believed: &site.mesh, peer: self.peer() })
    }

    /// The same with other certificates.
    pub(crate) fn config_with(self, site: &Site, tls: &Tls<'_>) -> Config {
        Family::ALL.iter().fold(Config::default(), |config, &family| {
            let ours = |port| site.ours.address(family, port);
            let peer = |port| site.peer.address(family, port);
            match self {
                Self::ToHbone => config.hbone_server(peer(HBONE), &[peer(APP)], None, tls),
                Self::FromHbone => config.hbone_client(peer(OUT), ours(HBONE), ours(APP), tls),
                Self::ToSidecar => config.sidecar_permissive(peer(APP), peer(BEHIND), tls),
                Self::FromSidecar => config.sidecar_outbound(peer(OUT), ours(APP), tls),
            }
        })
    }

    /// Whom Envoy should believe.
    pub(crate) const fn peer(self) -> Peer<'static> {
        if self.is_ours() { Peer::OfTrustDomain("cluster.local") } else { Peer::Exactly(OURS) }
    }

    /// The application at the far end.
    pub(crate) fn listen(self, site: &Site, family: Family) -> TcpListener {
        let (pod, port) = match self {
            Self::ToHbone => (&site.peer, APP),
            Self::ToSidecar => (&site.peer, BEHIND),
            Self::FromHbone | Self::FromSidecar => (&site.ours, APP),
        };
        pod.listen(pod.address(family, port)).unwrap()
    }

    /// The pod of the client, and what its application connects to.
    pub(crate) const fn client(self, site: &Site, family: Family) -> (&Pod, SocketAddr) {
        match self {
            Self::ToHbone | Self::ToSidecar => (&site.ours, site.peer.address(family, APP)),
            Self::FromHbone | Self::FromSidecar => (&site.peer, site.peer.address(family, OUT)),
        }
    }

    /// A connection all the way.
    pub(crate) fn connect(self, site: &Site, family: Family, listener: &TcpListener) -> Carried {
        let (from, to) = self.client(site, family);
        let (client, server) = connect(from, to, listener);
        let source = if self.is_ours() { client.local_addr() } else { server.peer_addr() };
        Carried { client, server, source: source.unwrap() }
    }

    /// The one record of a connection that has ended.
    pub(crate) fn record(self, site: &Site, source: SocketAddr) -> Value {
        site.record(self.direction(), source)
    }

    /// Has a connection end, and checks that it was carried over mTLS, with the other side's identity.
    pub(crate) fn was_carried(self, site: &Site, carried: Carried) {
        let source = carried.source;
        drop(carried);
        let record = self.record(site, source);
        let way = (&record["transport"], &record["outcome"]);
        assert_eq!(way, (&self.transport().into(), &"ok".into()), "{record}");
        let peer = (&record["peer_identity"], &record["peer_pod"]);
        assert_eq!(peer, (&PEER.into(), &"foreign/peer".into()), "{record}");
    }

    /// As our agent sees it.
    pub(crate) const fn direction(self) -> &'static str {
        if self.is_ours() { "outbound" } else { "inbound" }
    }

    /// As our agent calls it.
    pub(crate) const fn transport(self) -> &'static str {
        if matches!(self, Self::ToHbone | Self::FromHbone) { "hbone" } else { "sidecar" }
    }

    /// Whether the client is ours.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::ToHbone | Self::ToSidecar)
    }
}

/// Both applications' ends of a connection, and the client's address as our agent records it.
pub(crate) struct Carried {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
    pub(crate) source: SocketAddr,
}

/// Tries until there is a result.
pub(crate) fn eventually<R>(what: &str, mut attempt: impl FnMut() -> Option<R>) -> R {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(BETWEEN_ATTEMPTS);
    }
}

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);
