//! All objects, under one counter of versions as in etcd, with the changes that watches resume from.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use serde_json::Value;
use tokio::sync::watch;

use super::{applied::Applied, list::Snapshots, resources::Resource, status::ApiError, stored::Stored};

/// How many changes of a resource a watch can catch up on.
const HISTORY: usize = 50_000;

/// The objects of a cluster.
pub(super) struct Store {
    version: u64,
    compacted: u64,
    collections: HashMap<&'static str, Collection>,
    /// Lists that are being read in pages.
    pub(super) snapshots: Snapshots,
    pub(super) applied: Applied,
}

/// The objects of one resource.
struct Collection {
    /// By `namespace/name`, as etcd orders them.
    objects: BTreeMap<String, Arc<Stored>>,
    changes: VecDeque<Change>,
    /// The last version whose change is no longer in `changes`.
    forgotten: u64,
    /// Those that are served; none while a CRD is away.
    served: Vec<&'static str>,
    news: watch::Sender<u64>,
}

/// What happened to one object.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) before: Option<Arc<Stored>>,
    pub(super) after: After,
}

/// What became of an object.
#[derive(Clone)]
pub(super) enum After {
    Kept(Arc<Stored>),
    /// Its last state, with the version of its deletion.
    Deleted(Arc<Stored>),
}

impl Store {
    pub(super) fn new() -> Self {
        let collections = Resource::all().map(|resource| (resource.plural, Collection::new(resource)));
        Self {
            version: 1,
            compacted: 0,
            collections: collections.collect(),
            snapshots: Snapshots::default(),
            applied: Applied::default(),
        }
    }

    /// The version of the last change to anything.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.collection(resource).objects.get(&path(namespace, name)).cloned()
    }

    /// The objects of a namespace or, without one, of all.
    pub(super) fn all(&self, resource: &Resource, namespace: Option<&str>) -> Vec<Arc<Stored>> {
        let objects = &self.collection(resource).objects;
        let Some(namespace) = namespace else { return objects.values().cloned().collect() };
        let prefix = path(namespace, "");
        let within = objects.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        within.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Adds or replaces an object, which gets the next version; none if it has no name.
    pub(super) fn set(&mut self, resource: &'static Resource, object: Value) -> Option<Arc<Stored>> {
        let object = Arc::new(Stored::new(resource, object, self.version + 1)?);
        self.version += 1;
        let collection = self.collection_mut(resource);
        let path = path(&object.namespace, &object.name);
        let before = collection.objects.insert(path, Arc::clone(&object));
        let after = After::Kept(Arc::clone(&object));
        collection.record(Change { version: object.version, before, after });
        Some(object)
    }

    pub(super) fn remove(
        &mut self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Stored>> {
        let version = self.version + 1;
        let collection = self.collection_mut(resource);
        let before = collection.objects.remove(&path(namespace, name))?;
        let last = Arc::new(Stored::new(resource, before.value(), version).expect("it had a name"));
        let after = After::Deleted(Arc::clone(&last));
        collection.record(Change { version, before: Some(before), after });
        self.version = version;
        Some(last)
    }

    /// At most `limit` changes of a resource after a version, oldest first.
    pub(super) fn changes(
        &self,
        resource: &Resource,
        since: u64,
        limit: usize,
    ) -> Result<Vec<Change>, ApiError> {
        let collection = self.collection(resource);
        let oldest = self.compacted.max(collection.forgotten);
        if since < oldest {
            return Err(ApiError::too_old(since, oldest));
        }
        let first = collection.changes.partition_point(|change| change.version <= since);
        Ok(collection.changes.range(first..).take(limit).cloned().collect())
    }

    /// Tells of each change to a resource.
    pub(super) fn news(&self, resource: &Resource) -> watch::Receiver<u64> {
        self.collection(resource).news.subscribe()
    }

    /// Forgets all history, as etcd does every five minutes; other clients have written since the last change.
    pub(super) fn compact(&mut self) {
        self.version += 1;
        self.compacted = self.version;
        self.snapshots = Snapshots::default();
        self.collections.values_mut().for_each(|collection| collection.changes.clear());
    }

    /// The versions of a resource that are served, the preferred one first.
    pub(super) fn served(&self, resource: &Resource) -> &[&'static str] {
        &self.collection(resource).served
    }

    /// Serves a resource in these versions from here on.
    pub(super) fn serve(&mut self, resource: &Resource, versions: Vec<&'static str>) {
        self.collection_mut(resource).served = versions;
    }

    fn collection(&self, resource: &Resource) -> &Collection {
        &self.collections[resource.plural]
    }

    fn collection_mut(&mut self, resource: &Resource) -> &mut Collection {
        self.collections.get_mut(resource.plural).expect("each resource has a collection")
    }
}

impl Collection {
    fn new(resource: &'static Resource) -> Self {
        Self {
            objects: BTreeMap::new(),
            changes: VecDeque::new(),
            forgotten: 0,
            served: resource.versions.to_vec(),
            news: watch::Sender::new(0),
        }
    }

    fn record(&mut self, change: Change) {
        let version = change.version;
        self.changes.push_back(change);
        if self.changes.len() > HISTORY
            && let Some(oldest) = self.changes.pop_front()
        {
            self.forgotten = oldest.version;
        }
        self.news.send_replace(version);
    }
}

fn path(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}
