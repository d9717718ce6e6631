//! `ServiceEntry`s: services that Kubernetes does not know.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use culvert_policy::{ExportTo, Labels, Meta};
use serde::{Deserialize, de::IgnoredAny};

use super::{Invalid, ServicePort, WorkloadEntry, port, workload_entry::EndpointSpec};
use crate::cluster::fields::{AllLabels, Document, Meaningful, Text};

/// A `ServiceEntry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct ServiceEntry {
    pub(in crate::cluster) meta: Meta,
    /// The names that `DestinationRule`s know it by, in lower case.
    pub(in crate::cluster) hosts: Box<[Arc<str>]>,
    /// Addresses of its own whose connections can be led to its endpoints.
    pub(in crate::cluster) addresses: Box<[IpAddr]>,
    /// Whether what it names is outside the mesh.
    pub(in crate::cluster) external: bool,
    /// Those over TCP, each number once.
    pub(in crate::cluster) ports: Box<[EntryPort]>,
    pub(in crate::cluster) endpoints: Endpoints,
    /// `subjectAltNames`: what its servers' certificates are for, where a rule that opens TLS to them names nothing.
    pub(in crate::cluster) server_names: Arc<[Arc<str>]>,
    /// The clients that know it.
    pub(in crate::cluster) export_to: ExportTo,
}

/// A port of a `ServiceEntry`, and the one that it leads to where an endpoint says nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct EntryPort {
    pub(in crate::cluster) port: ServicePort,
    pub(in crate::cluster) target: u16,
}

/// Who serves a `ServiceEntry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Endpoints {
    /// Whoever has the address that was called.
    Origin,
    /// These; each has an address.
    Listed(Box<[WorkloadEntry]>),
    /// The pods and `WorkloadEntry`s of its namespace with these labels.
    Selected(Labels),
}

/// A `ServiceEntry` as it is written.
pub(in crate::cluster) type ServiceEntryFields = Document<Spec, IgnoredAny>;

/// `istio.io/api`, `networking/v1alpha3/service_entry.proto`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cluster) struct Spec {
    hosts: Option<Vec<Text>>,
    addresses: Option<Vec<Text>>,
    ports: Option<Vec<PortFields>>,
    location: Location,
    resolution: Resolution,
    endpoints: Option<Vec<EndpointSpec>>,
    workload_selector: Option<Selector>,
    export_to: Option<Vec<String>>,
    subject_alt_names: Option<Vec<Text>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PortFields {
    name: Option<Text>,
    number: i64,
    target_port: Option<i64>,
    protocol: Option<Text>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Location {
    #[default]
    MeshExternal,
    MeshInternal,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Resolution {
    #[default]
    None,
    Static,
    Dns,
    DnsRoundRobin,
    DynamicDns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Selector {
    labels: Option<AllLabels>,
}

impl ServiceEntry {
    /// Its listed endpoints.
    pub(in crate::cluster) fn listed(&self) -> &[WorkloadEntry] {
        match &self.endpoints {
            Endpoints::Listed(endpoints) => endpoints,
            Endpoints::Origin | Endpoints::Selected(_) => &[],
        }
    }
}

impl TryFrom<ServiceEntryFields> for ServiceEntry {
    type Error = Invalid;

    fn try_from(document: ServiceEntryFields) -> Result<Self, Invalid> {
        let meta = document.metadata.unwrap_or_default().namespaced()?;
        let mut spec = document.spec.unwrap_or_default();
        let addresses = if spec.is_answerable() { addresses(spec.addresses.take()) } else { Box::default() };
        Ok(Self {
            hosts: hosts(spec.hosts.take().unwrap_or_default())?,
            addresses,
            external: spec.location == Location::MeshExternal,
            ports: ports(spec.ports.take().unwrap_or_default())?,
            export_to: ExportTo::parse(spec.export_to.as_deref().unwrap_or_default(), &meta.namespace),
            server_names: names(spec.subject_alt_names.take().unwrap_or_default()),
            endpoints: endpoints(spec, &meta)?,
            meta,
        })
    }
}

impl Spec {
    /// Whether its endpoints are known by address: a name is not looked up.
    fn is_answerable(&self) -> bool {
        let listed = self.endpoints.as_deref().unwrap_or_default();
        match self.resolution {
            Resolution::None | Resolution::Static => true,
            Resolution::Dns | Resolution::DnsRoundRobin | Resolution::DynamicDns => {
                self.workload_selector.is_some()
                    || (!listed.is_empty() && listed.iter().all(EndpointSpec::has_ip))
            }
        }
    }
}

fn hosts(hosts: Vec<Text>) -> Result<Box<[Arc<str>]>, Invalid> {
    if hosts.is_empty() {
        return Err(Invalid::new("spec.hosts", "expected a host, found none"));
    }
    Ok(hosts.into_iter().map(|Text(host)| host.to_ascii_lowercase().into()).collect())
}

fn names(written: Vec<Text>) -> Arc<[Arc<str>]> {
    written.into_iter().map(|Text(name)| name).collect()
}

/// Those of one address: a whole network is nobody's address.
fn addresses(written: Option<Vec<Text>>) -> Box<[IpAddr]> {
    written.unwrap_or_default().iter().filter_map(|Text(text)| single_address(text)).collect()
}

fn single_address(text: &str) -> Option<IpAddr> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(it, prefix)| (it, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let full = if address.is_ipv4() { "32" } else { "128" };
    prefix.is_none_or(|prefix| prefix == full).then_some(address)
}

fn ports(ports: Vec<PortFields>) -> Result<Box<[EntryPort]>, Invalid> {
    let is_udp =
        |port: &PortFields| port.protocol.as_ref().is_some_and(|it| it.0.eq_ignore_ascii_case("UDP"));
    let numbered = ports.into_iter().enumerate().filter(|(_, port)| !is_udp(port));
    let read = numbered.map(|(at, it)| {
        let number = port(|| format!("spec.ports[{at}].number"), it.number)?;
        let target = it.target_port.filter(|target| *target != 0);
        let target = target.map(|target| port(|| format!("spec.ports[{at}].targetPort"), target));
        let port = ServicePort { name: it.name.unwrap_or_default().0, number };
        Ok(EntryPort { port, target: target.transpose()?.unwrap_or(number) })
    });
    let mut ports: Vec<EntryPort> = read.collect::<Result<_, _>>()?;
    let mut numbers = BTreeSet::new();
    ports.retain(|port| numbers.insert(port.port.number));
    Ok(ports.into())
}

fn endpoints(spec: Spec, meta: &Meta) -> Result<Endpoints, Invalid> {
    let listed = spec.endpoints.unwrap_or_default();
    let selector = spec.workload_selector.and_then(|selector| selector.labels);
    match selector {
        Some(_) if !listed.is_empty() => {
            Err(Invalid::new("spec.workloadSelector", "there are endpoints as well: keep one of the two"))
        }
        Some(AllLabels(labels)) => Ok(Endpoints::Selected(labels)),
        None if spec.resolution == Resolution::None => Ok(Endpoints::Origin),
        None => Ok(Endpoints::Listed(with_addresses(listed, meta)?)),
    }
}

fn with_addresses(listed: Vec<EndpointSpec>, meta: &Meta) -> Result<Box<[WorkloadEntry]>, Invalid> {
    let checked = listed.into_iter().enumerate().map(|(at, endpoint)| {
        let field = format!("spec.endpoints[{at}]");
        endpoint.check(&field, meta.clone(), &AllLabels::default(), &Meaningful::default())
    });
    let known = checked.filter(|endpoint| endpoint.as_ref().map_or(true, |it| it.address.is_some()));
    known.collect()
}
