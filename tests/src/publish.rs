//! The machine's objects in an API server.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use serde_json::Value;

use crate::apiserver::{ApiServer, ObjectId};

/// An API server that is told what the manifests say.
pub(crate) struct Publisher {
    server: ApiServer,
    /// By the name of the file that has them.
    published: Mutex<BTreeMap<String, BTreeSet<ObjectId>>>,
}

impl Publisher {
    pub(crate) fn new(server: &ApiServer) -> Self {
        Self { server: server.clone(), published: Mutex::default() }
    }

    pub(crate) const fn server(&self) -> &ApiServer {
        &self.server
    }

    /// Applies a file's objects, and removes those that it no longer has. What others wrote to them stays; a
    /// namespace stays as well, for what others have put in it.
    pub(crate) fn write(&self, file: &str, objects: &[Value]) -> anyhow::Result<()> {
        for object in objects {
            self.server.apply(object).with_context(|| format!("manifest {file}"))?;
        }
        let now: BTreeSet<_> = objects.iter().map(ObjectId::of).collect::<anyhow::Result<_>>()?;
        let before = self.files().insert(file.to_owned(), now.clone()).unwrap_or_default();
        self.remove_all(before.difference(&now))
    }

    /// Removes what a file has.
    pub(crate) fn remove(&self, file: &str) -> anyhow::Result<()> {
        let objects = self.files().remove(file).with_context(|| format!("manifest {file} is not there"))?;
        self.remove_all(&objects)
    }

    fn remove_all<'a>(&self, objects: impl IntoIterator<Item = &'a ObjectId>) -> anyhow::Result<()> {
        let mut objects = objects.into_iter().filter(|object| object.resource != "namespaces");
        objects.try_for_each(|object| self.server.delete(object.resource, &object.namespace, &object.name))
    }

    fn files(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeSet<ObjectId>>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
