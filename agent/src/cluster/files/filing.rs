//! Kubernetes' own objects, by what is asked about them.

use std::sync::Arc;

use super::{Files, Member};
use crate::cluster::{
    host::HostRef,
    model::{EndpointSlice, Pod, Service},
};

impl Files {
    pub(super) fn file_pod(&mut self, pod: &Pod) {
        if let Some(node) = &pod.node {
            self.pods_by_node.insert(node.clone(), pod.reference());
        }
        if pod.is_peer() {
            let member = Member::Pod(pod.meta.name.clone());
            for address in pod.addresses.iter() {
                self.pods_by_address.insert(address, pod.reference());
                self.join(&pod.meta.namespace, &pod.labels, address, &member);
            }
        }
    }

    pub(super) fn unfile_pod(&mut self, pod: &Pod) {
        if let Some(node) = &pod.node {
            self.pods_by_node.remove(node.clone(), &pod.reference());
        }
        let member = Member::Pod(pod.meta.name.clone());
        for address in pod.addresses.iter() {
            self.pods_by_address.remove(address, &pod.reference());
            self.part(&pod.meta.namespace, address, &member);
        }
    }

    pub(super) fn file_service(&mut self, service: &Service) {
        for address in &service.addresses {
            self.hosts_by_address.insert(*address, HostRef::Service((&service.meta).into()));
        }
    }

    pub(super) fn unfile_service(&mut self, service: &Service) {
        for address in &service.addresses {
            self.hosts_by_address.remove(*address, &HostRef::Service((&service.meta).into()));
        }
    }

    pub(super) fn file_slice(&mut self, slice: &Arc<EndpointSlice>) {
        let Some(service) = &slice.service else { return };
        self.backends.entry(service.clone()).or_default().insert(slice);
        for endpoint in slice.endpoints() {
            self.slices_by_address.insert(endpoint.address, (&slice.meta).into());
        }
    }

    pub(super) fn unfile_slice(&mut self, slice: &EndpointSlice) {
        let Some(service) = &slice.service else { return };
        for endpoint in slice.endpoints() {
            self.slices_by_address.remove(endpoint.address, &(&slice.meta).into());
        }
        if let Some(backends) = self.backends.get_mut(service) {
            backends.remove(slice);
            if backends.is_empty() {
                self.backends.remove(service);
            }
        }
    }
}
