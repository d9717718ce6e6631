//! Objects as a test puts them there, without a client.

use anyhow::{Context, bail};
use serde_json::Value;

use super::{
    ApiServer,
    faults::WatchFault,
    patch::Patch,
    resources::Resource,
    stored::{Head, Stored},
    write::{Address, Author, Preconditions},
};

/// The field manager of what a test applies.
const MANAGER: &str = "test";

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    /// The resource's plural.
    pub resource: &'static str,
    /// Empty for what lives in none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectId {
    /// Reads it off an object; what names no namespace is in `default`.
    pub fn of(object: &Value) -> anyhow::Result<Self> {
        let resource = Resource::of(object)
            .with_context(|| format!("no resource for {} {}", object["apiVersion"], object["kind"]))?;
        let metadata = &object["metadata"];
        let namespace = match metadata["namespace"].as_str() {
            _ if !resource.namespaced => "",
            Some(namespace) => namespace,
            None => "default",
        };
        let name =
            metadata["name"].as_str().with_context(|| format!("a {} without a name", resource.kind))?;
        Ok(Self { resource: resource.plural, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl ApiServer {
    /// Adds an object or brings it to what is wanted, as `kubectl apply --server-side` does: fields that others
    /// have written stay, what was applied before and is no longer wanted goes. Unlike a client it may give a UID
    /// (another UID than before makes it a new object), a time of creation and a status. Returns its version, which
    /// is the old one if there was nothing to change.
    pub fn apply(&self, object: &Value) -> anyhow::Result<u64> {
        let id = ObjectId::of(object)?;
        let (resource, namespace, name) = (resource(id.resource)?, id.namespace.as_str(), id.name.as_str());
        let at = Address { resource, namespace, name, subresource: None };
        let uid = object["metadata"]["uid"].as_str();
        let written = self.shared.write(Author::Test, |writer| {
            let other = writer
                .store
                .get(resource, namespace, name)
                .is_some_and(|current| uid.is_some_and(|wanted| wanted != current.uid));
            if other {
                writer.delete(at, &Preconditions::default())?;
            }
            writer.patch(at, &Patch::Apply(object.clone()), MANAGER)
        });
        Ok(written.with_context(|| format!("{} {namespace}/{name}", resource.kind))?.version)
    }

    /// Applies each document of a text in YAML.
    pub fn apply_yaml(&self, yaml: &str) -> anyhow::Result<()> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).context("no YAML")?;
        objects.iter().try_for_each(|object| self.apply(object).map(drop))
    }

    /// Adds or replaces many objects as they are, unchecked but for their name, with an event each: what a large
    /// cluster begins with, and what no API server would let in.
    pub fn load(&self, objects: impl IntoIterator<Item = Value>) -> anyhow::Result<()> {
        for object in objects {
            let resource = Resource::of(&object).context("an object of an unknown kind")?;
            self.put_raw(resource.plural, object)?;
        }
        Ok(())
    }

    /// Adds or replaces one object as it is, unchecked but for its name. Returns its version.
    pub fn put_raw(&self, plural: &str, object: Value) -> anyhow::Result<u64> {
        let resource = resource(plural)?;
        let written = self.shared.store().set(resource, object);
        Ok(written.context("an object without a name")?.version)
    }

    /// Changes an object; returns its version.
    pub fn edit(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> anyhow::Result<u64> {
        let at = Address { resource: resource(plural)?, namespace, name, subresource: None };
        let written = self.shared.write(Author::Test, |writer| {
            let mut object = writer.current(at)?.value();
            change(&mut object);
            writer.update(at, object)
        });
        Ok(written?.version)
    }

    /// Removes an object, and with a namespace all that is in it.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> anyhow::Result<()> {
        let at = Address { resource: resource(plural)?, namespace, name, subresource: None };
        self.shared.write(Author::Test, |writer| writer.delete(at, &Preconditions::default()))?;
        Ok(())
    }

    /// An object as it is now.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let resource = resource(plural).ok()?;
        self.shared.store().get(resource, namespace, name).map(|object| whole(resource, &object))
    }

    /// All objects of a resource.
    pub fn list(&self, plural: &str) -> Vec<Value> {
        let Ok(resource) = resource(plural) else { return Vec::new() };
        self.shared.store().all(resource, None).iter().map(|object| whole(resource, object)).collect()
    }

    /// The version of the last change to anything.
    pub fn version(&self) -> u64 {
        self.shared.store().version()
    }

    /// Serves a custom resource in these versions from here on, the preferred one first. With none its CRD is
    /// gone, and its objects with it.
    pub fn serve(&self, plural: &str, versions: &[&str]) -> anyhow::Result<()> {
        let resource = resource(plural)?;
        if !resource.custom {
            bail!("{plural} are always served");
        }
        let known = |version: &&str| resource.versions.iter().copied().find(|known| known == version);
        let served: Option<Vec<_>> = versions.iter().map(known).collect();
        let served = served.with_context(|| format!("{plural} has the versions {:?}", resource.versions))?;
        let mut store = self.shared.store();
        if served.is_empty() {
            for object in store.all(resource, None) {
                store.remove(resource, &object.namespace, &object.name);
            }
        }
        store.serve(resource, served);
        drop(store);
        self.shared.faults.disturb(plural.into(), WatchFault::End);
        Ok(())
    }
}

fn resource(plural: &str) -> anyhow::Result<&'static Resource> {
    Resource::all().find(|it| it.plural == plural).with_context(|| format!("no resource {plural}"))
}

fn whole(resource: &Resource, object: &Stored) -> Value {
    let head = Head::new(resource, resource.versions[0]);
    serde_json::from_slice(&object.bytes(&head)).expect("what was written from a value can be read")
}
