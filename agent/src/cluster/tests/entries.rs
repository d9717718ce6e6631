//! `ServiceEntry` and `WorkloadEntry`.

use std::collections::BTreeMap;

use culvert_policy::{PeerStatus, Reason, SpiffeId};
use serde_json::{Value, json};

use crate::cluster::{
    Index, KernelVerdict, Route, Verdict,
    testing::{at, destination_rule, index, named, peer_authentication, pod, service_entry, workload_entry},
};

fn with(more: &[Value]) -> Index {
    index(&[&[pod("ns", "client", "10.0.0.1", true)], more].concat())
}

fn route(index: &Index, origin: &str) -> Route {
    index.route(&named("ns/client"), at(origin), 0)
}

fn decision(index: &Index, origin: &str) -> (Verdict, Reason) {
    let route = route(index, origin);
    (route.verdict, route.reason)
}

fn sidecar(account: &str) -> (Verdict, Reason) {
    (Verdict::Sidecar(SpiffeId::new("cluster.local", "ns", account)), Reason::PeerSidecar)
}

const PLAINTEXT: (Verdict, Reason) = (Verdict::Plaintext, Reason::PeerPlaintext);
const EXTERNAL: (Verdict, Reason) = (Verdict::Plaintext, Reason::MeshExternal);

/// What the kernel of the client's node is told, less what concerns the client.
fn told(index: &Index) -> BTreeMap<String, KernelVerdict> {
    let entries = index.destinations(&[named("ns/client")]).into_iter();
    let written = entries.map(|(to, verdict)| (format!("{} {}", to.address, to.port.unwrap_or(0)), verdict));
    written.filter(|(to, _)| !to.starts_with("10.0.0.1 ")).collect()
}

#[test]
fn a_workload_entry_speaks_what_is_written_on_it() {
    let with_label = |mode: &str, account: &str| {
        let mut entry = workload_entry("ns", "vm", "10.1.0.1", account);
        entry["spec"]["labels"]["security.istio.io/tlsMode"] = json!(mode);
        entry
    };
    let mut tunnel = workload_entry("ns", "vm", "10.1.0.1", "vm");
    tunnel["metadata"]["labels"] = json!({"networking.istio.io/tunnel": "http"});
    let hbone = (Verdict::Hbone(SpiffeId::new("cluster.local", "ns", "vm")), Reason::PeerHbone);
    for (entry, expected) in [
        (workload_entry("ns", "vm", "10.1.0.1", "vm"), sidecar("vm")),
        (workload_entry("ns", "vm", "10.1.0.1", ""), PLAINTEXT),
        (with_label("istio", ""), sidecar("default")),
        (with_label("disabled", "vm"), PLAINTEXT),
        (tunnel, hbone),
    ] {
        assert_eq!(decision(&with(std::slice::from_ref(&entry)), "10.1.0.1:80"), expected, "{entry}");
    }
}

#[test]
fn a_workload_entry_obeys_the_policy_of_its_namespace() {
    let entry = workload_entry("ns", "vm", "10.1.0.1", "vm");
    let disable = peer_authentication("ns", &json!({"mtls": {"mode": "DISABLE"}}));
    let selector = json!({"matchLabels": {"app": "vm"}});
    let port = peer_authentication(
        "ns",
        &json!({"selector": selector, "portLevelMtls": {"8080": {"mode": "DISABLE"}}}),
    );
    let mode_disable = (Verdict::Plaintext, Reason::ModeDisable);
    assert_eq!(decision(&with(&[entry.clone(), disable]), "10.1.0.1:80"), mode_disable);
    let index = with(&[entry, port]);
    assert_eq!(decision(&index, "10.1.0.1:8080"), mode_disable);
    assert_eq!(decision(&index, "10.1.0.1:80"), sidecar("vm"));
    let capture = ("10.1.0.1 0".to_owned(), KernelVerdict::Capture);
    let pass = ("10.1.0.1 8080".to_owned(), KernelVerdict::Pass);
    assert_eq!(told(&index), BTreeMap::from([capture, pass]));
}

