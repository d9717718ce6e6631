//! What is told of a destination, beside what becomes of connections to it.

use culvert_policy::{PeerStatus, Reason, Transport};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::properties::any_cluster;
use crate::cluster::{
    Index, Prospect, Unanswerable, Verdict,
    testing::{
        at, destination_rule, index, named, pod, service, service_entry, settings, slice, workload_entry,
    },
};

fn with(more: &[Value]) -> Index {
    let base = [pod("ns", "client", "10.0.0.1", true), pod("ns", "server", "10.0.0.2", true)];
    index(&[&base, more].concat())
}

fn prospects(index: &Index, host: &str) -> Result<Vec<Prospect>, Unanswerable> {
    index.prospects(&named("ns/client"), host, None).map(|prospects| prospects.endpoints)
}

fn addresses(index: &Index, host: &str) -> Vec<String> {
    prospects(index, host).unwrap().into_iter().map(|prospect| prospect.address).collect()
}

#[test]
fn an_entrys_own_addresses_lead_to_its_endpoints_and_without_any_they_are_called_themselves() {
    let endpoints = json!([{"address": "10.1.0.1", "serviceAccount": "vm"}, {"address": "fd00::1"}]);
    for vips in [&["10.97.0.1", "fd00:97::1"][..], &[]] {
        let index = with(&[service_entry("ns", "e", vips, &endpoints)]);
        assert_eq!(addresses(&index, "e.example.com"), ["10.1.0.1:8080", "[fd00::1]:8080"], "{vips:?}");
    }
}

#[test]
fn a_wildcard_stands_behind_a_host_that_is_named() {
    let mut wide = service_entry("ns", "wide", &[], &json!([{"address": "10.1.0.1"}]));
    wide["spec"]["hosts"] = json!(["*.example.com"]);
    let index = with(&[wide, service_entry("ns", "e", &[], &json!([{"address": "10.1.0.2"}]))]);
    assert_eq!(addresses(&index, "e.example.com"), ["10.1.0.2:8080"]);
    assert_eq!(addresses(&index, "other.example.com"), ["10.1.0.1:8080"]);
    assert!(matches!(prospects(&index, "example.com"), Err(Unanswerable::UnknownHost { .. })));
}

#[test]
fn an_entry_is_unknown_where_it_is_not_exported_to() {
    let mut entry = service_entry("other", "e", &[], &json!([{"address": "10.1.0.1"}]));
    entry["spec"]["exportTo"] = json!(["."]);
    assert!(matches!(prospects(&with(&[entry]), "e.example.com"), Err(Unanswerable::UnknownHost { .. })));
}

#[test]
fn a_headless_service_is_called_on_the_ports_of_its_pods() {
    let index = with(&[service("ns", "h", "None"), slice("ns", "h", &["10.0.0.2"])]);
    for port in [None, Some(80), Some(8080)] {
        let found = index.prospects(&named("ns/client"), "h", port).unwrap();
        assert_eq!(found.endpoints[0].address, "10.0.0.2:8080", "{port:?}");
    }
    let none = index.prospects(&named("ns/client"), "h", Some(81));
    assert!(matches!(none, Err(Unanswerable::NoPort { ports, .. }) if ports == [80]));
}

#[test]
fn what_is_refused_for_want_of_mtls_would_have_been_the_meshs_own() {
    let rule = destination_rule("ns", "*", "ISTIO_MUTUAL");
    let plain = pod("ns", "plain", "10.0.0.3", false);
    let index = with(&[plain, service("ns", "s", "10.96.0.1"), slice("ns", "s", &["10.0.0.3"]), rule]);
    let found = &prospects(&index, "s").unwrap()[0];
    assert_eq!((found.transport, found.decision), (Transport::Hbone, Err(Reason::PeerCannotMtls)));
    assert_eq!((found.status, found.is_served), (PeerStatus::None, false));
}

#[test]
fn each_object_that_decides_is_named() {
    let mut vm = workload_entry("ns", "vm", "10.1.0.1", "vm");
    vm["spec"]["labels"]["version"] = json!("new");
    let index = with(&[vm]);
    let found = index.prospects(&named("ns/client"), "10.1.0.1", Some(80)).unwrap();
    let causes = found.endpoints[0].causes.iter();
    let told: Vec<_> = causes.map(|it| it.object.as_ref().map(ToString::to_string)).collect();
    assert_eq!(told, [Some("WorkloadEntry ns/vm".to_owned()), None]);
}

#[test]
fn tls_by_a_rule_is_told_and_so_is_the_field_that_it_is_refused_for() {
    let prospect = |tls: Value| {
        let mut entry = service_entry("ns", "e", &[], &json!([{"address": "192.0.2.1"}]));
        entry["spec"]["location"] = json!("MESH_EXTERNAL");
        let mut rule = destination_rule("ns", "e.example.com", "SIMPLE");
        rule["spec"]["trafficPolicy"]["tls"] = tls;
        prospects(&with(&[entry, rule]), "e.example.com").unwrap().remove(0)
    };
    let simple = prospect(json!({"mode": "SIMPLE"}));
    assert_eq!((simple.transport, simple.decision), (Transport::Tls, Ok(Reason::RuleSimple)));
    assert_eq!((simple.status, simple.mode), (PeerStatus::External, None));
    let refused = prospect(json!({"mode": "MUTUAL", "credentialName": "secret"}));
    assert_eq!((refused.transport, refused.decision), (Transport::Tls, Err(Reason::TransportUnsupported)));
    assert!(refused.causes[0].says.contains("tls.mode MUTUAL with credentialName"), "{:?}", refused.causes);
}

proptest! {
    /// To each address, over each turn, the prospects are the routes.
    #[test]
    fn the_prospects_are_the_routes(objects in any_cluster(), namespace in "one|two") {
        let client = pod(&namespace, "stranger", "10.0.0.9", true);
        let mut index = Index::new(settings());
        for object in objects {
            index.apply(object);
        }
        index.apply(crate::cluster::testing::object(&client));
        let client = named(&format!("{namespace}/stranger"));
        for origin in ["10.0.0.1:8080", "10.0.0.2:80", "10.0.0.3:9090", "10.96.0.1:80", "10.97.0.1:80"].map(at) {
            let Ok(found) = index.prospects(&client, &origin.ip().to_string(), Some(origin.port())) else { continue };
            for turn in 0..4 {
                let route = index.route(&client, origin, turn);
                let Some(prospect) = found.endpoints.iter().find(|it| it.address == route.endpoint.to_string()) else {
                    prop_assert_eq!(route.reason, Reason::NoEndpoint);
                    continue;
                };
                let decision = if route.verdict == Verdict::Refuse { Err(route.reason) } else { Ok(route.reason) };
                prop_assert_eq!(prospect.decision, decision, "{}", origin);
                prop_assert_eq!(&prospect.pod, &route.peer);
            }
        }
    }
}
