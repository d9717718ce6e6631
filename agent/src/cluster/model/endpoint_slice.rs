//! Endpoint slices.

use std::{net::IpAddr, sync::Arc};

use culvert_policy::Meta;
use serde::Deserialize;

use super::{Invalid, NamespacedName, is_tcp, port};
use crate::cluster::{
    PodRef,
    fields::{Address, Meaningful, Metadata, Text},
    intern,
};

/// Some endpoints of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct EndpointSlice {
    pub(in crate::cluster) meta: Meta,
    /// The Service that it belongs to; a slice of nobody's decides nothing.
    pub(in crate::cluster) service: Option<NamespacedName>,
    pub(in crate::cluster) ipv6: bool,
    /// By readiness and address.
    endpoints: Box<[Endpoint]>,
    /// How many of them, at the beginning, are ready.
    ready: usize,
    /// Container ports over TCP, by the name of the Service's port.
    pub(in crate::cluster) ports: Box<[NamedPort]>,
}

/// The name of a Service's port, and the container port that it leads to.
type NamedPort = (Arc<str>, u16);

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cluster) struct Endpoint {
    unready: bool,
    pub(in crate::cluster) address: IpAddr,
    /// The pod behind it, as the slice has it.
    pub(in crate::cluster) pod: Option<PodRef>,
}

/// The label that names a slice's Service.
pub(in crate::cluster) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A slice as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cluster) struct EndpointSliceFields {
    #[serde(default)]
    metadata: Option<Metadata<Meaningful>>,
    address_type: Text,
    #[serde(default)]
    endpoints: Option<Vec<EndpointFields>>,
    #[serde(default)]
    ports: Option<Vec<PortFields>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EndpointFields {
    addresses: Option<Vec<Address>>,
    conditions: Option<Conditions>,
    target_ref: Option<TargetRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TargetRef {
    kind: Option<Text>,
    name: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PortFields {
    name: Option<Text>,
    port: Option<i64>,
    protocol: Option<Text>,
}

impl EndpointSlice {
    /// All endpoints, by readiness and address.
    pub(in crate::cluster) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Those that are ready, by address.
    pub(in crate::cluster) fn ready(&self) -> &[Endpoint] {
        &self.endpoints[..self.ready]
    }

    /// The container port that a port of the Service leads to.
    pub(in crate::cluster) fn target(&self, service_port: &str) -> Option<u16> {
        self.ports.iter().find(|(name, _)| **name == *service_port).map(|(_, number)| *number)
    }
}

impl TryFrom<EndpointSliceFields> for EndpointSlice {
    type Error = Invalid;

    fn try_from(slice: EndpointSliceFields) -> Result<Self, Invalid> {
        let metadata = slice.metadata.unwrap_or_default();
        let meta = metadata.namespaced()?;
        let Meaningful(labels) = metadata.labels.unwrap_or_default();
        let service = labels.get(SERVICE_NAME).map(intern::text);
        let ipv6 = *slice.address_type.0 == *"IPv6";
        let endpoints = if ipv6 || *slice.address_type.0 == *"IPv4" {
            endpoints(&meta.namespace, ipv6, slice.endpoints.unwrap_or_default())?
        } else {
            Vec::new()
        };
        Ok(Self {
            service: service.map(|name| NamespacedName { namespace: meta.namespace.clone(), name }),
            ipv6,
            ready: endpoints.partition_point(|endpoint| !endpoint.unready),
            endpoints: endpoints.into(),
            ports: ports(slice.ports.unwrap_or_default())?,
            meta,
        })
    }
}

/// In their order, and each address once among the ready and once among the others.
fn endpoints(
    namespace: &Arc<str>,
    ipv6: bool,
    endpoints: Vec<EndpointFields>,
) -> Result<Vec<Endpoint>, Invalid> {
    let numbered = endpoints.into_iter().enumerate();
    let mut endpoints: Vec<Endpoint> =
        numbered.map(|(at, it)| endpoint(namespace, ipv6, at, it)).collect::<Result<_, _>>()?;
    endpoints.sort_unstable();
    endpoints.dedup_by(|one, other| (one.unready, one.address) == (other.unready, other.address));
    Ok(endpoints)
}

fn endpoint(
    namespace: &Arc<str>,
    ipv6: bool,
    at: usize,
    endpoint: EndpointFields,
) -> Result<Endpoint, Invalid> {
    let field = || format!("endpoints[{at}].addresses[0]");
    // All addresses of one endpoint mean the same; kube-proxy, too, looks at the first only.
    let first = endpoint.addresses.unwrap_or_default().into_iter().next().unwrap_or_default();
    let ready = endpoint.conditions.unwrap_or_default().ready.unwrap_or(true);
    let is_pod = |target: &TargetRef| target.kind.as_ref().is_some_and(|kind| *kind.0 == *"Pod");
    let pod = endpoint.target_ref.filter(is_pod).and_then(|pod| pod.name);
    let address = first.ip(field)?;
    if address.is_ipv6() != ipv6 {
        return Err(Invalid::new(field(), format!("expected an address of addressType, found {address}")));
    }
    Ok(Endpoint {
        unready: !ready,
        address,
        pod: pod.map(|Text(name)| PodRef { namespace: namespace.clone(), name }),
    })
}

/// A port without a number stands for all ports, which no Service's endpoint means.
fn ports(ports: Vec<PortFields>) -> Result<Box<[NamedPort]>, Invalid> {
    let tcp = ports.into_iter().enumerate();
    let tcp = tcp.filter(|(_, port)| is_tcp(port.protocol.as_ref().map(|protocol| &*protocol.0)));
    let numbered = tcp.filter_map(|(at, it)| Some((at, it.name.unwrap_or_default().0, it.port?)));
    numbered.map(|(at, name, number)| Ok((name, port(|| format!("ports[{at}].port"), number)?))).collect()
}
