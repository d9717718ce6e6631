//! All `PeerAuthentication`s of a mesh, and what they mean for one workload.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{Labels, Meta, PeerAuthentication, PortModes, Ruling, Scope};

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
        let scopes = self.scopes(namespace, labels);
        let default = scopes.ruling(None).mode;
        let listed = scopes.workload.into_iter().flat_map(PeerAuthentication::ports);
        let modes = listed.map(|port| (port, scopes.ruling(Some(port)).mode));
        PortModes { default, ports: modes.filter(|(_, mode)| *mode != default).collect() }
    }

    /// The mode of one container port of that workload, and where it comes from; without a port, of those that no
    /// policy lists.
    pub fn ruling(&self, namespace: &str, labels: &Labels, port: Option<u16>) -> Ruling<'_> {
        self.scopes(namespace, labels).ruling(port)
    }

    fn scopes(&self, namespace: &str, labels: &Labels) -> Scopes<'_> {
        let is_root = *namespace == *self.root_namespace;
        Scopes {
            // Istio ignores selectors in the root namespace: a policy there is the mesh's or nobody's.
            workload: if is_root { None } else { self.workload_policy(namespace, labels) },
            namespace: if is_root { None } else { self.wide_policy(namespace) },
            mesh: self.wide_policy(&self.root_namespace),
        }
    }

    fn wide_policy(&self, namespace: &str) -> Option<&PeerAuthentication> {
        self.of_namespace(namespace).find(|policy| policy.is_wide())
    }

    fn workload_policy(&self, namespace: &str, labels: &Labels) -> Option<&PeerAuthentication> {
        self.of_namespace(namespace).find(|policy| policy.is_for(labels))
    }

    fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &PeerAuthentication> {
        self.namespaces.get(namespace).into_iter().flat_map(BTreeMap::values)
    }
}

/// The policy that wins in each scope of one workload.
struct Scopes<'a> {
    workload: Option<&'a PeerAuthentication>,
    namespace: Option<&'a PeerAuthentication>,
    mesh: Option<&'a PeerAuthentication>,
}

impl<'a> Scopes<'a> {
    /// The narrowest mode that is set.
    fn ruling(&self, port: Option<u16>) -> Ruling<'a> {
        let of_port = self.workload.zip(port).map(|(policy, port)| (policy, policy.port_mode(port)));
        let whole = |policy: &'a PeerAuthentication| (policy, policy.mode());
        let settings = [
            (Scope::Port, of_port),
            (Scope::Workload, self.workload.map(whole)),
            (Scope::Namespace, self.namespace.map(whole)),
            (Scope::Mesh, self.mesh.map(whole)),
        ];
        let mut set = settings.into_iter().filter_map(|(scope, setting)| {
            let (policy, mode) = setting?;
            Some(Ruling { mode: mode.set()?, source: Some((scope, policy.meta())) })
        });
        set.next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
