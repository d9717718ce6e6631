//! Where one connection of an enrolled pod goes, and how.

use std::{net::SocketAddr, sync::Arc};

use culvert_policy::{Origination, PeerStatus, Reason, SpiffeId, TlsSettings, Transport};

use super::{
    Index, PodRef, TlsVersion,
    decide::Way,
    host::{Door, HostName, View},
    workload::Workload,
};

/// Where one connection of an enrolled pod goes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The address to reach: the origin itself, or the endpoint that was chosen for a Service's address.
    pub endpoint: SocketAddr,
    /// The pod behind it, where there is one.
    pub peer: Option<PodRef>,
    /// What the endpoint can speak.
    pub status: PeerStatus,
    /// How it is carried.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}

/// How a connection is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it is.
    Plaintext,
    /// Over HBONE, to a peer that must show this identity.
    Hbone(SpiffeId),
    /// Over sidecar mTLS, to a peer that must show this identity.
    Sidecar(SpiffeId),
    /// Over TLS by a rule's own settings, straight to the endpoint.
    Tls(Originate),
    /// Not at all.
    Refuse,
}

/// TLS that is opened by a rule's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originate {
    /// The rule's settings.
    pub settings: Arc<Origination>,
    /// The name that the server is asked for: the rule's `sni`, or that of the host, which may be a pattern.
    pub name: Arc<str>,
    /// What the server's certificate may be for where the settings name nothing: `subjectAltNames` of the
    /// `ServiceEntry`; empty means `name`.
    pub server_names: Arc<[Arc<str>]>,
    /// The oldest version of TLS that is spoken.
    pub min_version: TlsVersion,
}

impl Index {
    /// Where a connection of `client` to `origin` goes, and how. `turn` picks among the ready endpoints of a Service:
    /// the caller counts.
    pub fn route(&self, client: &PodRef, origin: SocketAddr, turn: usize) -> Route {
        let origin = SocketAddr::new(origin.ip().to_canonical(), origin.port());
        if self.is_own_address(client, origin) {
            return self_call(client, origin);
        }
        match self.door_at(&client.namespace, origin) {
            Some((door, view)) => self.door_route(client, origin, door, &view, turn),
            None => self.direct_route(client, origin),
        }
    }

    pub(super) fn is_own_address(&self, client: &PodRef, address: SocketAddr) -> bool {
        self.pod(client).is_some_and(|pod| pod.addresses.contains(address.ip()))
    }

    /// The host whose own address this is for clients of a namespace.
    pub(super) fn door_at(&self, client_namespace: &str, origin: SocketAddr) -> Option<(Door<'_>, View<'_>)> {
        let mut hosts = self.files.hosts_by_address.get(&origin.ip()).filter_map(|host| self.host(host));
        hosts.find_map(|host| Some((host.door(origin.port())?, self.view(client_namespace, host)?)))
    }

    fn door_route(
        &self,
        client: &PodRef,
        origin: SocketAddr,
        door: Door<'_>,
        view: &View<'_>,
        turn: usize,
    ) -> Route {
        let Some(backend) = self.backend(door, origin.ip(), turn) else {
            return refused(origin, Reason::NoEndpoint);
        };
        if self.is_own_address(client, backend.address) {
            return self_call(client, backend.address);
        }
        self.way_route(&self.backend_way(view, door, &backend))
    }

    fn direct_route(&self, client: &PodRef, origin: SocketAddr) -> Route {
        self.way_route(&self.direct_way(&client.namespace, origin))
    }

    /// The route that a way is.
    pub(super) fn way_route(&self, way: &Way<'_>) -> Route {
        let (verdict, reason) = self.verdict(way);
        let peer = way.peer.workload.and_then(Workload::pod);
        Route { endpoint: way.endpoint, peer, status: way.status, verdict, reason }
    }

    fn verdict(&self, way: &Way<'_>) -> (Verdict, Reason) {
        let choice = match way.choice {
            Ok(choice) => choice,
            Err(reason) => return (Verdict::Refuse, reason),
        };
        match (choice.transport, way.peer.workload.map(|workload| self.identity(workload))) {
            (Transport::Plaintext, None) if choice.reason == Reason::PeerPlaintext => {
                (Verdict::Plaintext, Reason::UnknownAddress)
            }
            (Transport::Plaintext, _) => (Verdict::Plaintext, choice.reason),
            (Transport::Hbone, Some(identity)) => (Verdict::Hbone(identity), choice.reason),
            (Transport::Sidecar, Some(identity)) => (Verdict::Sidecar(identity), choice.reason),
            (Transport::Hbone | Transport::Sidecar, None) => (Verdict::Refuse, Reason::PeerCannotMtls),
            (Transport::Tls, _) => match self.originate(way) {
                Some(originate) => (Verdict::Tls(originate), choice.reason),
                None => (Verdict::Refuse, Reason::TransportUnsupported),
            },
        }
    }

    /// The TLS that a rule demands, if its settings can be carried out.
    fn originate(&self, way: &Way<'_>) -> Option<Originate> {
        let TlsSettings::Originate(settings) = way.called.demand?.tls else { return None };
        let host = way.called.name.map(|name| self.host_name(name));
        let server_names = match way.called.name {
            Some(HostName::Entry(entry, _)) => Arc::clone(&entry.server_names),
            Some(HostName::Service(_)) | None => Arc::default(),
        };
        Some(Originate {
            settings: Arc::clone(settings),
            name: settings.sni.clone().or(host)?,
            server_names,
            min_version: self.settings.min_origination_tls,
        })
    }
}

fn self_call(client: &PodRef, endpoint: SocketAddr) -> Route {
    let (verdict, reason) = (Verdict::Plaintext, Reason::SelfCall);
    Route { endpoint, peer: Some(client.clone()), status: PeerStatus::None, verdict, reason }
}

fn refused(endpoint: SocketAddr, reason: Reason) -> Route {
    Route { endpoint, peer: None, status: PeerStatus::None, verdict: Verdict::Refuse, reason }
}
