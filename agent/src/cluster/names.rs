//! What a client means by a name.

use std::iter;

use super::{
    Index,
    backends::Backends,
    model::{Endpoint, EndpointSlice, NamespacedName, Service, ServiceEntry},
    workload::Workload,
};

/// Whom a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Named<'a> {
    Service(&'a Service),
    /// One pod of a headless Service, by its own name.
    Member(&'a Service, String),
    Entry(&'a ServiceEntry),
}

impl Index {
    /// Whom a client of a namespace reaches by a name, and that name in full. Short names are completed as the resolver
    /// of a pod does it (Kubernetes, "DNS for Services and Pods", `search`).
    pub(super) fn named<'a>(&'a self, client_namespace: &str, name: &str) -> Option<(String, Named<'a>)> {
        let name = name.to_ascii_lowercase();
        let candidates = self.completions(client_namespace, &name);
        candidates.into_iter().find_map(|full| {
            let named = self.in_cluster(&full).or_else(|| self.entry_called(client_namespace, &full))?;
            Some((full, named))
        })
    }

    fn completions(&self, client_namespace: &str, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let domain = &self.settings.cluster_domain;
        let search = [format!("{client_namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        search.iter().map(|suffix| format!("{name}.{suffix}")).chain(iter::once(name.to_owned())).collect()
    }

    fn in_cluster(&self, full: &str) -> Option<Named<'_>> {
        let name = full.strip_suffix(&*self.settings.cluster_domain)?.strip_suffix(".svc.")?;
        let labels: Vec<&str> = name.split('.').collect();
        match labels[..] {
            [service, namespace] => Some(Named::Service(self.service(namespace, service)?)),
            [member, service, namespace] => {
                let service = self.service(namespace, service).filter(|service| service.headless)?;
                let mut endpoints = self.slices_of(service).flat_map(EndpointSlice::endpoints);
                let is_there = endpoints.any(|endpoint| self.is_called(endpoint, member));
                is_there.then(|| Named::Member(service, member.to_owned()))
            }
            _ => None,
        }
    }

    fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.files.services.get(namespace, name).map(|service| &**service)
    }

    /// Whether a pod's own name stands for an endpoint: that of a `StatefulSet` is its host name too.
    pub(super) fn is_called(&self, endpoint: &Endpoint, pod: &str) -> bool {
        let at = || self.workload_at(endpoint.address).and_then(Workload::pod);
        endpoint.pod.clone().or_else(at).is_some_and(|it| *it.name == *pod)
    }

    pub(super) fn slices_of(&self, service: &Service) -> impl Iterator<Item = &EndpointSlice> {
        let backends = self.files.backends.get(&NamespacedName::from(&service.meta));
        backends.into_iter().flat_map(Backends::slices)
    }

    /// The `ServiceEntry` for a host: of several, one that names it beats one with a wildcard, and then the oldest.
    fn entry_called(&self, client_namespace: &str, host: &str) -> Option<Named<'_>> {
        let known =
            self.files.service_entries.iter().filter(|entry| entry.export_to.includes(client_namespace));
        let called = known.filter_map(|entry| Some((entry.wildcards_for(host)?, entry)));
        let first = called.min_by_key(|(wildcards, entry)| (*wildcards, &entry.meta));
        first.map(|(_, entry)| Named::Entry(entry))
    }
}

impl ServiceEntry {
    /// Whether it takes a wildcard for one of its hosts to be this one; none where none of them is.
    fn wildcards_for(&self, host: &str) -> Option<bool> {
        let covers = |pattern: &str| pattern.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix));
        if self.hosts.iter().any(|own| **own == *host) {
            Some(false)
        } else {
            self.hosts.iter().any(|own| covers(own)).then_some(true)
        }
    }
}
