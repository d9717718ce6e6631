//! The cluster as the agent knows it: objects in, decisions out.
//!
//! Objects are checked when they are made ([`decode()`]); [`Index`] takes them in and answers. It is synchronous and
//! knows no socket, no clock and no API server. [`Cluster`] shares it between threads.

mod aliases;
mod backends;
mod causes;
mod changes;
mod decide;
pub(crate) mod decode;
mod demands;
mod destinations;
mod fields;
mod files;
mod handle;
mod host;
mod index;
mod intern;
mod istio;
mod local;
pub mod manifests;
pub(crate) mod mesh;
mod model;
mod multimap;
mod names;
mod namespaced;
mod object;
mod peers;
mod problem;
mod prospects;
mod route;
mod settings;
mod sources;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unanswerable;
pub mod watch;
mod workload;

use std::{fmt, net::IpAddr, sync::Arc};

use culvert_policy::SpiffeId;

pub use causes::Cause;
pub use culvert_policy::{Admission, PortModes};
pub use decode::{Rejected, decode, decode_json};
pub use handle::Cluster;
pub use index::Index;
pub use local::{Announcement, NotEnrollable};
pub use mesh::{MeshConfig, MeshConfigError, Overrides};
pub use object::{Kind, Object, ObjectKey};
pub use peers::{PeerChange, PeerTable, SidecarChange};
pub use problem::{Problem, Subject};
pub use prospects::{Prospect, Prospects};
pub use route::{Originate, Route, Verdict};
pub use settings::{Captured, Settings, TlsVersion};
pub use sources::{WatchState, WatchStatus};
pub use unanswerable::Unanswerable;

/// A pod, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl PodRef {
    /// The pod of that name in that namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod of this node that wishes to be enrolled and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    /// Its name.
    pub pod: PodRef,
    /// Its UID, as its cgroup is named.
    pub uid: Arc<str>,
    /// Whom its certificates name.
    pub identity: SpiffeId,
    /// Its addresses, `status.podIPs`, at most one of each family; none before the kubelet has published them.
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
