//! What the enroller says of itself: to who asks with `culvert status`, and to who tells the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use culvert_abi::names::programs::SK_LOOKUP;
use culvert_policy::SpiffeId;

use super::{Enrolled, Enroller, waiting::Waiting};
use crate::cluster::{NotEnrollable, PodRef};

/// The pods whose capture stands.
pub type Standing = BTreeMap<PodRef, Stand>;

/// A pod whose connections are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Its UID.
    pub uid: Arc<str>,
    /// Whether it has had a certificate: before that, peers had better not speak mTLS to it.
    pub certified: bool,
}

/// All that wish to be enrolled, and what does it.
#[derive(Clone, Debug)]
pub struct EnrolReport {
    /// Captured pods.
    pub enrolled: Vec<EnrolledReport>,
    /// Pods that are not, yet: none of their connections is captured, and peers reach them as policy lets them.
    pub waiting: Vec<WaitingReport>,
    /// Pods that never can be.
    pub not_enrollable: Vec<NotEnrollableReport>,
    /// The kernel programs in force.
    pub programs: Vec<AttachedProgram>,
}

/// A captured pod.
#[derive(Clone, Debug)]
pub struct EnrolledReport {
    /// Its name.
    pub pod: PodRef,
    /// Its UID.
    pub uid: Arc<str>,
    /// Whom its certificates name.
    pub identity: SpiffeId,
    /// Where it is served.
    pub addresses: Vec<IpAddr>,
    /// What the kernel knows its network namespace by.
    pub netns: u64,
    /// Where the kernel sends its connections.
    pub listeners: Vec<SocketAddr>,
    /// Since when.
    pub since: SystemTime,
    /// Whether it has had a certificate.
    pub certified: bool,
    /// Whether `culvert.io/captured` is written on it, as far as the cluster has told.
    pub announced: bool,
    /// What of its policy the kernel could not be told.
    pub problem: Option<String>,
}

/// A pod that is not captured yet.
#[derive(Clone, Debug)]
pub struct WaitingReport {
    /// Its name.
    pub pod: PodRef,
    /// Why.
    pub reason: String,
    /// Whether this is how a pod that starts or ends looks for a while.
    pub transient: bool,
    /// Since when.
    pub since: SystemTime,
}

/// A pod that never can be captured.
#[derive(Clone, Debug)]
pub struct NotEnrollableReport {
    /// Its name.
    pub pod: PodRef,
    /// Why.
    pub reason: NotEnrollable,
}

/// A kernel program that is attached and pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// Its name in the object.
    pub name: String,
    /// A cgroup, or a pod's network namespace.
    pub attached_to: String,
}

impl Enroller {
    /// All there is to say.
    pub fn report(&self) -> EnrolReport {
        let announced = self.announced();
        let enrolled = self.enrolled.iter().map(|(name, pod)| EnrolledReport {
            announced: announced.contains(name),
            problem: self.problems.get(name).cloned(),
            ..EnrolledReport::of(name, pod)
        });
        EnrolReport {
            enrolled: enrolled.collect(),
            waiting: self.waiting.iter().map(|(pod, waiting)| WaitingReport::of(pod, waiting)).collect(),
            not_enrollable: self.not_enrollable(),
            programs: self.programs(),
        }
    }

    fn announced(&self) -> BTreeSet<PodRef> {
        let index = self.parts.cluster.read();
        index.announcements(&self.parts.node).filter(|it| it.captured).map(|it| it.pod).collect()
    }

    fn not_enrollable(&self) -> Vec<NotEnrollableReport> {
        let hopeless = self.hopeless.iter();
        hopeless.map(|(pod, &reason)| NotEnrollableReport { pod: pod.clone(), reason }).collect()
    }

    /// What is pinned is attached: an agent before this one may have left it.
    fn programs(&self) -> Vec<AttachedProgram> {
        let (pins, root) = (&self.parts.pins, self.parts.cgroup_root.display());
        let of_node = pins.links().unwrap_or_default().into_iter();
        let of_node = of_node.map(|name| AttachedProgram { name, attached_to: format!("cgroup {root}") });
        let of_pods = pins.pods().unwrap_or_default().into_iter().map(|netns| AttachedProgram {
            name: SK_LOOKUP.to_owned(),
            attached_to: match self.pod_of(netns) {
                Some(pod) => format!("network namespace {netns}, pod {pod}"),
                None => format!("network namespace {netns}"),
            },
        });
        of_node.chain(of_pods).collect()
    }
}

impl EnrolledReport {
    fn of(name: &PodRef, pod: &Enrolled) -> Self {
        Self {
            pod: name.clone(),
            uid: pod.wish().uid.clone(),
            identity: pod.wish().identity.clone(),
            addresses: pod.addresses().to_vec(),
            netns: pod.netns().cookie(),
            listeners: pod.listeners().to_vec(),
            since: pod.since(),
            certified: pod.is_certified(),
            announced: false,
            problem: None,
        }
    }
}

impl WaitingReport {
    fn of(pod: &PodRef, waiting: &Waiting) -> Self {
        Self {
            pod: pod.clone(),
            reason: waiting.because.clone(),
            transient: waiting.transient,
            since: waiting.since,
        }
    }
}