#[test]
fn a_pod_has_an_address_before_a_workload_entry() {
    let index = with(&[workload_entry("ns", "vm", "10.0.0.2", "vm"), pod("ns", "p", "10.0.0.2", false)]);
    assert_eq!(decision(&index, "10.0.0.2:80"), PLAINTEXT);
}

#[test]
fn a_workload_entry_with_a_name_for_an_address_is_nobody() {
    let index = with(&[workload_entry("ns", "vm", "vm.example.com", "vm")]);
    assert_eq!(told(&index), BTreeMap::new());
}

#[test]
fn the_address_of_a_service_entry_leads_to_its_endpoints() {
    let endpoints = json!([
        {"address": "10.1.0.1", "serviceAccount": "one"},
        {"address": "10.1.0.2", "ports": {"http": 9090}},
        {"address": "fd00::1", "serviceAccount": "three"},
        {"address": "name.example.com"},
    ]);
    let index = with(&[service_entry("ns", "e", &["10.97.0.1", "fd00:97::1", "10.98.0.0/16"], &endpoints)]);
    let routes = [0, 1, 2].map(|turn| {
        let route = index.route(&named("ns/client"), at("10.97.0.1:80"), turn);
        (route.endpoint.to_string(), route.status)
    });
    let expected = [
        ("10.1.0.1:8080", PeerStatus::Sidecar),
        ("10.1.0.2:9090", PeerStatus::None),
        ("10.1.0.1:8080", PeerStatus::Sidecar),
    ];
    assert_eq!(routes, expected.map(|(endpoint, status)| (endpoint.to_owned(), status)));
    assert_eq!(route(&index, "[fd00:97::1]:80").endpoint, at("[fd00::1]:8080"));
    assert_eq!(decision(&index, "10.98.0.1:80"), (Verdict::Plaintext, Reason::UnknownAddress));
    let captured = ["10.1.0.1 0", "10.97.0.1 80", "fd00::1 0", "fd00:97::1 80"];
    assert_eq!(told(&index), captured.map(|to| (to.to_owned(), KernelVerdict::Capture)).into());
}

#[test]
fn a_service_entry_selects_pods_and_workload_entries_of_its_namespace() {
    let mut entry = service_entry("ns", "e", &["10.97.0.1"], &json!([]));
    entry["spec"]["workloadSelector"] = json!({"labels": {"app": "server"}});
    let mut vm = workload_entry("ns", "server", "10.1.0.1", "vm");
    vm["spec"]["ports"] = json!({"http": 9090});
    let others = [workload_entry("other", "server", "10.1.0.2", "vm"), pod("ns", "b", "10.0.0.9", true)];
    let objects = [entry, vm, pod("ns", "server", "10.0.0.2", true)];
    let index = with(&[&objects[..], &others].concat());
    let endpoints = [0, 1, 2].map(|turn| index.route(&named("ns/client"), at("10.97.0.1:80"), turn).endpoint);
    assert_eq!(endpoints, [at("10.0.0.2:8080"), at("10.1.0.1:9090"), at("10.0.0.2:8080")]);
}

