//! Pods.

use std::sync::Arc;

use culvert_policy::{Labels, Meta, PeerStatus, announced_status, capture_wish, is_captured};
use serde::Deserialize;

use super::{Addresses, DEFAULT_SERVICE_ACCOUNT, Invalid};
use crate::cluster::{
    PodRef,
    fields::{Address, AllLabels, Document, Text},
    intern,
};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Pod {
    pub(in crate::cluster) meta: Meta,
    pub(in crate::cluster) uid: Arc<str>,
    pub(in crate::cluster) labels: Labels,
    /// What its labels say about capture.
    pub(in crate::cluster) wish: Option<bool>,
    /// What it can speak, by what is written on it.
    pub(in crate::cluster) announced: PeerStatus,
    /// Whether its agent's word that it is captured is written on it.
    pub(in crate::cluster) captured: bool,
    pub(in crate::cluster) service_account: Arc<str>,
    pub(in crate::cluster) node: Option<Arc<str>>,
    pub(in crate::cluster) host_network: bool,
    pub(in crate::cluster) phase: Phase,
    pub(in crate::cluster) addresses: Addresses,
}

/// `status.phase`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Phase {
    /// Not running yet, or nobody knows.
    Other,
    /// Running.
    Running,
    /// None of its containers will run again.
    Ended,
}

/// A pod as it is written.
pub(in crate::cluster) type PodFields = Document<Spec, Status, AllLabels>;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cluster) struct Spec {
    node_name: Option<Text>,
    service_account_name: Option<Text>,
    host_network: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::cluster) struct Status {
    phase: Option<Text>,
    #[serde(rename = "podIP")]
    pod_ip: Option<Address>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PodIp {
    ip: Address,
}

impl Pod {
    pub(in crate::cluster) fn reference(&self) -> PodRef {
        PodRef { namespace: self.meta.namespace.clone(), name: self.meta.name.clone() }
    }

    /// Whether others can reach it at an address that is its own: a pod in the node's network has none.
    pub(in crate::cluster) const fn is_peer(&self) -> bool {
        matches!(self.phase, Phase::Running) && !self.host_network && !self.addresses.is_empty()
    }
}

impl TryFrom<PodFields> for Pod {
    type Error = Invalid;

    fn try_from(document: PodFields) -> Result<Self, Invalid> {
        let metadata = document.metadata.unwrap_or_default();
        let meta = metadata.namespaced()?;
        let AllLabels(labels) = metadata.labels.unwrap_or_default();
        let annotations = metadata.annotations.unwrap_or_default();
        let spec = document.spec.unwrap_or_default();
        let status = document.status.unwrap_or_default();
        let service_account = spec.service_account_name.filter(|name| !name.0.is_empty());
        let phase = status.phase.as_ref().map(|phase| &*phase.0);
        Ok(Self {
            meta,
            uid: metadata.uid.unwrap_or_default().into(),
            wish: capture_wish(&labels),
            announced: announced_status(&labels, &annotations.0),
            captured: is_captured(&annotations.0),
            labels,
            service_account: service_account.map_or_else(|| intern::text(DEFAULT_SERVICE_ACCOUNT), |it| it.0),
            node: spec.node_name.map(|name| name.0),
            host_network: spec.host_network.unwrap_or_default(),
            phase: match phase {
                Some("Running") => Phase::Running,
                Some("Succeeded" | "Failed") => Phase::Ended,
                _ => Phase::Other,
            },
            addresses: addresses(&status)?,
        })
    }
}

/// `podIPs`, or `podIP` where an old client wrote only that.
fn addresses(status: &Status) -> Result<Addresses, Invalid> {
    let mut addresses = Addresses::default();
    match (&status.pod_ips, &status.pod_ip) {
        (Some(all), _) => {
            for (at, pod_ip) in all.iter().enumerate() {
                addresses.add(pod_ip.ip.ip(|| format!("status.podIPs[{at}].ip"))?);
            }
        }
        (None, Some(one)) if !one.is_empty() => addresses.add(one.ip(|| "status.podIP".to_owned())?),
        (None, _) => {}
    }
    Ok(addresses)
}
