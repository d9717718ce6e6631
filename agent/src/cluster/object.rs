//! Objects as they enter and leave the index.

use std::{fmt, sync::Arc};

use culvert_policy::{DestinationRule, PeerAuthentication};

use super::model::{EndpointSlice, Namespace, Pod, Service, ServiceEntry, WorkloadEntry};

/// A kind of object that the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1` Namespace.
    Namespace,
    /// `v1` Pod.
    Pod,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io` `EndpointSlice`.
    EndpointSlice,
    /// `security.istio.io` `PeerAuthentication`.
    PeerAuthentication,
    /// `networking.istio.io` `DestinationRule`.
    DestinationRule,
    /// `networking.istio.io` `ServiceEntry`.
    ServiceEntry,
    /// `networking.istio.io` `WorkloadEntry`.
    WorkloadEntry,
}

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a kind that has none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A checked object, cheap to clone. Made by [`decode`](super::decode()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object(pub(super) Content);

/// What the index keeps of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Namespace(Arc<Namespace>),
    Pod(Arc<Pod>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    PeerAuthentication(Arc<PeerAuthentication>),
    DestinationRule(Arc<DestinationRule>),
    ServiceEntry(Arc<ServiceEntry>),
    WorkloadEntry(Arc<WorkloadEntry>),
}

impl Object {
    /// Which object it is.
    pub fn key(&self) -> ObjectKey {
        self.0.key()
    }
}

impl Content {
    pub(super) fn key(&self) -> ObjectKey {
        let (kind, meta) = match self {
            Self::Namespace(it) => (Kind::Namespace, &it.meta),
            Self::Pod(it) => (Kind::Pod, &it.meta),
            Self::Service(it) => (Kind::Service, &it.meta),
            Self::EndpointSlice(it) => (Kind::EndpointSlice, &it.meta),
            Self::PeerAuthentication(it) => (Kind::PeerAuthentication, it.meta()),
            Self::DestinationRule(it) => (Kind::DestinationRule, &it.meta),
            Self::ServiceEntry(it) => (Kind::ServiceEntry, &it.meta),
            Self::WorkloadEntry(it) => (Kind::WorkloadEntry, &it.meta),
        };
        ObjectKey { kind, namespace: meta.namespace.clone(), name: meta.name.clone() }
    }
}

impl Kind {
    /// Every kind there is.
    pub const ALL: &[Self] = &[
        Self::Namespace,
        Self::Pod,
        Self::Service,
        Self::EndpointSlice,
        Self::PeerAuthentication,
        Self::DestinationRule,
        Self::ServiceEntry,
        Self::WorkloadEntry,
    ];

    /// Its API group; empty for the core one.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Namespace | Self::Pod | Self::Service => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::PeerAuthentication => "security.istio.io",
            Self::DestinationRule | Self::ServiceEntry | Self::WorkloadEntry => "networking.istio.io",
        }
    }

    /// The versions of it that are served, the preferred one first. They say the same.
    pub const fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Namespace | Self::Pod | Self::Service | Self::EndpointSlice => &["v1"],
            Self::PeerAuthentication => &["v1", "v1beta1"],
            Self::DestinationRule | Self::ServiceEntry | Self::WorkloadEntry => {
                &["v1", "v1beta1", "v1alpha3"]
            }
        }
    }

    /// Its name in `kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::DestinationRule => "DestinationRule",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
        }
    }

    /// Whether its objects live in namespaces.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind.is_namespaced() {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        } else {
            write!(f, "{} {}", self.kind, self.name)
        }
    }
}
