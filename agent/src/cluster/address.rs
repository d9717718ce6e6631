//! Who is behind an address, and under which names it may be called.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use culvert_policy::{HostRules, PeerStatus, SpiffeId};

use super::{
    Captured, Index, PodRef,
    model::{Pod, Service, ServicePort},
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

    /// The headless Services with this address as an endpoint on this port, ready or not: who has the address
    /// from an earlier answer of the DNS still means the Service.
    pub(super) fn aliases(&self, address: SocketAddr) -> impl Iterator<Item = Alias<'_>> {
        let slices = self.files.slices_by_address.get(&address.ip());
        slices.flat_map(move |(service, slice)| {
            let service = self
                .files
                .services
                .get(service)
                .filter(|service| service.headless);
            let slice = service.and_then(|it| self.files.backends.get(&it.reference())?.slice(slice));
            let ports = slice.into_iter().flat_map(|slice| &slice.ports);
            let names = ports
                .filter(move |(_, number)| *number == address.port())
                .map(|(name, _)| name);
            names.filter_map(move |name| {
                let service = service?;
                Some(Alias {
                    service,
                    port: service.ports.iter().find(|port| port.name == *name)?,
                })
            })
        })
    }

    /// The ports on which an address has aliases.
    pub(super) fn alias_ports(&self, address: IpAddr) -> BTreeSet<u16> {
        let slices = self.files.slices_by_address.get(&address);
        let headless =
            slices.filter(|(service, _)| self.files.services.get(service).is_some_and(|it| it.headless));
        let found = headless.filter_map(|(service, slice)| self.files.backends.get(service)?.slice(slice));
        found
            .flat_map(|slice| slice.ports.iter().map(|(_, number)| *number))
            .collect()
    }

    /// The rules that clients of a namespace have for a Service.
    pub(super) fn rules(&self, client_namespace: &str, service: &Service) -> HostRules<'_> {
        let host = service.host(&self.settings.cluster_domain);
        self.files
            .rules
            .for_host(client_namespace, &host, &service.meta.namespace)
    }
}
