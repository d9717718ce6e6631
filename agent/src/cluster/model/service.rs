//! Services.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use culvert_policy::Meta;
use serde::{Deserialize, de::IgnoredAny};

use super::{Invalid, is_tcp, port};
use crate::cluster::fields::{Address, Document, Text};

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Service {
    pub(in crate::cluster) meta: Meta,
    /// Its cluster addresses; none where it is headless, or an alias of a name.
    pub(in crate::cluster) addresses: Box<[IpAddr]>,
    pub(in crate::cluster) headless: bool,
    /// Those over TCP, each number once.
    pub(in crate::cluster) ports: Box<[ServicePort]>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct ServicePort {
    /// By which endpoints refer to it; empty for a Service's only port.
    pub(in crate::cluster) name: Arc<str>,
    pub(in crate::cluster) number: u16,
}

/// A Service as it is written.
pub(in crate::cluster) type ServiceFields = Document<Spec, IgnoredAny>;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::cluster) struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<Address>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<Address>>,
    ports: Option<Vec<PortFields>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PortFields {
    name: Option<Text>,
    port: i64,
    protocol: Option<Text>,
}

/// `clusterIP` of a headless Service.
const HEADLESS: &str = "None";

impl Service {
    /// The name that `DestinationRule`s know it by.
    pub(in crate::cluster) fn host(&self, cluster_domain: &str) -> String {
        format!("{}.{}.svc.{cluster_domain}", self.meta.name, self.meta.namespace)
    }

    pub(in crate::cluster) fn port_named(&self, name: &str) -> Option<&ServicePort> {
        self.ports.iter().find(|port| *port.name == *name)
    }
}

impl TryFrom<ServiceFields> for Service {
    type Error = Invalid;

    fn try_from(document: ServiceFields) -> Result<Self, Invalid> {
        let meta = document.metadata.unwrap_or_default().namespaced()?;
        let mut spec = document.spec.unwrap_or_default();
        let ports = ports(spec.ports.take().unwrap_or_default())?;
        let written = written_addresses(spec);
        let is_headless = |address: &Address| matches!(address, Address::Other(text) if **text == *HEADLESS);
        let headless = written.iter().any(|(_, address)| is_headless(address));
        let addresses = written.iter().filter(|(_, address)| !is_headless(address));
        let addresses = addresses.map(|(field, address)| address.ip(|| field.clone()));
        Ok(Self { meta, addresses: addresses.collect::<Result<_, _>>()?, headless, ports })
    }
}

/// `clusterIPs`, or `clusterIP` where only that is written. An `ExternalName` Service has neither.
fn written_addresses(spec: Spec) -> Vec<(String, Address)> {
    let all = spec.cluster_ips.unwrap_or_default().into_iter().enumerate();
    let mut written: Vec<_> = all.map(|(at, it)| (format!("spec.clusterIPs[{at}]"), it)).collect();
    if written.is_empty() {
        written.extend(spec.cluster_ip.map(|it| ("spec.clusterIP".to_owned(), it)));
    }
    written.retain(|(_, address)| !address.is_empty());
    written
}

fn ports(ports: Vec<PortFields>) -> Result<Box<[ServicePort]>, Invalid> {
    let tcp = ports.into_iter().enumerate();
    let tcp = tcp.filter(|(_, port)| is_tcp(port.protocol.as_ref().map(|protocol| &*protocol.0)));
    let read = tcp.map(|(at, it)| {
        let number = port(|| format!("spec.ports[{at}].port"), it.port)?;
        Ok(ServicePort { name: it.name.unwrap_or_default().0, number })
    });
    let mut ports: Vec<ServicePort> = read.collect::<Result<_, _>>()?;
    let mut numbers = BTreeSet::new();
    ports.retain(|port| numbers.insert(port.number));
    Ok(ports.into())
}
