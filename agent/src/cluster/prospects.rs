//! What a client may meet where it asks to go, endpoint by endpoint, and which objects decide.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use culvert_policy::{Labels, Mode, PeerStatus, Reason, Transport};

use super::{
    Index, PodRef, Verdict,
    causes::{Cause, causes_of_name},
    decide::Way,
    host::{Door, Host},
    model::{Endpoint, Endpoints, Service, ServiceEntry},
    names::Named,
    unanswerable::Unanswerable,
};

/// All that a client may meet at one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospects {
    /// The destination's name in full, or its address.
    pub host: String,
    /// The port that was asked for, or the only one there is.
    pub port: u16,
    /// Each endpoint that is ready; none where there is none, which refuses whoever asks.
    pub endpoints: Vec<Prospect>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// Its address and port; a name in place of the address where only the DNS knows it.
    pub address: String,
    /// The pod behind it, where there is one.
    pub pod: Option<PodRef>,
    /// What it can speak.
    pub status: PeerStatus,
    /// The mode of its port; none where no policy applies.
    pub mode: Option<Mode>,
    /// Whether it is served by somebody who keeps its policy.
    pub is_served: bool,
    /// Whether it is the client itself.
    pub is_client: bool,
    /// How an enrolled client's connection is carried, or would have to be.
    pub transport: Transport,
    /// Whether the client's side carries it, and why (not).
    pub decision: Result<Reason, Reason>,
    /// What that comes from.
    pub causes: Vec<Cause>,
}

impl Index {
    /// What a client meets at a host, which is a name as clients of its namespace write it, or an address. The
    /// answers come from what [`route`](Self::route) goes by.
    pub fn prospects(
        &self,
        client: &PodRef,
        host: &str,
        port: Option<u16>,
    ) -> Result<Prospects, Unanswerable> {
        if self.pod(client).is_none() {
            return Err(Unanswerable::UnknownPod(client.clone()));
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.at_address(client, address.to_canonical(), port);
        }
        let unknown =
            || Unanswerable::UnknownHost { host: host.to_owned(), namespace: client.namespace.to_string() };
        let (full, named) = self.named(&client.namespace, host).ok_or_else(unknown)?;
        match named {
            Named::Service(service) if service.headless => {
                self.at_headless(client, full, service, None, port)
            }
            Named::Service(service) => self.at_service(client, full, service, port),
            Named::Member(service, pod) => self.at_headless(client, full, service, Some(&pod), port),
            Named::Entry(entry) => self.at_entry(client, full, entry, port),
        }
    }

    fn at_address(
        &self,
        client: &PodRef,
        address: IpAddr,
        port: Option<u16>,
    ) -> Result<Prospects, Unanswerable> {
        let hosts = self.files.hosts_by_address.get(&address).filter_map(|host| self.host(host));
        let known: Vec<_> = hosts.filter(|host| self.view(&client.namespace, *host).is_some()).collect();
        // Nobody is at a Service's address, and behind it only on the Service's ports.
        let is_virtual = known.iter().any(|host| matches!(host, Host::Service(_)));
        let is_virtual = is_virtual && self.workload_at(address).is_none();
        let ports: BTreeSet<u16> = known.into_iter().flat_map(Host::doors).map(Door::number).collect();
        let port = match (port, ports.iter().next()) {
            (Some(port), _) if !is_virtual || ports.contains(&port) => port,
            (None, Some(only)) if ports.len() == 1 => *only,
            (None, None) => return Err(Unanswerable::PortNeeded { address }),
            _ => return Err(Unanswerable::no_port(address.to_string(), port, ports)),
        };
        let at = SocketAddr::new(address, port);
        let endpoints = match self.door_at(&client.namespace, at) {
            Some((door, _)) => self.behind(client, door, [address]),
            None => vec![self.direct_prospect(client, at)],
        };
        Ok(Prospects { host: address.to_string(), port, endpoints })
    }

    fn at_service(
        &self,
        client: &PodRef,
        full: String,
        service: &Service,
        port: Option<u16>,
    ) -> Result<Prospects, Unanswerable> {
        if service.addresses.is_empty() {
            return Err(Unanswerable::Alias { host: full });
        }
        let door = door_of(Host::Service(service), &full, port)?;
        let endpoints = self.behind(client, door, service.addresses.iter().copied());
        Ok(Prospects { host: full, port: door.number(), endpoints })
    }

    /// Nothing translates the ports of a headless Service: its clients call the container's, which may be asked for as
    /// well as the Service's.
    fn at_headless(
        &self,
        client: &PodRef,
        full: String,
        service: &Service,
        pod: Option<&str>,
        port: Option<u16>,
    ) -> Result<Prospects, Unanswerable> {
        let door = door_of(Host::Service(service), &full, port).map(Door::number);
        let number = match (&door, port) {
            (Ok(number), _) => *number,
            (Err(_), Some(port)) if self.targets(service).any(|target| target == port) => port,
            (Err(none), _) => return Err(none.clone()),
        };
        let name = service.ports.iter().find(|it| door.is_ok() && it.number == number).map(|it| &*it.name);
        let is_meant = |endpoint: &&Endpoint| pod.is_none_or(|pod| self.is_called(endpoint, pod));
        let mut addresses = BTreeSet::new();
        for slice in self.slices_of(service) {
            let target = name.map_or(Some(number), |name| slice.target(name));
            let ready = slice.ready().iter().filter(is_meant);
            addresses.extend(ready.filter_map(|it| Some(SocketAddr::new(it.address, target?))));
        }
        let endpoints = addresses.into_iter().map(|address| self.direct_prospect(client, address)).collect();
        Ok(Prospects { host: full, port: number, endpoints })
    }

