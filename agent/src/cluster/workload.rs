//! Who is behind an address.

use std::{net::IpAddr, sync::Arc};

use culvert_policy::{Labels, PeerStatus, PortModes, Ruling, SpiffeId};

use super::{
    Captured, Index, PodRef,
    model::{Pod, WorkloadEntry},
};

/// Somebody who has an address.
#[derive(Clone, Copy, Debug)]
pub(super) enum Workload<'a> {
    Pod(&'a Pod),
    Entry(&'a WorkloadEntry),
    /// An endpoint that a `ServiceEntry` lists.
    Listed(&'a WorkloadEntry),
}

impl<'a> Workload<'a> {
    pub(super) fn labels(self) -> &'a Labels {
        match self {
            Self::Pod(pod) => &pod.labels,
            Self::Entry(entry) | Self::Listed(entry) => &entry.labels,
        }
    }

    /// The pod that it is.
    pub(super) fn pod(self) -> Option<PodRef> {
        match self {
            Self::Pod(pod) => Some(pod.reference()),
            Self::Entry(_) | Self::Listed(_) => None,
        }
    }

    fn namespace(self) -> &'a Arc<str> {
        match self {
            Self::Pod(pod) => &pod.meta.namespace,
            Self::Entry(entry) | Self::Listed(entry) => &entry.meta.namespace,
        }
    }

    fn service_account(self) -> &'a Arc<str> {
        match self {
            Self::Pod(pod) => &pod.service_account,
            Self::Entry(entry) | Self::Listed(entry) => &entry.service_account,
        }
    }
}

impl Index {
    /// The running pod that has this address for its own.
    pub fn pod_at(&self, address: IpAddr) -> Option<PodRef> {
        self.peer_at(address).map(Pod::reference)
    }

    pub(super) fn pod(&self, pod: &PodRef) -> Option<&Pod> {
        self.files.pods.get(&pod.namespace, &pod.name).map(Arc::as_ref)
    }

    /// Who has this address: a pod, or else a `WorkloadEntry`, or else an endpoint of the oldest `ServiceEntry` that
    /// lists it.
    pub(super) fn workload_at(&self, address: IpAddr) -> Option<Workload<'_>> {
        let pod = self.peer_at(address).map(Workload::Pod);
        let entry = || self.workload_entry_at(address).map(Workload::Entry);
        pod.or_else(entry).or_else(|| self.listed_at(address).map(Workload::Listed))
    }

    /// While an address passes from one pod to another both may claim it: the younger has it.
    fn peer_at(&self, address: IpAddr) -> Option<&Pod> {
        let claims = self.files.pods_by_address.get(&address).filter_map(|pod| self.pod(pod));
        claims.max_by_key(|pod| &pod.meta)
    }

    fn workload_entry_at(&self, address: IpAddr) -> Option<&WorkloadEntry> {
        let claims = self.files.workload_entries_by_address.get(&address);
        let entries = claims.filter_map(|it| self.files.workload_entries.get(&it.namespace, &it.name));
        entries.map(Arc::as_ref).max_by_key(|entry| &entry.meta)
    }

    fn listed_at(&self, address: IpAddr) -> Option<&WorkloadEntry> {
        let entries = self.files.service_entries_by_endpoint.get(&address);
        let entries = entries.filter_map(|(it, _)| self.files.service_entries.get(&it.namespace, &it.name));
        let listed = entries.flat_map(|entry| entry.listed()).filter(|it| it.address == Some(address));
        listed.min_by_key(|endpoint| &endpoint.meta)
    }

    /// What a workload can speak.
    pub(super) fn status(&self, workload: Workload<'_>) -> PeerStatus {
        match (workload, self.settings.captured) {
            (Workload::Entry(entry) | Workload::Listed(entry), _) => entry.announced,
            (Workload::Pod(pod), _) if !pod.is_peer() => PeerStatus::None,
            (Workload::Pod(pod), Captured::ByWish) if self.wishes_capture(pod) => PeerStatus::Hbone,
            (Workload::Pod(pod), _) => pod.announced,
        }
    }

    /// Whether a pod, or else its namespace, asks to be enrolled.
    pub(super) fn wishes_capture(&self, pod: &Pod) -> bool {
        let of_namespace = || self.files.namespaces.get(&pod.meta.namespace)?.wish;
        pod.wish.or_else(of_namespace).unwrap_or(false)
    }

    pub(super) fn identity(&self, workload: Workload<'_>) -> SpiffeId {
        SpiffeId {
            trust_domain: self.trust_domain.clone(),
            namespace: workload.namespace().clone(),
            service_account: workload.service_account().clone(),
        }
    }

    /// The mode of one of its ports, and where it comes from; without a port, of those that no policy lists.
    pub(super) fn ruling(&self, workload: Workload<'_>, port: Option<u16>) -> Ruling<'_> {
        self.files.authentications.ruling(workload.namespace(), workload.labels(), port)
    }

    /// The modes of its ports.
    pub(super) fn modes(&self, workload: Workload<'_>) -> PortModes {
        self.files.authentications.port_modes(workload.namespace(), workload.labels())
    }
}
