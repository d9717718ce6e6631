//! The objects, filed so that a question looks only at what it is about.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use culvert_policy::{
    DestinationRule, DestinationRules, Labels, PeerAuthentication, PeerAuthentications, selects,
};

use super::{
    Kind, ObjectKey, PodRef,
    backends::Backends,
    host::HostRef,
    model::{EndpointSlice, Endpoints, Namespace, NamespacedName, Pod, Service, ServiceEntry, WorkloadEntry},
    multimap::Multimap,
    namespaced::Namespaced,
    object::Content,
};

/// Each object once, and where to find it by what is asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) namespaces: HashMap<Arc<str>, Arc<Namespace>>,
    pub(super) pods: Namespaced<Pod>,
    pub(super) services: Namespaced<Service>,
    pub(super) slices: Namespaced<EndpointSlice>,
    pub(super) service_entries: Namespaced<ServiceEntry>,
    pub(super) workload_entries: Namespaced<WorkloadEntry>,
    peer_authentications: Namespaced<PeerAuthentication>,
    destination_rules: Namespaced<DestinationRule>,

    pub(super) pods_by_node: Multimap<Arc<str>, PodRef>,
    /// Pods that have the address for their own.
    pub(super) pods_by_address: Multimap<IpAddr, PodRef>,
    pub(super) workload_entries_by_address: Multimap<IpAddr, NamespacedName>,
    /// Who is called at an address without being there.
    pub(super) hosts_by_address: Multimap<IpAddr, HostRef>,
    pub(super) backends: HashMap<NamespacedName, Backends>,
    pub(super) slices_by_address: Multimap<IpAddr, NamespacedName>,
    /// The `ServiceEntry`s that an address serves, and as whom.
    pub(super) service_entries_by_endpoint: Multimap<IpAddr, (NamespacedName, Member)>,
    /// Whom a `ServiceEntry` selects.
    pub(super) members: Multimap<NamespacedName, (IpAddr, Member)>,
    /// The `ServiceEntry`s with a selector, by namespace.
    selecting: Multimap<Arc<str>, Arc<str>>,

    pub(super) authentications: PeerAuthentications,
    pub(super) rules: DestinationRules,
}

/// As whom an address serves a `ServiceEntry` of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Member {
    /// As one of its own endpoints.
    Listed,
    /// As this pod.
    Pod(Arc<str>),
    /// As this `WorkloadEntry`.
    WorkloadEntry(Arc<str>),
}

impl Files {
    pub(super) fn new(root_namespace: &str) -> Self {
        Self {
            namespaces: HashMap::new(),
            pods: Namespaced::default(),
            services: Namespaced::default(),
            slices: Namespaced::default(),
            service_entries: Namespaced::default(),
            workload_entries: Namespaced::default(),
            peer_authentications: Namespaced::default(),
            destination_rules: Namespaced::default(),
            pods_by_node: Multimap::default(),
            pods_by_address: Multimap::default(),
            workload_entries_by_address: Multimap::default(),
            hosts_by_address: Multimap::default(),
            backends: HashMap::new(),
            slices_by_address: Multimap::default(),
            service_entries_by_endpoint: Multimap::default(),
            members: Multimap::default(),
            selecting: Multimap::default(),
            authentications: PeerAuthentications::new(root_namespace),
            rules: DestinationRules::new(root_namespace),
        }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<Content> {
        let (namespace, name) = (&*key.namespace, &*key.name);
        Some(match key.kind {
            Kind::Namespace => Content::Namespace(self.namespaces.get(name)?.clone()),
            Kind::Pod => Content::Pod(self.pods.get(namespace, name)?.clone()),
            Kind::Service => Content::Service(self.services.get(namespace, name)?.clone()),
            Kind::EndpointSlice => Content::EndpointSlice(self.slices.get(namespace, name)?.clone()),
            Kind::PeerAuthentication => {
                Content::PeerAuthentication(self.peer_authentications.get(namespace, name)?.clone())
            }
            Kind::DestinationRule => {
                Content::DestinationRule(self.destination_rules.get(namespace, name)?.clone())
            }
            Kind::ServiceEntry => Content::ServiceEntry(self.service_entries.get(namespace, name)?.clone()),
            Kind::WorkloadEntry => {
                Content::WorkloadEntry(self.workload_entries.get(namespace, name)?.clone())
            }
        })
    }

    /// All objects of one kind, in no order.
    pub(super) fn all(&self, kind: Kind) -> Vec<Content> {
        match kind {
            Kind::Namespace => self.namespaces.values().cloned().map(Content::Namespace).collect(),
            Kind::Pod => self.pods.iter().cloned().map(Content::Pod).collect(),
            Kind::Service => self.services.iter().cloned().map(Content::Service).collect(),
            Kind::EndpointSlice => self.slices.iter().cloned().map(Content::EndpointSlice).collect(),
            Kind::PeerAuthentication => {
                self.peer_authentications.iter().cloned().map(Content::PeerAuthentication).collect()
            }
            Kind::DestinationRule => {
                self.destination_rules.iter().cloned().map(Content::DestinationRule).collect()
            }
            Kind::ServiceEntry => self.service_entries.iter().cloned().map(Content::ServiceEntry).collect(),
            Kind::WorkloadEntry => {
                self.workload_entries.iter().cloned().map(Content::WorkloadEntry).collect()
            }
        }
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespace => self.namespaces.len(),
            Kind::Pod => self.pods.len(),
            Kind::Service => self.services.len(),
            Kind::EndpointSlice => self.slices.len(),
            Kind::PeerAuthentication => self.peer_authentications.len(),
            Kind::DestinationRule => self.destination_rules.len(),
            Kind::ServiceEntry => self.service_entries.len(),
            Kind::WorkloadEntry => self.workload_entries.len(),
        }
    }

