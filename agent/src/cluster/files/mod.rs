//! The objects, filed so that a question looks only at what it is about.

mod entries;
mod filing;

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use culvert_policy::{DestinationRule, DestinationRules, PeerAuthentication, PeerAuthentications};

use super::{
    Kind, ObjectKey, PodRef,
    backends::Backends,
    host::HostRef,
    model::{EndpointSlice, Namespace, NamespacedName, Pod, Service, ServiceEntry, WorkloadEntry},
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
}
