//! What the index keeps of Kubernetes' and Istio's objects: only the fields that decide something.

mod addresses;
mod endpoint_slice;
mod namespace;
mod pod;
mod service;
mod service_entry;
mod workload_entry;

pub(super) use addresses::Addresses;
pub(super) use endpoint_slice::{Endpoint, EndpointSlice, EndpointSliceFields, SERVICE_NAME};
pub(super) use namespace::{Namespace, NamespaceFields};
pub(super) use pod::{Phase, Pod, PodFields};
pub(super) use service::{Service, ServiceFields, ServicePort};
pub(super) use service_entry::{Endpoints, EntryPort, ServiceEntry, ServiceEntryFields};
pub(super) use workload_entry::{WorkloadEntry, WorkloadEntryFields};

use std::{error::Error, sync::Arc};

use culvert_policy::Meta;

/// An object of some kind, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NamespacedName {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl From<&Meta> for NamespacedName {
    fn from(meta: &Meta) -> Self {
        Self { namespace: meta.namespace.clone(), name: meta.name.clone() }
    }
}

/// A field of an object that does not say what it has to.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {reason}")]
pub(super) struct Invalid {
    pub(super) field: String,
    pub(super) reason: Box<dyn Error + Send + Sync>,
}

impl Invalid {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// The service account of a workload that names none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

fn port(field: impl FnOnce() -> String, number: i64) -> Result<u16, Invalid> {
    match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(Invalid::new(field(), format!("expected a port from 1 to 65535, found {number}"))),
    }
}

/// Kubernetes takes an absent protocol for TCP.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}
