//! Objects in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use culvert_policy::{DestinationRules, PeerAuthentications};

use super::{
    Kind, Object, ObjectKey, PodRef, Settings,
    backends::Backends,
    model::{EndpointSlice, Namespace, Pod, Service, ServiceRef},
    multimap::Multimap,
    object::Content,
};

/// All objects, filed so that a question looks only at what it is about. It starts empty.
#[derive(Debug)]
pub struct Index {
    pub(super) settings: Arc<Settings>,
    pub(super) trust_domain: Arc<str>,
    revision: u64,
    objects: BTreeMap<ObjectKey, Object>,
    pub(super) files: Files,
}

/// Where to find an object by what is asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) namespaces: HashMap<Arc<str>, Arc<Namespace>>,
    pub(super) pods: HashMap<PodRef, Arc<Pod>>,
    pub(super) pods_by_node: Multimap<Arc<str>, PodRef>,
    pub(super) pods_by_address: Multimap<IpAddr, PodRef>,
    pub(super) services: BTreeMap<ServiceRef, Arc<Service>>,
    pub(super) services_by_address: Multimap<IpAddr, ServiceRef>,
    pub(super) backends: HashMap<ServiceRef, Backends>,
    /// A Service and the slice of it that an address is in.
    pub(super) slices_by_address: Multimap<IpAddr, (ServiceRef, Arc<str>)>,
    pub(super) authentications: PeerAuthentications,
    pub(super) rules: DestinationRules,
}

impl Index {
    /// An index without objects.
    pub fn new(settings: Settings) -> Self {
        Self {
            trust_domain: settings.trust_domain.as_str().into(),
            revision: 0,
            objects: BTreeMap::new(),
            files: Files::new(&settings.root_namespace),
            settings: Arc::new(settings),
        }
    }

    /// What the operator says of the mesh.
    pub const fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Replaces what holds for the whole mesh; all that depends on it follows.
    pub fn set_settings(&mut self, settings: Settings) {
        if *self.settings == settings {
            return;
        }
        self.files = Files::new(&settings.root_namespace);
        self.objects.values().for_each(|object| self.files.add(&object.0));
        self.trust_domain = settings.trust_domain.as_str().into();
        self.settings = Arc::new(settings);
        self.revision += 1;
    }

    /// The object of that kind and name.
    pub fn object(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.objects.keys().filter(|key| key.kind == kind).count()
    }

    /// Grows with each change that may change an answer.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Adds an object, or replaces the one of that kind and name. An object that says what was known changes nothing.
    pub fn apply(&mut self, object: Object) {
        let key = object.key();
        if self.objects.get(&key) != Some(&object) {
            self.delete(&key);
            self.files.add(&object.0);
            self.objects.insert(key, object);
            self.revision += 1;
        }
    }

    /// Takes an object away.
    pub fn delete(&mut self, key: &ObjectKey) {
        if let Some(old) = self.objects.remove(key) {
            self.files.remove(&old.0);
            self.revision += 1;
        }
    }

    /// Takes in all objects of one kind, as a list has them: what is not among them is gone.
    pub fn reset(&mut self, kind: Kind, objects: Vec<Object>) {
        let listed: BTreeSet<ObjectKey> = objects.iter().map(Object::key).collect();
        let gone: Vec<_> =
            self.objects.keys().filter(|key| key.kind == kind && !listed.contains(key)).cloned().collect();
        for key in gone {
            self.delete(&key);
        }
        for object in objects {
            self.apply(object);
        }
    }
}

impl Files {
    fn new(root_namespace: &str) -> Self {
        Self {
            namespaces: HashMap::new(),
            pods: HashMap::new(),
            pods_by_node: Multimap::default(),
            pods_by_address: Multimap::default(),
            services: BTreeMap::new(),
            services_by_address: Multimap::default(),
            backends: HashMap::new(),
            slices_by_address: Multimap::default(),
            authentications: PeerAuthentications::new(root_namespace),
            rules: DestinationRules::new(root_namespace),
        }
    }

    fn add(&mut self, content: &Content) {
        match content {
            Content::Namespace(it) => drop(self.namespaces.insert(it.meta.name.clone(), it.clone())),
            Content::Pod(it) => self.add_pod(it),
            Content::Service(it) => self.add_service(it),
            Content::EndpointSlice(it) => self.add_slice(it),
            Content::PeerAuthentication(it) => self.authentications.insert((**it).clone()),
            Content::DestinationRule(it) => self.rules.insert((**it).clone()),
        }
    }

    fn remove(&mut self, content: &Content) {
        match content {
            Content::Namespace(it) => drop(self.namespaces.remove(&it.meta.name)),
            Content::Pod(it) => self.remove_pod(it),
            Content::Service(it) => self.remove_service(it),
            Content::EndpointSlice(it) => self.remove_slice(it),
            Content::PeerAuthentication(it) => {
                self.authentications.remove(&it.meta().namespace, &it.meta().name);
            }
            Content::DestinationRule(it) => self.rules.remove(&it.meta.namespace, &it.meta.name),
        }
    }

    fn add_pod(&mut self, pod: &Arc<Pod>) {
        let reference = pod.reference();
        if let Some(node) = &pod.node {
            self.pods_by_node.insert(node.clone(), reference.clone());
        }
        if pod.is_peer() {
            pod.addresses.iter().for_each(|address| self.pods_by_address.insert(*address, reference.clone()));
        }
        self.pods.insert(reference, pod.clone());
    }

    fn remove_pod(&mut self, pod: &Pod) {
        let reference = pod.reference();
        if let Some(node) = &pod.node {
            self.pods_by_node.remove(node, &reference);
        }
        pod.addresses.iter().for_each(|address| self.pods_by_address.remove(address, &reference));
        self.pods.remove(&reference);
    }

    fn add_service(&mut self, service: &Arc<Service>) {
        let reference = service.reference();
        for address in &service.addresses {
            self.services_by_address.insert(*address, reference.clone());
        }
        self.services.insert(reference, service.clone());
    }

    fn remove_service(&mut self, service: &Service) {
        let reference = service.reference();
        service.addresses.iter().for_each(|address| self.services_by_address.remove(address, &reference));
        self.services.remove(&reference);
    }

    fn add_slice(&mut self, slice: &Arc<EndpointSlice>) {
        let Some(service) = &slice.service else { return };
        self.backends.entry(service.clone()).or_default().insert(slice);
        for endpoint in &slice.endpoints {
            self.slices_by_address.insert(endpoint.address, (service.clone(), slice.meta.name.clone()));
        }
    }

    fn remove_slice(&mut self, slice: &EndpointSlice) {
        let Some(service) = &slice.service else { return };
        for endpoint in &slice.endpoints {
            self.slices_by_address.remove(&endpoint.address, &(service.clone(), slice.meta.name.clone()));
        }
        if let Some(backends) = self.backends.get_mut(service) {
            backends.remove(slice);
            if backends.is_empty() {
                self.backends.remove(service);
            }
        }
    }
}
