//! From what changed to what has to be looked at.

use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use crate::cluster::{
    Index,
    backends::Backends,
    changes::Change,
    host::HostRef,
    model::{EndpointSlice, Endpoints},
};

/// What has to be looked at.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) addresses: HashSet<IpAddr>,
    pub(super) hosts: HashSet<HostRef>,
    pub(super) endpoints: HashSet<(HostRef, IpAddr)>,
}

impl Work {
    pub(super) fn of<'a>(index: &Index, changes: impl Iterator<Item = &'a Change>) -> Self {
        let mut work = Self::default();
        // A namespace or a pattern may have changed many times, and is dear.
        let changes: HashSet<&Change> = changes.collect();
        for change in changes {
            match change {
                Change::Address(address) => work.address(index, *address),
                Change::Endpoint(host, address) => drop(work.endpoints.insert((host.clone(), *address))),
                Change::Host(host) => drop(work.hosts.insert(host.clone())),
                Change::Hosts(pattern) => {
                    index.hosts_called(pattern).into_iter().for_each(|host| work.host(index, host));
                }
                Change::Namespace(namespace) => work.namespace(index, namespace),
            }
        }
        work
    }

    /// An address, and the hosts that it serves.
    fn address(&mut self, index: &Index, address: IpAddr) {
        if !self.addresses.insert(address) {
            return;
        }
        let files = &index.files;
        let slices = files.slices_by_address.get(&address);
        let slices = slices.filter_map(|it| files.slices.get(&it.namespace, &it.name));
        let services = slices.filter_map(|slice| slice.service.clone().map(HostRef::Service));
        let entries = files.service_entries_by_endpoint.get(&address);
        let entries = entries.map(|(entry, _)| HostRef::Entry(entry.clone()));
        // The endpoint of a host without endpoints is whoever has its address.
        let own = files.hosts_by_address.get(&address).filter(|it| matches!(it, HostRef::Entry(_))).cloned();
        self.endpoints.extend(services.chain(entries).chain(own).map(|host| (host, address)));
    }

    /// A host, and the addresses that may be called by its name.
    fn host(&mut self, index: &Index, host: HostRef) {
        for address in index.served_addresses(&host) {
            self.address(index, address);
        }
        self.hosts.insert(host);
    }

    fn namespace(&mut self, index: &Index, namespace: &str) {
        let files = &index.files;
        let pods = files.pods.of(namespace).flat_map(|pod| pod.addresses.iter());
        let entries = files.workload_entries.of(namespace).filter_map(|entry| entry.address);
        pods.chain(entries).for_each(|address| self.address(index, address));
        for entry in files.service_entries.of(namespace) {
            self.host(index, HostRef::Entry((&entry.meta).into()));
        }
    }
}

impl Index {
    /// The addresses that count as a host's where they are called directly.
    pub(in crate::cluster) fn served_addresses(&self, host: &HostRef) -> BTreeSet<IpAddr> {
        match host {
            HostRef::Service(name) => {
                let service = self.files.services.get(&name.namespace, &name.name);
                let headless = service.filter(|service| service.headless);
                let slices = headless.and_then(|_| self.files.backends.get(name));
                let slices = slices.into_iter().flat_map(Backends::slices);
                slices.flat_map(EndpointSlice::endpoints).map(|endpoint| endpoint.address).collect()
            }
            HostRef::Entry(name) => {
                let entry = self.files.service_entries.get(&name.namespace, &name.name);
                match entry.map(|entry| &entry.endpoints) {
                    None | Some(Endpoints::Origin) => BTreeSet::new(),
                    Some(Endpoints::Listed(all)) => all.iter().filter_map(|it| it.address).collect(),
                    Some(Endpoints::Selected(_)) => self.files.members.get(name).map(|(it, _)| *it).collect(),
                }
            }
        }
    }
}
