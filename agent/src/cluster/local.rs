//! The pods of one node.

use std::{fmt, sync::Arc};

use super::{
    Captured, Index, LocalPod, PodRef,
    model::{Phase, Pod},
    workload::Workload,
};

/// Why a pod that asks to be enrolled never can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotEnrollable {
    /// It shares the node's network, so its connections are not told from the node's.
    HostNetwork,
    /// It has no UID, by which its cgroup is found.
    NoUid,
}

/// What is written on a pod of its capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The pod.
    pub pod: PodRef,
    /// Its UID: a pod of the same name may take its place.
    pub uid: Arc<str>,
    /// Whether `culvert.io/captured: "true"` is written on it.
    pub captured: bool,
}

impl Index {
    /// The pods of a node that ask to be enrolled and have not ended, by name.
    pub fn local_pods(&self, node: &str) -> Vec<LocalPod> {
        let pods = self.wishing(node).filter(|pod| not_enrollable(pod).is_none());
        pods.map(|pod| self.local_pod(pod)).collect()
    }

    /// The pods of a node that ask to be enrolled and never can be, by name.
    pub fn not_enrollable(&self, node: &str) -> Vec<(PodRef, NotEnrollable)> {
        let pods = self.wishing(node);
        pods.filter_map(|pod| Some((pod.reference(), not_enrollable(pod)?))).collect()
    }

    /// Whether a pod's connections are captured, by what is written on it or its namespace.
    pub fn is_enrolled(&self, pod: &PodRef) -> bool {
        self.pod(pod).is_some_and(|pod| {
            let is_wished = self.settings.captured == Captured::ByWish && self.wishes_capture(pod);
            pod.phase != Phase::Ended && !pod.host_network && (pod.captured || is_wished)
        })
    }

    /// All pods of a node, and whether it is written on each that its capture stands.
    pub fn announcements<'a>(&'a self, node: &str) -> impl Iterator<Item = Announcement> + use<'a> {
        self.on_node(node).map(|pod| Announcement {
            pod: pod.reference(),
            uid: pod.uid.clone(),
            captured: pod.captured,
        })
    }

    fn wishing<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Pod> + use<'a> {
        self.on_node(node).filter(|pod| pod.phase != Phase::Ended && self.wishes_capture(pod))
    }

    fn on_node<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Pod> + use<'a> {
        self.files.pods_by_node.get(&Arc::from(node)).filter_map(|pod| self.pod(pod))
    }

    fn local_pod(&self, pod: &Pod) -> LocalPod {
        LocalPod {
            pod: pod.reference(),
            uid: pod.uid.clone(),
            identity: self.identity(Workload::Pod(pod)),
            addresses: pod.addresses.iter().collect(),
        }
    }
}

fn not_enrollable(pod: &Pod) -> Option<NotEnrollable> {
    if pod.host_network {
        Some(NotEnrollable::HostNetwork)
    } else if pod.uid.is_empty() {
        Some(NotEnrollable::NoUid)
    } else {
        None
    }
}

impl fmt::Display for NotEnrollable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostNetwork => "the pod uses the node's network (hostNetwork: true)",
            Self::NoUid => "the pod has no metadata.uid",
        })
    }
}
