//! Who is behind an address, and under which names it may be called.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use culvert_policy::{HostRules, PeerStatus, SpiffeId};

use super::{
    Captured, Index, PodRef,
    model::{EndpointSlice, Pod, Service, ServicePort},
};

/// A name under which an address is called on one port.
pub(super) struct Alias<'a> {
    pub(super) service: &'a Service,
    pub(super) port: &'a ServicePort,
}

impl Index {
    /// The running pod that has this address for its own.
    pub fn pod_at(&self, address: IpAddr) -> Option<PodRef> {
        self.peer_at(address).map(Pod::reference)
    }

    /// While an address passes from one pod to another both may claim it: the younger has it.
    pub(super) fn peer_at(&self, address: IpAddr) -> Option<&Pod> {
        let claims = self
            .files
            .pods_by_address
            .get(&address)
            .filter_map(|pod| self.pod(pod));
        claims.max_by_key(|pod| &pod.meta)
    }

    pub(super) fn pod(&self, pod: &PodRef) -> Option<&Pod> {
        self.files.pods.get(pod).map(Arc::as_ref)
    }

    /// What a pod can speak.
    pub(super) fn status(&self, pod: &Pod) -> PeerStatus {
        match self.settings.captured {
            _ if !pod.is_peer() => PeerStatus::None,
            Captured::ByWish if self.wishes_capture(pod) => PeerStatus::Hbone,
            _ => pod.announced,
        }
    }

    /// Whether a pod, or else its namespace, asks to be enrolled.
    pub(super) fn wishes_capture(&self, pod: &Pod) -> bool {
        let of_namespace = || self.files.namespaces.get(&pod.meta.namespace)?.wish;
        pod.wish.or_else(of_namespace).unwrap_or(false)
    }

    pub(super) fn identity(&self, pod: &Pod) -> SpiffeId {
        SpiffeId {
            trust_domain: self.trust_domain.clone(),
            namespace: pod.meta.namespace.clone(),
            service_account: pod.service_account.clone(),
        }
    }

    /// The names of an address on one port: the headless Services that it is an endpoint of.
    pub(super) fn aliases(&self, address: SocketAddr) -> impl Iterator<Item = Alias<'_>> {
        let named = self
            .headless_slices(address.ip())
            .flat_map(move |(service, slice)| {
                let ports = slice
                    .ports
                    .iter()
                    .filter(move |(_, number)| *number == address.port());
                ports.map(move |(name, _)| (service, name))
            });
        named.filter_map(|(service, name)| {
            Some(Alias {
                service,
                port: service.port_named(name)?,
            })
        })
    }

    /// The ports on which an address may have names.
    pub(super) fn alias_ports(&self, address: IpAddr) -> BTreeSet<u16> {
        self.headless_slices(address)
            .flat_map(|(_, slice)| &slice.ports)
            .map(|(_, number)| *number)
            .collect()
    }

    /// The slices of headless Services that an address is in, ready or not: who has it from an earlier answer of the
    /// DNS still means the Service.
    fn headless_slices(&self, address: IpAddr) -> impl Iterator<Item = (&Service, &EndpointSlice)> {
        self.files
            .slices_by_address
            .get(&address)
            .filter_map(|(service, slice)| {
                let found = self
                    .files
                    .services
                    .get(service)
                    .filter(|service| service.headless)?;
                Some((&**found, self.files.backends.get(service)?.slice(slice)?))
            })
    }

    /// The rules that clients of a namespace have for a Service.
    pub(super) fn rules(&self, client_namespace: &str, service: &Service) -> HostRules<'_> {
        let host = service.host(&self.settings.cluster_domain);
        self.files
            .rules
            .for_host(client_namespace, &host, &service.meta.namespace)
    }
}