    pub(super) fn add(&mut self, content: &Content) {
        let ObjectKey { namespace, name, .. } = content.key();
        match content {
            Content::Namespace(it) => drop(self.namespaces.insert(name, it.clone())),
            Content::Pod(it) => {
                self.file_pod(it);
                self.pods.insert(namespace, name, it.clone());
            }
            Content::Service(it) => {
                self.file_service(it);
                self.services.insert(namespace, name, it.clone());
            }
            Content::EndpointSlice(it) => {
                self.file_slice(it);
                self.slices.insert(namespace, name, it.clone());
            }
            Content::PeerAuthentication(it) => {
                self.authentications.insert((**it).clone());
                self.peer_authentications.insert(namespace, name, it.clone());
            }
            Content::DestinationRule(it) => {
                self.rules.insert((**it).clone());
                self.destination_rules.insert(namespace, name, it.clone());
            }
            Content::ServiceEntry(it) => {
                self.file_service_entry(it);
                self.service_entries.insert(namespace, name, it.clone());
            }
            Content::WorkloadEntry(it) => {
                self.file_workload_entry(it);
                self.workload_entries.insert(namespace, name, it.clone());
            }
        }
    }

    pub(super) fn remove(&mut self, content: &Content) {
        let ObjectKey { namespace, name, .. } = content.key();
        match content {
            Content::Namespace(_) => drop(self.namespaces.remove(&name)),
            Content::Pod(it) => {
                self.unfile_pod(it);
                self.pods.remove(&namespace, &name);
            }
            Content::Service(it) => {
                self.unfile_service(it);
                self.services.remove(&namespace, &name);
            }
            Content::EndpointSlice(it) => {
                self.unfile_slice(it);
                self.slices.remove(&namespace, &name);
            }
            Content::PeerAuthentication(_) => {
                self.authentications.remove(&namespace, &name);
                self.peer_authentications.remove(&namespace, &name);
            }
            Content::DestinationRule(_) => {
                self.rules.remove(&namespace, &name);
                self.destination_rules.remove(&namespace, &name);
            }
            Content::ServiceEntry(it) => {
                self.unfile_service_entry(it);
                self.service_entries.remove(&namespace, &name);
            }
            Content::WorkloadEntry(it) => {
                self.unfile_workload_entry(it);
                self.workload_entries.remove(&namespace, &name);
            }
        }
    }

    fn file_pod(&mut self, pod: &Pod) {
        if let Some(node) = &pod.node {
            self.pods_by_node.insert(node.clone(), pod.reference());
        }
        if pod.is_peer() {
            let member = Member::Pod(pod.meta.name.clone());
            for address in pod.addresses.iter() {
                self.pods_by_address.insert(address, pod.reference());
                self.join(&pod.meta.namespace, &pod.labels, address, &member);
            }
        }
    }

    fn unfile_pod(&mut self, pod: &Pod) {
        if let Some(node) = &pod.node {
            self.pods_by_node.remove(node.clone(), &pod.reference());
        }
        let member = Member::Pod(pod.meta.name.clone());
        for address in pod.addresses.iter() {
            self.pods_by_address.remove(address, &pod.reference());
            self.part(&pod.meta.namespace, address, &member);
        }
    }

    fn file_workload_entry(&mut self, entry: &WorkloadEntry) {
        if let Some(address) = entry.address {
            self.workload_entries_by_address.insert(address, (&entry.meta).into());
            let member = Member::WorkloadEntry(entry.meta.name.clone());
            self.join(&entry.meta.namespace, &entry.labels, address, &member);
        }
    }

    fn unfile_workload_entry(&mut self, entry: &WorkloadEntry) {
        if let Some(address) = entry.address {
            self.workload_entries_by_address.remove(address, &(&entry.meta).into());
            let member = Member::WorkloadEntry(entry.meta.name.clone());
            self.part(&entry.meta.namespace, address, &member);
        }
    }

