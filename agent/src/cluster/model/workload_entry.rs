//! `WorkloadEntry`s: members of the mesh that are no pods.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use culvert_policy::{Labels, Meta, PeerStatus, workload_entry_status};
use serde::{Deserialize, de::IgnoredAny};

use super::{DEFAULT_SERVICE_ACCOUNT, Invalid, port};
use crate::cluster::{
    fields::{Address, AllLabels, Document, Meaningful, Text},
    intern,
};

/// A `WorkloadEntry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct WorkloadEntry {
    pub(in crate::cluster) meta: Meta,
    /// None where it is a name or a Unix socket: nobody is behind an address for its sake.
    pub(in crate::cluster) address: Option<IpAddr>,
    /// Its ports where they differ from those of the `ServiceEntry`, by the names of those.
    pub(in crate::cluster) ports: BTreeMap<Arc<str>, u16>,
    pub(in crate::cluster) labels: Labels,
    pub(in crate::cluster) service_account: Arc<str>,
    /// What it can speak, by what is written on it.
    pub(in crate::cluster) announced: PeerStatus,
}

/// A `WorkloadEntry` as it is written.
pub(in crate::cluster) type WorkloadEntryFields = Document<EndpointSpec, IgnoredAny, AllLabels>;

/// The specification of a `WorkloadEntry`, and of an endpoint of a `ServiceEntry`
/// (`istio.io/api`, `networking/v1alpha3/workload_entry.proto`).
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::cluster) struct EndpointSpec {
    address: Option<Address>,
    ports: Option<BTreeMap<String, i64>>,
    labels: Option<AllLabels>,
    service_account: Option<Text>,
}

impl TryFrom<WorkloadEntryFields> for WorkloadEntry {
    type Error = Invalid;

    fn try_from(document: WorkloadEntryFields) -> Result<Self, Invalid> {
        let metadata = document.metadata.unwrap_or_default();
        let meta = metadata.namespaced()?;
        let annotations = metadata.annotations.unwrap_or_default();
        let more = metadata.labels.unwrap_or_default();
        document.spec.unwrap_or_default().check("spec", meta, &more, &annotations)
    }
}

impl EndpointSpec {
    /// Whether its address is an IP address.
    pub(super) const fn has_ip(&self) -> bool {
        matches!(self.address, Some(Address::Ip(_)))
    }

    /// Labels of the metadata are added to those of the specification and win (Istio, `ConvertWorkloadEntry`).
    pub(super) fn check(
        self,
        field: &str,
        meta: Meta,
        more: &AllLabels,
        annotations: &Meaningful,
    ) -> Result<WorkloadEntry, Invalid> {
        let AllLabels(own) = self.labels.unwrap_or_default();
        let labels = intern::labels(own.iter().chain(more.0.iter()).cloned());
        let account = self.service_account.filter(|name| !name.0.is_empty());
        Ok(WorkloadEntry {
            meta,
            address: match self.address.unwrap_or_default() {
                Address::Ip(address) => Some(address),
                Address::Other(_) => None,
            },
            ports: ports(field, self.ports.unwrap_or_default())?,
            announced: workload_entry_status(&labels, &annotations.0, account.is_some()),
            labels,
            service_account: account.map_or_else(|| intern::text(DEFAULT_SERVICE_ACCOUNT), |it| it.0),
        })
    }
}

fn ports(parent: &str, ports: BTreeMap<String, i64>) -> Result<BTreeMap<Arc<str>, u16>, Invalid> {
    let read = ports.into_iter().map(|(name, number)| {
        let number = port(|| format!("{parent}.ports.{name}"), number)?;
        Ok((intern::text(&name), number))
    });
    read.collect()
}