    fn targets(&self, service: &Service) -> impl Iterator<Item = u16> {
        self.slices_of(service).flat_map(|slice| slice.ports.iter().map(|(_, number)| *number))
    }

    fn at_entry(
        &self,
        client: &PodRef,
        full: String,
        entry: &ServiceEntry,
        port: Option<u16>,
    ) -> Result<Prospects, Unanswerable> {
        let door = door_of(Host::Entry(entry), &full, port)?;
        let endpoints = if !entry.addresses.is_empty() {
            self.behind(client, door, entry.addresses.iter().copied())
        } else if entry.has_endpoints() {
            let families = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
            let backends = families.into_iter().flat_map(|family| self.backends(door, family, None));
            backends.map(|backend| self.direct_prospect(client, backend.address)).collect()
        } else {
            vec![self.by_name(client, &full, door, entry)]
        };
        Ok(Prospects { host: full, port: door.number(), endpoints })
    }

    /// The endpoints of a port of a host, at these of its addresses.
    fn behind(
        &self,
        client: &PodRef,
        door: Door<'_>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Vec<Prospect> {
        let Some(view) = self.view(&client.namespace, door.host()) else { return Vec::new() };
        let backends = addresses.into_iter().flat_map(|address| self.backends(door, address, None));
        backends.map(|backend| self.prospect(client, &self.backend_way(&view, door, &backend))).collect()
    }

    fn direct_prospect(&self, client: &PodRef, address: SocketAddr) -> Prospect {
        self.prospect(client, &self.direct_way(&client.namespace, address))
    }

    fn prospect(&self, client: &PodRef, way: &Way<'_>) -> Prospect {
        let ip = way.endpoint.ip();
        let is_client = self.is_own_address(client, way.endpoint) || ip.is_loopback() || ip.is_unspecified();
        let is_external = way.called.external.is_some();
        let route = self.way_route(way);
        let (transport, decision) = match route.verdict {
            _ if is_client => (Transport::Plaintext, Ok(Reason::SelfCall)),
            // What is refused for want of mTLS would have been the mesh's own.
            Verdict::Refuse => {
                (way.choice.map_or(Transport::Hbone, |choice| choice.transport), Err(route.reason))
            }
            Verdict::Plaintext => (Transport::Plaintext, Ok(route.reason)),
            Verdict::Hbone(_) => (Transport::Hbone, Ok(route.reason)),
            Verdict::Sidecar(_) => (Transport::Sidecar, Ok(route.reason)),
            Verdict::Tls(_) => (Transport::Tls, Ok(route.reason)),
        };
        Prospect {
            address: way.endpoint.to_string(),
            pod: if ip.is_loopback() { Some(client.clone()) } else { route.peer },
            status: if is_external { PeerStatus::External } else { way.peer.status },
            mode: way.peer.workload.filter(|_| !is_external).map(|_| way.peer.ruling.mode),
            is_served: way.peer.status != PeerStatus::None,
            is_client,
            transport,
            decision,
            causes: self.causes(way),
        }
    }

    /// A host whose addresses only the DNS knows: nothing tells its connections from others.
    fn by_name(&self, client: &PodRef, full: &str, door: Door<'_>, entry: &ServiceEntry) -> Prospect {
        let view = self.view(&client.namespace, door.host());
        let called = view.map(|view| view.called(door, &Labels::new())).unwrap_or_default();
        let is_plainly_external = entry.external && called.demand.is_none();
        let reason = if is_plainly_external { Reason::MeshExternal } else { Reason::NameNotResolved };
        Prospect {
            address: format!("{full}:{}", door.number()),
            pod: None,
            status: if entry.external { PeerStatus::External } else { PeerStatus::None },
            mode: None,
            is_served: false,
            is_client: false,
            transport: Transport::Plaintext,
            decision: Ok(reason),
            causes: causes_of_name(&called, entry),
        }
    }
}

/// The port that is meant, or the only one.
fn door_of<'a>(host: Host<'a>, full: &str, port: Option<u16>) -> Result<Door<'a>, Unanswerable> {
    let doors = host.doors();
    let meant = match port {
        Some(port) => host.door(port),
        None if doors.len() == 1 => doors.first().copied(),
        None => None,
    };
    meant.ok_or_else(|| Unanswerable::no_port(full.to_owned(), port, doors.iter().map(|door| door.number())))
}

impl ServiceEntry {
    /// Whether anybody is known to serve it, by address.
    fn has_endpoints(&self) -> bool {
        match &self.endpoints {
            Endpoints::Origin => false,
            Endpoints::Listed(listed) => !listed.is_empty(),
            Endpoints::Selected(_) => true,
        }
    }
}
