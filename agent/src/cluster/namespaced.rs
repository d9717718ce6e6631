//! Objects of one kind, by namespace and name.

use std::{collections::HashMap, sync::Arc};

/// A map from namespace and name to an object; a namespace without objects is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Namespaced<T> {
    namespaces: HashMap<Arc<str>, HashMap<Arc<str>, Arc<T>>>,
}

impl<T> Namespaced<T> {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.namespaces.get(namespace)?.get(name)
    }

    pub(super) fn insert(&mut self, namespace: Arc<str>, name: Arc<str>, object: Arc<T>) {
        self.namespaces.entry(namespace).or_default().insert(name, object);
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(objects) = self.namespaces.get_mut(namespace) {
            objects.remove(name);
            if objects.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// Those of one namespace, in no order.
    pub(super) fn of(&self, namespace: &str) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.get(namespace).into_iter().flat_map(HashMap::values)
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.values().flat_map(HashMap::values)
    }

    pub(super) fn len(&self) -> usize {
        self.namespaces.values().map(HashMap::len).sum()
    }
}

impl<T> Default for Namespaced<T> {
    fn default() -> Self {
        Self { namespaces: HashMap::new() }
    }
}
