//! Which objects a decision comes from.

use culvert_policy::{Meta, PeerStatus, TlsSettings};

use super::{
    Captured, Index, Kind, ObjectKey, Subject,
    aliases::Called,
    decide::{Peer, Way},
    model::{Pod, ServiceEntry},
    workload::Workload,
};

/// What one object, or the want of one, contributes to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The object; none where it is the want of one.
    pub object: Option<Subject>,
    /// What it says: the rest of a sentence that begins with the object, or the whole one.
    pub says: String,
}

impl Index {
    /// What the way to an endpoint comes from, the most telling first.
    pub(super) fn causes(&self, way: &Way<'_>) -> Vec<Cause> {
        let mut causes = Vec::new();
        causes.extend(demand(&way.called));
        causes.extend(external(&way.called));
        if way.called.demand.is_none() && !self.settings.auto_mtls {
            causes.push(self.mesh_settings("sets enableAutoMtls: false"));
        }
        causes.extend(way.peer.workload.map(|workload| self.workload_cause(workload, way.peer.status)));
        causes.extend(ruling(&way.peer));
        causes
    }

    fn mesh_settings(&self, says: &str) -> Cause {
        let namespace = self.settings.root_namespace.clone();
        Cause { object: Some(Subject::MeshConfig { namespace }), says: says.to_owned() }
    }

    fn workload_cause(&self, workload: Workload<'_>, status: PeerStatus) -> Cause {
        match workload {
            Workload::Pod(pod) => self.pod_cause(pod, status),
            Workload::Entry(entry) => about(Kind::WorkloadEntry, &entry.meta, announces(status)),
            Workload::Listed(entry) => about(Kind::ServiceEntry, &entry.meta, lists(status)),
        }
    }

    fn pod_cause(&self, pod: &Pod, status: PeerStatus) -> Cause {
        let is_by_wish = self.settings.captured == Captured::ByWish && self.wishes_capture(pod);
        match status {
            PeerStatus::Hbone if pod.captured => about(Kind::Pod, &pod.meta, "is enrolled and served"),
            PeerStatus::Hbone if is_by_wish && pod.wish.is_some() => {
                about(Kind::Pod, &pod.meta, "is enrolled, by its own label")
            }
            PeerStatus::Hbone if is_by_wish => {
                about(Kind::Namespace, &namespace(pod), "enrols the pod, by its label")
            }
            _ if pod.host_network => {
                about(Kind::Pod, &pod.meta, "shares its node's network, and cannot be enrolled")
            }
            PeerStatus::None if self.wishes_capture(pod) => {
                about(Kind::Pod, &pod.meta, "asks to be enrolled, and its agent has not said yet that it is")
            }
            PeerStatus::None => {
                about(Kind::Pod, &pod.meta, "is not enrolled, and announces no mTLS of its own")
            }
            _ => about(Kind::Pod, &pod.meta, announces(status)),
        }
    }
}

/// The same, of a host whose addresses are not known.
pub(super) fn causes_of_name(called: &Called<'_>, entry: &ServiceEntry) -> Vec<Cause> {
    let unknown = "gives no address for the host, and Culvert does not ask the DNS";
    let mut causes = vec![about(Kind::ServiceEntry, &entry.meta, unknown)];
    causes.extend(demand(called));
    causes.extend(external(called));
    causes
}

/// Its namespace as an object.
fn namespace(pod: &Pod) -> Meta {
    let name = pod.meta.namespace.clone();
    Meta { created: None, name, namespace: "".into() }
}

const fn announces(status: PeerStatus) -> &'static str {
    match status {
        PeerStatus::Hbone => "announces HBONE, by its labels or annotations",
        PeerStatus::Sidecar => "announces sidecar mTLS, by its labels or its service account",
        PeerStatus::None | PeerStatus::External => "announces no mTLS",
    }
}

const fn lists(status: PeerStatus) -> &'static str {
    match status {
        PeerStatus::Hbone => "lists the endpoint, with labels that announce HBONE",
        PeerStatus::Sidecar => {
            "lists the endpoint, with a label or a service account that announces sidecar mTLS"
        }
        PeerStatus::None | PeerStatus::External => "lists the endpoint, and nothing there announces mTLS",
    }
}

fn demand(called: &Called<'_>) -> Option<Cause> {
    let demand = called.demand?;
    let subset = demand.subset.map_or_else(String::new, |subset| format!(", for its subset {subset}"));
    let port = demand.port.map_or_else(String::new, |port| format!(", for port {port}"));
    let by = match demand.tls {
        TlsSettings::Unsupported(_, field) => format!(" with {field}, which Culvert does not carry out"),
        _ => String::new(),
    };
    let says = format!("sets tls.mode {}{by}{subset}{port}", demand.tls.mode().as_str());
    Some(about(Kind::DestinationRule, demand.rule, &says))
}

fn external(called: &Called<'_>) -> Option<Cause> {
    Some(about(Kind::ServiceEntry, called.external?, "has location MESH_EXTERNAL"))
}

/// What nobody behind the address has, no policy is for.
fn ruling(peer: &Peer<'_>) -> Option<Cause> {
    peer.workload?;
    let mode = peer.ruling.mode;
    Some(match peer.ruling.source {
        Some((scope, policy)) => about(Kind::PeerAuthentication, policy, &format!("sets {mode} for {scope}")),
        None => Cause {
            object: None,
            says: format!("No PeerAuthentication sets a mode here, which means {mode}"),
        },
    })
}

fn about(kind: Kind, meta: &Meta, says: &str) -> Cause {
    let key = ObjectKey { kind, namespace: meta.namespace.clone(), name: meta.name.clone() };
    Cause { object: Some(Subject::Object(key)), says: says.to_owned() }
}
