//! Objects in.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use super::{
    Captured, Kind, Object, ObjectKey, Settings,
    changes::{Change, Journal},
    files::Files,
    host::HostRef,
    model::{EndpointSlice, Pod, WorkloadEntry},
    object::Content,
};

/// All objects, filed so that a question looks only at what it is about. It starts empty.
#[derive(Debug)]
pub struct Index {
    pub(super) settings: Arc<Settings>,
    pub(super) trust_domain: Arc<str>,
    revision: u64,
    pub(super) files: Files,
    pub(super) journal: Journal,
}

impl Index {
    /// An index without objects.
    pub fn new(settings: Settings) -> Self {
        Self {
            trust_domain: settings.trust_domain.as_str().into(),
            revision: 0,
            files: Files::new(&settings.root_namespace),
            journal: Journal::default(),
            settings: Arc::new(settings),
        }
    }

    /// What the operator says of the mesh.
    pub const fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Grows with each change that may change an answer.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The object of that kind and name.
    pub fn object(&self, key: &ObjectKey) -> Option<Object> {
        self.files.get(key).map(Object)
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.files.count(kind)
    }

    /// Adds an object, or replaces the one of that kind and name. An object that says what was known changes nothing.
    #[expect(clippy::needless_pass_by_value, reason = "the index keeps it")]
    pub fn apply(&mut self, object: Object) {
        let old = self.files.get(&object.key());
        if old.as_ref() != Some(&object.0) {
            self.replace(old.as_ref(), Some(&object.0));
        }
    }

    /// Takes an object away.
    pub fn delete(&mut self, key: &ObjectKey) {
        if let Some(old) = self.files.get(key) {
            self.replace(Some(&old), None);
        }
    }

    /// Takes in all objects of one kind, as a list has them: what is not among them is gone.
    pub fn reset(&mut self, kind: Kind, objects: Vec<Object>) {
        let listed: HashSet<ObjectKey> = objects.iter().map(Object::key).collect();
        let known = self.files.all(kind).into_iter().map(|content| content.key());
        let gone: Vec<ObjectKey> = known.filter(|key| !listed.contains(key)).collect();
        for key in gone {
            self.delete(&key);
        }
        for object in objects {
            self.apply(object);
        }
    }

    /// Replaces what holds for the whole mesh; all that depends on it follows. The DNS domain of Services has to stay:
    /// names of rules were completed with it.
    pub fn set_settings(&mut self, settings: Settings) {
        if *self.settings == settings {
            return;
        }
        if settings.root_namespace != self.settings.root_namespace {
            let mut files = Files::new(&settings.root_namespace);
            let objects = Kind::ALL.iter().flat_map(|kind| self.files.all(*kind));
            objects.for_each(|content| files.add(&content));
            self.files = files;
        }
        self.trust_domain = settings.trust_domain.as_str().into();
        self.settings = Arc::new(settings);
        self.journal.forget();
        self.revision += 1;
    }

    fn replace(&mut self, old: Option<&Content>, new: Option<&Content>) {
        if let Some(old) = old {
            self.note(old, new);
            self.files.remove(old);
        }
        if let Some(new) = new {
            self.files.add(new);
            self.note(new, old);
        }
        self.revision += 1;
    }

    /// Notes what may be different because this object, which is filed, is not the `other` one.
    fn note(&mut self, content: &Content, other: Option<&Content>) {
        match content {
            Content::Namespace(it) if self.settings.captured == Captured::ByWish => {
                self.journal.note(Change::Namespace(it.meta.name.clone()));
            }
            Content::Pod(it) => self.note_pod(it),
            Content::Service(it) => self.note_host(HostRef::Service((&it.meta).into())),
            Content::EndpointSlice(it) => self.note_slice(it, other),
            Content::PeerAuthentication(it) => self.note_policy(&it.meta().namespace),
            Content::DestinationRule(it) if it.sets_tls() => {
                self.journal.note(Change::Hosts(it.host.clone()));
            }
            // A rule without TLS decides nothing. By a namespace each agent enrols its own pods; peers go by the annotation.
            Content::Namespace(_) | Content::DestinationRule(_) => {}
            Content::ServiceEntry(it) => self.note_host(HostRef::Entry((&it.meta).into())),
            Content::WorkloadEntry(it) => self.note_workload_entry(it),
        }
    }

    fn note_pod(&mut self, pod: &Pod) {
        pod.addresses.iter().for_each(|address| self.note_workload_at(address));
    }

    fn note_workload_entry(&mut self, entry: &WorkloadEntry) {
        entry.address.into_iter().for_each(|address| self.note_workload_at(address));
    }

    /// A workload that leaves an address leaves the `ServiceEntry`s that select it.
    fn note_workload_at(&mut self, address: IpAddr) {
        self.journal.note(Change::Address(address));
        for (entry, _) in self.files.service_entries_by_endpoint.get(&address) {
            self.journal.note(Change::Endpoint(HostRef::Entry(entry.clone()), address));
        }
    }

    /// A host, and what may be called by its name.
    fn note_host(&mut self, host: HostRef) {
        for address in self.served_addresses(&host) {
            self.journal.note(Change::Address(address));
        }
        self.journal.note(Change::Host(host));
    }

    fn note_slice(&mut self, slice: &EndpointSlice, other: Option<&Content>) {
        let Some(service) = &slice.service else { return };
        let known = self.files.services.get(&service.namespace, &service.name);
        let headless = known.is_some_and(|service| service.headless);
        let other = match other {
            Some(Content::EndpointSlice(other)) => Some(&**other),
            _ => None,
        };
        for address in slice.addresses_not_as_in(other) {
            self.journal.note(Change::Endpoint(HostRef::Service(service.clone()), address));
            if headless {
                self.journal.note(Change::Address(address));
            }
        }
    }

    /// A policy in the root namespace is for each workload.
    fn note_policy(&mut self, namespace: &Arc<str>) {
        if **namespace == *self.settings.root_namespace {
            self.journal.forget();
        } else {
            self.journal.note(Change::Namespace(namespace.clone()));
        }
    }
}

impl EndpointSlice {
    /// The addresses that the other slice does not have, or not in the same way.
    fn addresses_not_as_in<'a>(&'a self, other: Option<&'a Self>) -> impl Iterator<Item = IpAddr> + 'a {
        let other =
            other.filter(|it| (&it.service, &it.ports, it.ipv6) == (&self.service, &self.ports, self.ipv6));
        let known = other.map_or(&[][..], Self::endpoints);
        let new = self.endpoints().iter().filter(|endpoint| known.binary_search(endpoint).is_err());
        new.map(|endpoint| endpoint.address)
    }
}