#[test]
fn what_is_outside_the_mesh_is_plaintext_unless_a_rule_says_otherwise() {
    let external = |endpoints: Value| {
        let mut entry = service_entry("ns", "e", &["10.97.0.1"], &endpoints);
        entry["spec"]["location"] = json!("MESH_EXTERNAL");
        entry
    };
    let plain = external(json!([{"address": "192.0.2.1"}]));
    let index = with(std::slice::from_ref(&plain));
    assert_eq!(decision(&index, "10.97.0.1:80"), EXTERNAL);
    assert_eq!(decision(&index, "192.0.2.1:8080"), EXTERNAL);
    assert_eq!(told(&index), BTreeMap::new());
    let demand = || destination_rule("ns", "e.example.com", "ISTIO_MUTUAL");
    let index = with(&[plain, demand()]);
    assert_eq!(decision(&index, "10.97.0.1:80"), (Verdict::Refuse, Reason::PeerCannotMtls));
    assert_eq!(decision(&index, "192.0.2.1:8080"), (Verdict::Refuse, Reason::PeerCannotMtls));
    let index = with(&[
        external(json!([{"address": "192.0.2.1"}])),
        destination_rule("ns", "e.example.com", "SIMPLE"),
    ]);
    for origin in ["10.97.0.1:80", "192.0.2.1:8080"] {
        let (verdict, reason) = decision(&index, origin);
        let Verdict::Tls(terms) = verdict else { panic!("{origin}: {verdict:?}") };
        assert_eq!((&*terms.name, reason), ("e.example.com", Reason::RuleSimple), "{origin}");
        assert_eq!(told(&index)[&origin.replace(':', " ")], KernelVerdict::Capture);
    }
    let able = external(json!([{"address": "192.0.2.1", "serviceAccount": "a"}]));
    let index = with(&[able.clone(), demand()]);
    let mutual = (Verdict::Sidecar(SpiffeId::new("cluster.local", "ns", "a")), Reason::RuleIstioMutual);
    assert_eq!(decision(&index, "10.97.0.1:80"), mutual);
    let index = with(&[able]);
    assert_eq!(decision(&index, "192.0.2.1:8080"), EXTERNAL);
    assert_eq!(decision(&index, "192.0.2.1:9999"), sidecar("a"));
}

#[test]
fn a_service_entry_without_resolution_is_whoever_has_the_address() {
    let mut entry = service_entry("ns", "e", &["10.1.0.1/32"], &json!([]));
    entry["spec"]["resolution"] = json!("NONE");
    let objects = [entry, workload_entry("ns", "vm", "10.1.0.1", "vm")];
    let index = with(&objects);
    assert_eq!(decision(&index, "10.1.0.1:80"), sidecar("vm"));
    assert_eq!(route(&index, "10.1.0.1:80").endpoint, at("10.1.0.1:80"));
    let rule = destination_rule("ns", "*.example.com", "DISABLE");
    let index = with(&[&objects[..], &[rule]].concat());
    assert_eq!(decision(&index, "10.1.0.1:80"), (Verdict::Plaintext, Reason::RuleDisable));
}

#[test]
fn names_are_not_looked_up() {
    let mut entry = service_entry("ns", "e", &["10.97.0.1"], &json!([{"address": "name.example.com"}]));
    entry["spec"]["resolution"] = json!("DNS");
    let index = with(&[entry, destination_rule("ns", "e.example.com", "ISTIO_MUTUAL")]);
    assert_eq!(told(&index), BTreeMap::new());
    assert_eq!(decision(&index, "10.97.0.1:80"), (Verdict::Plaintext, Reason::UnknownAddress));
}

#[test]
fn a_service_entry_is_known_where_it_is_exported_to() {
    let mut entry = service_entry("other", "e", &["10.97.0.1"], &json!([{"address": "10.1.0.1"}]));
    entry["spec"]["exportTo"] = json!(["."]);
    let index = with(&[entry, destination_rule("istio-system", "*", "ISTIO_MUTUAL")]);
    assert_eq!(decision(&index, "10.97.0.1:80"), (Verdict::Plaintext, Reason::UnknownAddress));
    assert_eq!(decision(&index, "10.1.0.1:8080"), PLAINTEXT);
    let inside = index.route(&named("other/client"), at("10.97.0.1:80"), 0);
    assert_eq!(inside.reason, Reason::PeerCannotMtls);
}

#[test]
fn what_an_entry_says_of_its_servers_goes_with_tls_to_them() {
    let mut entry = service_entry("ns", "api", &["10.9.0.1"], &json!([{"address": "10.1.0.1"}]));
    entry["spec"]["subjectAltNames"] = json!(["a.example", "spiffe://b/c"]);
    let mut rule = destination_rule("ns", "api", "SIMPLE");
    rule["spec"]["host"] = json!("api.example.com");
    let index = with(&[entry, rule]);
    for origin in ["10.9.0.1:80", "10.1.0.1:8080"] {
        let Verdict::Tls(terms) = route(&index, origin).verdict else { panic!("{origin}") };
        assert_eq!(*terms.server_names, ["a.example".into(), "spiffe://b/c".into()], "{origin}");
    }
}
