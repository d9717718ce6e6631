//! `ServiceEntry`s, `WorkloadEntry`s, and who serves whom.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use culvert_policy::{Labels, selects};

use super::{Files, Member};
use crate::cluster::{
    host::HostRef,
    model::{Endpoints, NamespacedName, ServiceEntry, WorkloadEntry},
};

impl Files {
    pub(super) fn file_workload_entry(&mut self, entry: &WorkloadEntry) {
        if let Some(address) = entry.address {
            self.workload_entries_by_address.insert(address, (&entry.meta).into());
            let member = Member::WorkloadEntry(entry.meta.name.clone());
            self.join(&entry.meta.namespace, &entry.labels, address, &member);
        }
    }

    pub(super) fn unfile_workload_entry(&mut self, entry: &WorkloadEntry) {
        if let Some(address) = entry.address {
            self.workload_entries_by_address.remove(address, &(&entry.meta).into());
            let member = Member::WorkloadEntry(entry.meta.name.clone());
            self.part(&entry.meta.namespace, address, &member);
        }
    }

    pub(super) fn file_service_entry(&mut self, entry: &ServiceEntry) {
        let reference = NamespacedName::from(&entry.meta);
        for address in &entry.addresses {
            self.hosts_by_address.insert(*address, HostRef::Entry(reference.clone()));
        }
        for address in entry.listed().iter().filter_map(|endpoint| endpoint.address) {
            self.service_entries_by_endpoint.insert(address, (reference.clone(), Member::Listed));
        }
        if matches!(entry.endpoints, Endpoints::Selected(_)) {
            self.selecting.insert(reference.namespace.clone(), reference.name.clone());
            for (address, member) in self.selected(entry) {
                self.add_member(reference.clone(), address, member);
            }
        }
    }

    pub(super) fn unfile_service_entry(&mut self, entry: &ServiceEntry) {
        let reference = NamespacedName::from(&entry.meta);
        for address in &entry.addresses {
            self.hosts_by_address.remove(*address, &HostRef::Entry(reference.clone()));
        }
        for address in entry.listed().iter().filter_map(|endpoint| endpoint.address) {
            self.service_entries_by_endpoint.remove(address, &(reference.clone(), Member::Listed));
        }
        self.selecting.remove(reference.namespace.clone(), &reference.name);
        let members: BTreeSet<_> = self.members.get(&reference).cloned().collect();
        for (address, member) in members {
            self.members.remove(reference.clone(), &(address, member.clone()));
            self.service_entries_by_endpoint.remove(address, &(reference.clone(), member));
        }
    }

    /// Makes a workload a member of each `ServiceEntry` that selects it.
    pub(super) fn join(&mut self, namespace: &Arc<str>, labels: &Labels, address: IpAddr, member: &Member) {
        let selecting: Vec<Arc<str>> = self.selecting.get(namespace).cloned().collect();
        for name in selecting {
            let entry = self.service_entries.get(namespace, &name);
            if entry.is_some_and(|entry| entry.selects(labels)) {
                self.add_member(
                    NamespacedName { namespace: namespace.clone(), name },
                    address,
                    member.clone(),
                );
            }
        }
    }

    /// Ends its memberships.
    pub(super) fn part(&mut self, namespace: &Arc<str>, address: IpAddr, member: &Member) {
        let selecting: Vec<Arc<str>> = self.selecting.get(namespace).cloned().collect();
        for name in selecting {
            let entry = NamespacedName { namespace: namespace.clone(), name };
            self.service_entries_by_endpoint.remove(address, &(entry.clone(), member.clone()));
            self.members.remove(entry, &(address, member.clone()));
        }
    }

    fn add_member(&mut self, entry: NamespacedName, address: IpAddr, member: Member) {
        self.service_entries_by_endpoint.insert(address, (entry.clone(), member.clone()));
        self.members.insert(entry, (address, member));
    }

    fn selected(&self, entry: &ServiceEntry) -> Vec<(IpAddr, Member)> {
        let namespace = &entry.meta.namespace;
        let pods = self.pods.of(namespace).filter(|pod| pod.is_peer() && entry.selects(&pod.labels));
        let of_pods = pods.flat_map(|pod| {
            pod.addresses.iter().map(|address| (address, Member::Pod(pod.meta.name.clone())))
        });
        let entries = self.workload_entries.of(namespace).filter(|it| entry.selects(&it.labels));
        let of_entries =
            entries.filter_map(|it| Some((it.address?, Member::WorkloadEntry(it.meta.name.clone()))));
        of_pods.chain(of_entries).collect()
    }
}

impl ServiceEntry {
    /// Whether a workload of its namespace with these labels serves it.
    fn selects(&self, labels: &Labels) -> bool {
        matches!(&self.endpoints, Endpoints::Selected(selector) if selects(selector, labels))
    }
}
