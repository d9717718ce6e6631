//! Endpoint slices.

use std::{net::IpAddr, sync::Arc};

use culvert_policy::Meta;
use k8s_openapi::api::discovery::v1 as k8s;

use super::{Invalid, ServiceRef, address, is_tcp, namespaced, port};
use crate::cluster::PodRef;

/// Some endpoints of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct EndpointSlice {
    pub(in super::super) meta: Meta,
    /// The Service that it belongs to; a slice of nobody's decides nothing.
    pub(in super::super) service: Option<ServiceRef>,
    pub(in super::super) endpoints: Vec<Endpoint>,
    /// Container ports over TCP, by the name of the Service's port.
    pub(in super::super) ports: Vec<(Arc<str>, u16)>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Endpoint {
    pub(in super::super) address: IpAddr,
    pub(in super::super) ready: bool,
    /// The pod behind it, as the slice has it.
    pub(in super::super) pod: Option<PodRef>,
}

/// The label that names a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl TryFrom<k8s::EndpointSlice> for EndpointSlice {
    type Error = Invalid;

    fn try_from(slice: k8s::EndpointSlice) -> Result<Self, Invalid> {
        let meta = namespaced(&slice.metadata)?;
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let service =
            service.map(|name| ServiceRef { namespace: meta.namespace.clone(), name: name.as_str().into() });
        let endpoints = match slice.address_type.as_str() {
            "IPv4" | "IPv6" => endpoints(&meta.namespace, slice.endpoints.as_deref().unwrap_or_default())?,
            _ => Vec::new(),
        };
        Ok(Self { meta, service, endpoints, ports: ports(slice.ports.as_deref().unwrap_or_default())? })
    }
}

fn endpoints(namespace: &str, endpoints: &[k8s::Endpoint]) -> Result<Vec<Endpoint>, Invalid> {
    endpoints.iter().enumerate().map(|(at, it)| endpoint(namespace, at, it)).collect()
}

fn endpoint(namespace: &str, at: usize, endpoint: &k8s::Endpoint) -> Result<Endpoint, Invalid> {
    // All addresses of one endpoint mean the same; kube-proxy, too, looks at the first only.
    let field = format!("endpoints[{at}].addresses[0]");
    let text = endpoint.addresses.first().map(String::as_str).unwrap_or_default();
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    Ok(Endpoint {
        address: address(field, text)?,
        ready: conditions.ready.unwrap_or(true),
        pod: pod.and_then(|pod| Some(PodRef::new(namespace, pod.name.as_deref()?))),
    })
}

/// A port without a number stands for all ports, which no Service's endpoint means.
fn ports(ports: &[k8s::EndpointPort]) -> Result<Vec<(Arc<str>, u16)>, Invalid> {
    let tcp = ports.iter().enumerate().filter(|(_, port)| is_tcp(port.protocol.as_deref()));
    let numbered = tcp.filter_map(|(at, it)| Some((at, it.name.as_deref().unwrap_or_default(), it.port?)));
    numbered.map(|(at, name, number)| Ok((name.into(), port(format!("ports[{at}].port"), number)?))).collect()
}
