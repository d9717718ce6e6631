//! All `PeerAuthentication`s of a mesh, and what they mean for one workload.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{Labels, Meta, Mode, PeerAuthentication, PortModes};

/// The policies in force, by namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAuthentications {
    root_namespace: Arc<str>,
    /// Within a namespace, in the order in which they win.
    namespaces: HashMap<Arc<str>, BTreeMap<Meta, PeerAuthentication>>,
}

impl PeerAuthentications {
    /// None yet; policies without a selector in `root_namespace` will be the mesh's.
    pub fn new(root_namespace: &str) -> Self {
        Self { root_namespace: root_namespace.into(), namespaces: HashMap::new() }
    }

    /// Adds a policy, or replaces the one of that name.
    pub fn insert(&mut self, policy: PeerAuthentication) {
        let meta = policy.meta().clone();
        self.remove(&meta.namespace, &meta.name);
        self.namespaces.entry(meta.namespace.clone()).or_default().insert(meta, policy);
    }

    /// Takes a policy away.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(policies) = self.namespaces.get_mut(namespace) {
            policies.retain(|meta, _| !meta.is_named(namespace, name));
            if policies.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }

    /// The modes of the workload of that namespace with these labels.
    pub fn port_modes(&self, namespace: &str, labels: &Labels) -> PortModes {
        let inherited = self.namespace_mode(namespace);
        self.workload_policy(namespace, labels)
            .map_or(PortModes::all(inherited), |policy| policy.port_modes(inherited))
    }

    fn namespace_mode(&self, namespace: &str) -> Mode {
        let mesh = self
            .wide_policy(&self.root_namespace)
            .map_or(Mode::default(), |it| it.mode().or(Mode::default()));
        self.wide_policy(namespace).map_or(mesh, |policy| policy.mode().or(mesh))
    }

    fn wide_policy(&self, namespace: &str) -> Option<&PeerAuthentication> {
        self.of_namespace(namespace).find(|policy| policy.is_wide())
    }

    fn workload_policy(&self, namespace: &str, labels: &Labels) -> Option<&PeerAuthentication> {
        // Istio ignores selectors in the root namespace: a policy there is the mesh's or nobody's.
        if *namespace == *self.root_namespace {
            return None;
        }
        self.of_namespace(namespace).find(|policy| policy.is_for(labels))
    }

    fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &PeerAuthentication> {
        self.namespaces.get(namespace).into_iter().flat_map(BTreeMap::values)
    }
}

#[cfg(test)]
mod tests;
