//! Services.

use std::{net::IpAddr, sync::Arc};

use culvert_policy::Meta;
use k8s_openapi::api::core::v1 as k8s;

use super::{Invalid, address, is_tcp, namespaced, port};

/// A Service, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) struct ServiceRef {
    pub(in super::super) namespace: Arc<str>,
    pub(in super::super) name: Arc<str>,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Service {
    pub(in super::super) meta: Meta,
    /// Its cluster addresses; none where it is headless, or an alias of a name.
    pub(in super::super) addresses: Vec<IpAddr>,
    pub(in super::super) headless: bool,
    /// Those over TCP.
    pub(in super::super) ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ServicePort {
    /// By which endpoint slices refer to it; empty for a Service's only port.
    pub(in super::super) name: Arc<str>,
    pub(in super::super) number: u16,
}

/// `clusterIP` of a headless Service.
const HEADLESS: &str = "None";

impl Service {
    pub(in super::super) fn reference(&self) -> ServiceRef {
        ServiceRef {
            namespace: self.meta.namespace.clone(),
            name: self.meta.name.clone(),
        }
    }

    /// The name that `DestinationRule`s know it by.
    pub(in super::super) fn host(&self, cluster_domain: &str) -> String {
        format!("{}.{}.svc.{cluster_domain}", self.meta.name, self.meta.namespace)
    }

    pub(in super::super) fn port_named(&self, name: &str) -> Option<&ServicePort> {
        self.ports.iter().find(|port| *port.name == *name)
    }

    pub(in super::super) fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }
}

impl TryFrom<k8s::Service> for Service {
    type Error = Invalid;

    fn try_from(service: k8s::Service) -> Result<Self, Invalid> {
        let meta = namespaced(&service.metadata)?;
        let spec = service.spec.unwrap_or_default();
        let written = written_addresses(&spec);
        let addresses = written.iter().filter(|(_, text)| *text != HEADLESS);
        Ok(Self {
            meta,
            addresses: addresses
                .map(|(field, text)| address(field.as_str(), text))
                .collect::<Result<_, _>>()?,
            headless: written.iter().any(|(_, text)| *text == HEADLESS),
            ports: ports(spec.ports.as_deref().unwrap_or_default())?,
        })
    }
}

/// `clusterIPs`, or `clusterIP` where only that is written. An `ExternalName` Service has neither.
fn written_addresses(spec: &k8s::ServiceSpec) -> Vec<(String, &str)> {
    let all = spec.cluster_ips.as_deref().unwrap_or_default().iter().enumerate();
    let mut written: Vec<_> = all
        .map(|(at, text)| (format!("spec.clusterIPs[{at}]"), text.as_str()))
        .collect();
    if written.is_empty() {
        written.extend(
            spec.cluster_ip
                .as_deref()
                .map(|text| ("spec.clusterIP".to_owned(), text)),
        );
    }
    written.retain(|(_, text)| !text.is_empty());
    written
}

fn ports(ports: &[k8s::ServicePort]) -> Result<Vec<ServicePort>, Invalid> {
    let numbered = ports
        .iter()
        .enumerate()
        .filter(|(_, port)| is_tcp(port.protocol.as_deref()));
    let read = numbered.map(|(at, it)| {
        let number = port(format!("spec.ports[{at}].port"), it.port)?;
        Ok(ServicePort {
            name: it.name.as_deref().unwrap_or_default().into(),
            number,
        })
    });
    read.collect()
}
