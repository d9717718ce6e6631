//! The endpoints of one Service, ready to be chosen from.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use super::{PodRef, model::EndpointSlice};

/// The slices of one Service, and what follows from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backends {
    slices: BTreeMap<Arc<str>, Arc<EndpointSlice>>,
    ready: BTreeMap<PortFamily, Vec<Backend>>,
}

/// A ready endpoint of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) pod: Option<PodRef>,
}

/// A Service's port by name, and whether it is over IPv6.
type PortFamily = (Arc<str>, bool);

impl Backends {
    pub(super) fn insert(&mut self, slice: &Arc<EndpointSlice>) {
        self.slices.insert(slice.meta.name.clone(), slice.clone());
        self.ready = ready(self.slices.values());
    }

    pub(super) fn remove(&mut self, slice: &EndpointSlice) {
        self.slices.remove(&slice.meta.name);
        self.ready = ready(self.slices.values());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    pub(super) fn slice(&self, name: &str) -> Option<&EndpointSlice> {
        self.slices.get(name).map(Arc::as_ref)
    }

    /// The ready endpoints of a port of the Service, of one address family, in the order of their addresses.
    pub(super) fn ready(&self, port_name: &Arc<str>, ipv6: bool) -> &[Backend] {
        self.ready.get(&(port_name.clone(), ipv6)).map_or(&[], Vec::as_slice)
    }
}

fn ready<'a>(slices: impl Iterator<Item = &'a Arc<EndpointSlice>>) -> BTreeMap<PortFamily, Vec<Backend>> {
    // While the controller moves an endpoint from one slice to another, it may be in both.
    let mut unique: BTreeMap<PortFamily, BTreeMap<SocketAddr, Option<PodRef>>> = BTreeMap::new();
    for slice in slices {
        for (name, port) in &slice.ports {
            for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
                let family = (name.clone(), endpoint.address.is_ipv6());
                let address = SocketAddr::new(endpoint.address, *port);
                unique.entry(family).or_default().insert(address, endpoint.pod.clone());
            }
        }
    }
    let listed =
        unique.into_iter().map(|(family, backends)| (family, backends.into_iter().map(backend).collect()));
    listed.collect()
}

fn backend((address, pod): (SocketAddr, Option<PodRef>)) -> Backend {
    Backend { address, pod }
}
