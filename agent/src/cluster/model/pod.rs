//! Pods.

use std::{net::IpAddr, sync::Arc};

use culvert_policy::{Labels, Meta, PeerStatus, announced_status, capture_wish, is_captured};
use k8s_openapi::api::core::v1 as k8s;

use super::{Invalid, address, namespaced};
use crate::cluster::PodRef;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Pod {
    pub(in super::super) meta: Meta,
    pub(in super::super) uid: Arc<str>,
    pub(in super::super) labels: Labels,
    /// What its labels say about capture.
    pub(in super::super) wish: Option<bool>,
    /// What it can speak, by what is written on it.
    pub(in super::super) announced: PeerStatus,
    /// Whether its agent's word that it is captured is written on it.
    pub(in super::super) captured: bool,
    pub(in super::super) service_account: Arc<str>,
    pub(in super::super) node: Option<Arc<str>>,
    pub(in super::super) host_network: bool,
    pub(in super::super) running: bool,
    /// None of its containers will run again.
    pub(in super::super) ended: bool,
    /// At most one of each family.
    pub(in super::super) addresses: Vec<IpAddr>,
}

/// The service account of a pod that names none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

impl Pod {
    pub(in super::super) fn reference(&self) -> PodRef {
        PodRef { namespace: self.meta.namespace.clone(), name: self.meta.name.clone() }
    }

    /// Whether others can reach it at an address that is its own: a pod in the node's network has none.
    pub(in super::super) const fn is_peer(&self) -> bool {
        self.running && !self.host_network && !self.addresses.is_empty()
    }
}

impl TryFrom<k8s::Pod> for Pod {
    type Error = Invalid;

    fn try_from(pod: k8s::Pod) -> Result<Self, Invalid> {
        let meta = namespaced(&pod.metadata)?;
        let labels = pod.metadata.labels.unwrap_or_default();
        let annotations = pod.metadata.annotations.unwrap_or_default();
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let service_account = spec.service_account_name.filter(|name| !name.is_empty());
        Ok(Self {
            meta,
            uid: pod.metadata.uid.unwrap_or_default().into(),
            wish: capture_wish(&labels),
            announced: announced_status(&labels, &annotations),
            captured: is_captured(&annotations),
            labels,
            service_account: service_account.as_deref().unwrap_or(DEFAULT_SERVICE_ACCOUNT).into(),
            node: spec.node_name.map(Arc::from),
            host_network: spec.host_network.unwrap_or_default(),
            running: status.phase.as_deref() == Some("Running"),
            ended: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            addresses: addresses(&status)?,
        })
    }
}

fn addresses(status: &k8s::PodStatus) -> Result<Vec<IpAddr>, Invalid> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (field, text) in written_addresses(status) {
        let found = address(field, text)?;
        if !addresses.iter().any(|known| known.is_ipv4() == found.is_ipv4()) {
            addresses.push(found);
        }
    }
    Ok(addresses)
}

/// `podIPs`, or `podIP` where an old client wrote only that.
fn written_addresses(status: &k8s::PodStatus) -> Vec<(String, &str)> {
    match (&status.pod_ips, &status.pod_ip) {
        (Some(all), _) => {
            let field = |at| format!("status.podIPs[{at}].ip");
            all.iter().enumerate().map(|(at, pod_ip)| (field(at), pod_ip.ip.as_str())).collect()
        }
        (None, Some(one)) if !one.is_empty() => vec![("status.podIP".to_owned(), one)],
        (None, _) => Vec::new(),
    }
}
