//! What the index keeps of Kubernetes' own objects: only the fields that decide something.

mod endpoint_slice;
mod namespace;
mod pod;
mod service;

pub(super) use endpoint_slice::EndpointSlice;
pub(super) use namespace::Namespace;
pub(super) use pod::Pod;
pub(super) use service::{Service, ServicePort, ServiceRef};

use std::{error::Error, net::IpAddr};

use culvert_policy::Meta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

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

/// The namespace of an object whose manifest names none, as `kubectl` has it.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// What identifies a namespaced object.
pub(super) fn namespaced(metadata: &ObjectMeta) -> Result<Meta, Invalid> {
    let namespace = metadata.namespace.as_deref().filter(|name| !name.is_empty());
    Ok(Meta { namespace: namespace.unwrap_or(DEFAULT_NAMESPACE).into(), ..cluster_wide(metadata)? })
}

/// What identifies an object of a kind without namespaces.
pub(super) fn cluster_wide(metadata: &ObjectMeta) -> Result<Meta, Invalid> {
    let name = metadata.name.as_deref().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Invalid::new("metadata.name", "expected a name, found none"))?;
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    Ok(Meta { created, name: name.into(), namespace: "".into() })
}

fn address(field: impl Into<String>, text: &str) -> Result<IpAddr, Invalid> {
    text.parse().map_err(|_| Invalid::new(field, format!("expected an IP address, found {text:?}")))
}

fn port(field: impl Into<String>, number: i32) -> Result<u16, Invalid> {
    match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(Invalid::new(field, format!("expected a port from 1 to 65535, found {number}"))),
    }
}

/// Kubernetes takes an absent protocol for TCP.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}