    /// Makes a workload a member of each `ServiceEntry` that selects it.
    fn join(&mut self, namespace: &Arc<str>, labels: &Labels, address: IpAddr, member: &Member) {
        let selecting: Vec<Arc<str>> = self.selecting.get(namespace).cloned().collect();
        for name in selecting {
            let entry = self.service_entries.get(namespace, &name);
            if entry.is_some_and(|entry| entry.selects(labels)) {
                self.add_member(
                    NamespacedName { namespace: namespace.clone(), name },
                    address,
                    member.clone(),
                );
            }
        }
    }

    fn part(&mut self, namespace: &Arc<str>, address: IpAddr, member: &Member) {
        let selecting: Vec<Arc<str>> = self.selecting.get(namespace).cloned().collect();
        for name in selecting {
            let entry = NamespacedName { namespace: namespace.clone(), name };
            self.service_entries_by_endpoint.remove(address, &(entry.clone(), member.clone()));
            self.members.remove(entry, &(address, member.clone()));
        }
    }

    fn add_member(&mut self, entry: NamespacedName, address: IpAddr, member: Member) {
        self.service_entries_by_endpoint.insert(address, (entry.clone(), member.clone()));
        self.members.insert(entry, (address, member));
    }

    fn file_service(&mut self, service: &Service) {
        for address in &service.addresses {
            self.hosts_by_address.insert(*address, HostRef::Service((&service.meta).into()));
        }
    }

    fn unfile_service(&mut self, service: &Service) {
        for address in &service.addresses {
            self.hosts_by_address.remove(*address, &HostRef::Service((&service.meta).into()));
        }
    }

    fn file_slice(&mut self, slice: &Arc<EndpointSlice>) {
        let Some(service) = &slice.service else { return };
        self.backends.entry(service.clone()).or_default().insert(slice);
        for endpoint in slice.endpoints() {
            self.slices_by_address.insert(endpoint.address, (&slice.meta).into());
        }
    }

    fn unfile_slice(&mut self, slice: &EndpointSlice) {
        let Some(service) = &slice.service else { return };
        for endpoint in slice.endpoints() {
            self.slices_by_address.remove(endpoint.address, &(&slice.meta).into());
        }
        if let Some(backends) = self.backends.get_mut(service) {
            backends.remove(slice);
            if backends.is_empty() {
                self.backends.remove(service);
            }
        }
    }

    fn file_service_entry(&mut self, entry: &ServiceEntry) {
        let reference = NamespacedName::from(&entry.meta);
        for address in &entry.addresses {
            self.hosts_by_address.insert(*address, HostRef::Entry(reference.clone()));
        }
        for address in entry.listed().iter().filter_map(|endpoint| endpoint.address) {
            self.service_entries_by_endpoint.insert(address, (reference.clone(), Member::Listed));
        }
        if matches!(entry.endpoints, Endpoints::Selected(_)) {
            self.selecting.insert(reference.namespace.clone(), reference.name.clone());
            for (address, member) in self.selected(entry) {
                self.add_member(reference.clone(), address, member);
            }
        }
    }

    fn unfile_service_entry(&mut self, entry: &ServiceEntry) {
        let reference = NamespacedName::from(&entry.meta);
        for address in &entry.addresses {
            self.hosts_by_address.remove(*address, &HostRef::Entry(reference.clone()));
        }
        for address in entry.listed().iter().filter_map(|endpoint| endpoint.address) {
            self.service_entries_by_endpoint.remove(address, &(reference.clone(), Member::Listed));
        }
        self.selecting.remove(reference.namespace.clone(), &reference.name);
        let members: BTreeSet<_> = self.members.get(&reference).cloned().collect();
        for (address, member) in members {
            self.members.remove(reference.clone(), &(address, member.clone()));
            self.service_entries_by_endpoint.remove(address, &(reference.clone(), member));
        }
    }

    fn selected(&self, entry: &ServiceEntry) -> Vec<(IpAddr, Member)> {
        let namespace = &entry.meta.namespace;
        let pods = self.pods.of(namespace).filter(|pod| pod.is_peer() && entry.selects(&pod.labels));
        let of_pods = pods.flat_map(|pod| {
            pod.addresses.iter().map(|address| (address, Member::Pod(pod.meta.name.clone())))
        });
        let entries = self.workload_entries.of(namespace).filter(|it| entry.selects(&it.labels));
        let of_entries =
            entries.filter_map(|it| Some((it.address?, Member::WorkloadEntry(it.meta.name.clone()))));
        of_pods.chain(of_entries).collect()
    }
}

impl ServiceEntry {
    /// Whether a workload of its namespace with these labels serves it.
    fn selects(&self, labels: &Labels) -> bool {
        matches!(&self.endpoints, Endpoints::Selected(selector) if selects(selector, labels))
    }
}
