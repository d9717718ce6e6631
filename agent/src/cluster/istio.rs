//! Istio's objects as they are written, as far as Culvert reads them, and what they mean. All served versions have the
//! same fields (`istio.io/api`, `security/v1beta1/peer_authentication.proto`, `networking/v1alpha3/destination_rule.proto`).

mod tls;

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use culvert_policy::{
    DestinationRule, ExportTo, HostPattern, Labels, Meta, ModeSetting, PeerAuthentication,
    PeerAuthenticationSpec, Subset, TlsSettings, TrafficPolicy,
};
use serde::{Deserialize, Deserializer, de};

use self::tls::TlsFields;
use super::{
    fields::{AllLabels, Document},
    model::Invalid,
};

/// A `PeerAuthentication` as it is written.
pub(super) type WrittenPeerAuthentication = Document<PeerAuthenticationFields>;

/// A `DestinationRule` as it is written.
pub(super) type WrittenDestinationRule = Document<DestinationRuleFields>;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PeerAuthenticationFields {
    selector: Option<Selector>,
    mtls: Option<Mtls>,
    port_level_mtls: Option<BTreeMap<String, Option<Mtls>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Mtls {
    #[serde(deserialize_with = "word")]
    mode: Option<ModeSetting>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Selector {
    match_labels: Option<AllLabels>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct DestinationRuleFields {
    host: String,
    traffic_policy: Option<TrafficPolicyFields>,
    subsets: Option<Vec<SubsetFields>>,
    export_to: Option<Vec<String>>,
    workload_selector: Option<Selector>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TrafficPolicyFields {
    tls: Option<TlsFields>,
    port_level_settings: Option<Vec<PortSettings>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PortSettings {
    port: Option<PortSelector>,
    tls: Option<TlsFields>,
}

#[derive(Deserialize)]
struct PortSelector {
    number: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SubsetFields {
    name: String,
    labels: Option<AllLabels>,
    traffic_policy: Option<TrafficPolicyFields>,
}

impl Selector {
    fn labels(self) -> Labels {
        self.match_labels.unwrap_or_default().0
    }
}

/// One of the words of a policy.
fn word<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let word = Option::<String>::deserialize(deserializer)?;
    word.map(|word| word.parse().map_err(de::Error::custom)).transpose()
}

impl WrittenPeerAuthentication {
    pub(super) fn check(self) -> Result<PeerAuthentication, Invalid> {
        let meta = self.metadata.unwrap_or_default().namespaced()?;
        let spec = self.spec.unwrap_or_default();
        let ports =
            spec.port_level_mtls.map(|ports| ports.into_iter().map(|(port, mtls)| (port, mode(mtls))));
        let spec = PeerAuthenticationSpec {
            selector: spec.selector.unwrap_or_default().labels(),
            mode: mode(spec.mtls),
            ports: ports.map(Iterator::collect),
        };
        PeerAuthentication::new(meta, spec).map_err(|error| Invalid::new("spec.portLevelMtls", error))
    }
}

fn mode(mtls: Option<Mtls>) -> ModeSetting {
    mtls.and_then(|mtls| mtls.mode).unwrap_or_default()
}

impl WrittenDestinationRule {
    pub(super) fn check(self, cluster_domain: &str) -> Result<DestinationRule, Invalid> {
        let meta = self.metadata.unwrap_or_default().namespaced()?;
        let spec = self.spec.unwrap_or_default();
        refuse_selector(spec.workload_selector.as_ref())?;
        Ok(DestinationRule {
            host: host(&spec.host, &meta, cluster_domain)?,
            export_to: ExportTo::parse(&spec.export_to.unwrap_or_default(), &meta.namespace),
            policy: traffic_policy(spec.traffic_policy, "spec")?,
            subsets: subsets(spec.subsets.unwrap_or_default())?,
            meta,
        })
    }
}

/// A rule for some clients only must not be taken for one for them all.
fn refuse_selector(selector: Option<&Selector>) -> Result<(), Invalid> {
    match selector.and_then(|selector| selector.match_labels.as_ref()) {
        Some(AllLabels(labels)) if !labels.is_empty() => Err(Invalid::new(
            "spec.workloadSelector",
            "this version applies rules by namespace only: use exportTo",
        )),
        _ => Ok(()),
    }
}

fn host(host: &str, meta: &Meta, cluster_domain: &str) -> Result<HostPattern, Invalid> {
    HostPattern::parse(host, &meta.namespace, cluster_domain)
        .map_err(|error| Invalid::new("spec.host", error))
}

fn subsets(subsets: Vec<SubsetFields>) -> Result<Vec<Subset>, Invalid> {
    let numbered = subsets.into_iter().enumerate();
    let read = numbered.map(|(at, it)| {
        let policy = traffic_policy(it.traffic_policy, &format!("spec.subsets[{at}]"))?;
        Ok(Subset { name: it.name, labels: it.labels.unwrap_or_default().0, policy })
    });
    read.collect()
}

fn traffic_policy(fields: Option<TrafficPolicyFields>, parent: &str) -> Result<TrafficPolicy, Invalid> {
    let fields = fields.unwrap_or_default();
    let mut ports = BTreeMap::new();
    for (at, settings) in fields.port_level_settings.unwrap_or_default().into_iter().enumerate() {
        let field = |name: &str| format!("{parent}.trafficPolicy.portLevelSettings[{at}].{name}");
        let number = settings.port.and_then(|port| port.number).filter(|number| *number != 0);
        let number = number.ok_or_else(|| {
            Invalid::new(field("port.number"), "expected a port from 1 to 65535, found none")
        })?;
        // Of two entries for one port the first counts, as in Istio.
        ports.entry(number).or_insert(client_tls(settings.tls, || field("tls"))?);
    }
    let tls = client_tls(fields.tls, || format!("{parent}.trafficPolicy.tls"))?;
    Ok(TrafficPolicy { tls, ports })
}

fn client_tls(
    tls: Option<TlsFields>,
    field: impl FnOnce() -> String,
) -> Result<Option<TlsSettings>, Invalid> {
    tls.map(|tls| tls.check(&field())).transpose()
}
