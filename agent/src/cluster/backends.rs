//! Who serves a host.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::Bound,
    sync::Arc,
};

use super::{
    Index, PodRef,
    files::Member,
    host::Door,
    model::{EndpointSlice, Endpoints, EntryPort, NamespacedName, ServiceEntry, WorkloadEntry},
};

/// The slices of one Service. Nothing is derived from them, so that a Service of many endpoints costs no more to
/// follow than one of few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backends {
    slices: BTreeMap<Arc<str>, Arc<EndpointSlice>>,
}

/// An endpoint of one port that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend<'a> {
    pub(super) address: SocketAddr,
    /// The pod behind it, as its slice has it.
    pub(super) pod: Option<&'a PodRef>,
    /// The slice that it stands in.
    pub(super) slice: Option<&'a Arc<str>>,
}

impl Backends {
    pub(super) fn insert(&mut self, slice: &Arc<EndpointSlice>) {
        self.slices.insert(slice.meta.name.clone(), slice.clone());
    }

    pub(super) fn remove(&mut self, slice: &EndpointSlice) {
        self.slices.remove(&slice.meta.name);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    pub(super) fn slices(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.slices.values().map(Arc::as_ref)
    }

    /// The ready endpoints of a port of the Service, of one address family, beginning with the slice `first`. While the
    /// controller moves an endpoint from one slice to another it may be in both, and then has two turns.
    fn ready<'a>(
        &'a self,
        port_name: &'a str,
        ipv6: bool,
        first: Option<&str>,
    ) -> impl Iterator<Item = (&'a EndpointSlice, u16)> + use<'a> {
        let from = first.map_or(Bound::Unbounded, Bound::Included);
        let later = self.slices.range::<str, _>((from, Bound::Unbounded));
        let earlier =
            first.map(|first| self.slices.range::<str, _>((Bound::Unbounded, Bound::Excluded(first))));
        let slices = later.chain(earlier.into_iter().flatten()).map(|(_, slice)| &**slice);
        slices
            .filter(move |slice| slice.ipv6 == ipv6 && !slice.ready().is_empty())
            .filter_map(move |slice| Some((slice, slice.target(port_name)?)))
    }
}

impl Index {
    /// The backend whose turn it is, for a call to `address`.
    pub(super) fn backend<'a>(&'a self, door: Door<'a>, address: IpAddr, turn: usize) -> Option<Backend<'a>> {
        match door {
            Door::Service(service, port) => {
                let backends = self.files.backends.get(&NamespacedName::from(&service.meta))?;
                let slices = || backends.ready(&port.name, address.is_ipv6(), None);
                let mut at = turn.checked_rem(slices().map(|(slice, _)| slice.ready().len()).sum())?;
                for (slice, target) in slices() {
                    match slice.ready().len() {
                        ready if at < ready => return Some(slice.backend(at, target)),
                        ready => at -= ready,
                    }
                }
                None
            }
            Door::Entry(entry, port) => {
                let backends = self.entry_backends(entry, port, address);
                backends.get(turn.checked_rem(backends.len())?).cloned()
            }
        }
    }

    /// All backends, for a call to `address`, beginning with those of the slice `first`.
    pub(super) fn backends<'a>(
        &'a self,
        door: Door<'a>,
        address: IpAddr,
        first: Option<&str>,
    ) -> Box<dyn Iterator<Item = Backend<'a>> + 'a> {
        match door {
            Door::Service(service, port) => {
                let backends = self.files.backends.get(&NamespacedName::from(&service.meta));
                let slices = backends.map(|it| it.ready(&port.name, address.is_ipv6(), first));
                let of = |(slice, target): (&'a EndpointSlice, u16)| {
                    (0..slice.ready().len()).map(move |at| slice.backend(at, target))
                };
                Box::new(slices.into_iter().flatten().flat_map(of))
            }
            Door::Entry(entry, port) => Box::new(self.entry_backends(entry, port, address).into_iter()),
        }
    }

    /// The backends with the address `at`, for a call to `address`.
    pub(super) fn backends_at<'a>(&'a self, door: Door<'a>, address: IpAddr, at: IpAddr) -> Vec<Backend<'a>> {
        match door {
            Door::Service(service, port) => {
                let slices = self.files.slices_by_address.get(&at);
                let slices = slices.filter_map(|it| self.files.slices.get(&it.namespace, &it.name));
                let own = slices.filter(|slice| {
                    let of = |it: &NamespacedName| {
                        (&it.namespace, &it.name) == (&service.meta.namespace, &service.meta.name)
                    };
                    slice.service.as_ref().is_some_and(of) && slice.ipv6 == address.is_ipv6()
                });
                own.filter_map(|slice| slice.backend_at(at, &port.name)).collect()
            }
            Door::Entry(entry, port) => {
                let mut backends = self.entry_backends(entry, port, address);
                backends.retain(|backend| backend.address.ip() == at);
                backends
            }
        }
    }

    fn entry_backends(&self, entry: &ServiceEntry, port: &EntryPort, address: IpAddr) -> Vec<Backend<'_>> {
        let reference = NamespacedName::from(&entry.meta);
        let mut found: Vec<SocketAddr> = match &entry.endpoints {
            Endpoints::Origin => vec![SocketAddr::new(address, port.port.number)],
            Endpoints::Listed(listed) => {
                listed.iter().filter_map(|it| Some(SocketAddr::new(it.address?, it.target(port)))).collect()
            }
            Endpoints::Selected(_) => {
                let members = self.files.members.get(&reference);
                members.map(|(address, member)| self.member(&reference, *address, member, port)).collect()
            }
        };
        found.retain(|it| it.is_ipv6() == address.is_ipv6());
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|address| Backend { address, pod: None, slice: None }).collect()
    }

    /// Where a member of a `ServiceEntry` serves a port.
    pub(super) fn member(
        &self,
        entry: &NamespacedName,
        address: IpAddr,
        member: &Member,
        port: &EntryPort,
    ) -> SocketAddr {
        let target = match member {
            Member::Listed => {
                let entry = self.files.service_entries.get(&entry.namespace, &entry.name);
                let listed = entry.and_then(|it| it.listed().iter().find(|it| it.address == Some(address)));
                listed.map(|it| it.target(port))
            }
            Member::WorkloadEntry(name) => {
                self.files.workload_entries.get(&entry.namespace, name).map(|it| it.target(port))
            }
            Member::Pod(_) => None,
        };
        SocketAddr::new(address, target.unwrap_or(port.target))
    }
}

impl EndpointSlice {
    fn backend(&self, at: usize, target: u16) -> Backend<'_> {
        let endpoint = &self.ready()[at];
        Backend {
            address: SocketAddr::new(endpoint.address, target),
            pod: endpoint.pod.as_ref(),
            slice: Some(&self.meta.name),
        }
    }

    fn backend_at(&self, address: IpAddr, port_name: &str) -> Option<Backend<'_>> {
        let at = self.ready().binary_search_by(|endpoint| endpoint.address.cmp(&address)).ok()?;
        Some(self.backend(at, self.target(port_name)?))
    }
}

impl WorkloadEntry {
    fn target(&self, port: &EntryPort) -> u16 {
        self.ports.get(&port.port.name).copied().unwrap_or(port.target)
    }
}
