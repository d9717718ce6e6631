//! The cluster as the agent knows it: objects in, decisions out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use culvert_policy::{Mode, PeerStatus, Reason, SpiffeId};

/// A pod, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod of this node that wishes to be enrolled, is Running and has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    /// Its name.
    pub pod: PodRef,
    /// Its UID, as its cgroup is named.
    pub uid: Arc<str>,
    /// Whom its certificates name.
    pub identity: SpiffeId,
    /// Its addresses, `status.podIPs`, at most one of each family.
    pub addresses: Vec<IpAddr>,
}

/// An address that the kernel has to send to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The address.
    pub address: IpAddr,
    /// The port; none means each port of that address that has no entry of its own.
    pub port: Option<u16>,
}

/// What the kernel does with a connection of an enrolled pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KernelVerdict {
    /// Leave it alone.
    Pass,
    /// Send it to the agent.
    Capture,
}

/// The mode of each container port of one enrolled pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortModes {
    /// Of each port that is not listed.
    pub default: Mode,
    /// Of ports that differ from it.
    pub ports: BTreeMap<u16, Mode>,
}

/// Where one connection of an enrolled pod goes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The address to reach: the origin itself, or the endpoint that was chosen for a Service's address.
    pub endpoint: SocketAddr,
    /// The pod behind it, where there is one.
    pub peer: Option<PodRef>,
    /// What the endpoint can speak.
    pub status: PeerStatus,
    /// How it is carried.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}

/// How a connection is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it is.
    Plaintext,
    /// Over HBONE, to a peer that must show this identity.
    Hbone(SpiffeId),
    /// Over sidecar mTLS, to a peer that must show this identity.
    Sidecar(SpiffeId),
    /// Not at all.
    Refuse,
}

/// Whether a server pod accepts one connection, and why (not).
pub type Admission = Result<Reason, Reason>;
