//! Where a connection goes, and why.

use std::sync::Arc;

use culvert_policy::{PeerStatus, Reason, SpiffeId};
use serde_json::{Value, json};

use crate::cluster::{
    Index, PodRef, Route, Settings, Verdict,
    testing::{
        at, destination_rule, index, named, namespace, object, peer_authentication, pod, service, settings,
        slice,
    },
};

/// A client, an enrolled server behind a Service and a headless one, and a server that is not enrolled.
fn cluster() -> Vec<Value> {
    vec![
        pod("ns", "client", "10.0.0.1", true),
        pod("ns", "server", "10.0.0.2", true),
        pod("ns", "plain", "10.0.0.3", false),
        service("ns", "both", "10.96.0.1"),
        slice("ns", "both", &["10.0.0.3", "10.0.0.2"]),
        service("ns", "headless", "None"),
        slice("ns", "headless", &["10.0.0.2", "10.0.0.3"]),
    ]
}

fn with(more: &[Value]) -> Index {
    index(&[cluster(), more.to_vec()].concat())
}

fn route(index: &Index, origin: &str) -> Route {
    index.route(&named("ns/client"), at(origin), 0)
}

fn hbone(account: &str) -> Verdict {
    Verdict::Hbone(SpiffeId::new("cluster.local", "ns", account))
}

/// The verdict and the reason for it.
fn decision(index: &Index, origin: &str) -> (Verdict, Reason) {
    let route = route(index, origin);
    (route.verdict, route.reason)
}

#[test]
fn a_service_takes_its_endpoints_in_turn() {
    let index = with(&[]);
    let endpoints = [0, 1, 2, 3].map(|turn| {
        let route = index.route(&named("ns/client"), at("10.96.0.1:80"), turn);
        (route.endpoint.to_string(), route.verdict)
    });
    let expected = [("10.0.0.2:8080", hbone("server")), ("10.0.0.3:8080", Verdict::Plaintext)];
    let expected = expected.map(|(endpoint, verdict)| (endpoint.to_owned(), verdict));
    assert_eq!(endpoints[..2], expected);
    assert_eq!(endpoints[2..], expected);
}

#[test]
fn only_ready_endpoints_are_taken() {
    let mut slice = slice("ns", "both", &["10.0.0.2", "10.0.0.3"]);
    slice["endpoints"][0]["conditions"] = json!({"ready": false});
    let index = with(&[slice.clone()]);
    assert_eq!(route(&index, "10.96.0.1:80").endpoint, at("10.0.0.3:8080"));
    slice["endpoints"][1]["conditions"] = json!({"ready": false});
    let index = with(&[slice]);
    assert_eq!(decision(&index, "10.96.0.1:80"), (Verdict::Refuse, Reason::NoEndpoint));
}

#[test]
fn a_mapped_address_is_the_address_that_it_maps() {
    let index = with(&[]);
    let mapped = route(&index, "[::ffff:10.0.0.2]:8080");
    assert_eq!(mapped, route(&index, "10.0.0.2:8080"));
    assert_eq!(mapped.endpoint, at("10.0.0.2:8080"));
}

#[test]
fn a_pod_that_calls_itself_is_left_alone() {
    let index = with(&[service("ns", "me", "10.96.0.9"), slice("ns", "me", &["10.0.0.1"])]);
    for (origin, endpoint) in [("10.0.0.1:9000", "10.0.0.1:9000"), ("10.96.0.9:80", "10.0.0.1:8080")] {
        let route = route(&index, origin);
        assert_eq!((route.verdict, route.reason), (Verdict::Plaintext, Reason::SelfCall), "{origin}");
        assert_eq!(route.endpoint, at(endpoint));
    }
}

#[test]
fn an_address_that_nobody_has_is_unknown() {
    let index = with(&[]);
    assert_eq!(decision(&index, "192.0.2.1:80"), (Verdict::Plaintext, Reason::UnknownAddress));
    assert_eq!(decision(&index, "10.96.0.1:81"), (Verdict::Plaintext, Reason::UnknownAddress));
    assert_eq!(decision(&index, "10.0.0.3:8080"), (Verdict::Plaintext, Reason::PeerPlaintext));
}

#[test]
fn rules_reach_services_and_the_pods_of_headless_ones() {
    let demands = |host| with(&[destination_rule("ns", host, "ISTIO_MUTUAL")]);
    for (index, origin, expected) in [
        (demands("both"), "10.96.0.1:80", (hbone("server"), Reason::RuleIstioMutual)),
        (demands("both"), "10.0.0.3:8080", (Verdict::Plaintext, Reason::PeerPlaintext)),
        (demands("headless"), "10.0.0.3:8080", (Verdict::Refuse, Reason::PeerCannotMtls)),
        (demands("headless"), "10.0.0.3:8081", (Verdict::Plaintext, Reason::PeerPlaintext)),
        (demands("headless"), "10.0.0.2:8080", (hbone("server"), Reason::RuleIstioMutual)),
        (demands("*"), "10.0.0.3:8080", (Verdict::Refuse, Reason::PeerCannotMtls)),
        (demands("*"), "192.0.2.1:80", (Verdict::Plaintext, Reason::UnknownAddress)),
    ] {
        assert_eq!(decision(&index, origin), expected, "{origin}");
    }
}

#[test]
fn of_several_names_the_oldest_with_a_rule_that_decides_counts() {
    let mut elsewhere = destination_rule("ns", "headless", "DISABLE");
    elsewhere["metadata"]["name"] = json!("elsewhere");
    elsewhere["spec"]["trafficPolicy"] =
        json!({"portLevelSettings": [{"port": {"number": 81}, "tls": {"mode": "DISABLE"}}]});
    let index = with(&[
        service("ns", "later", "None"),
        slice("ns", "later", &["10.0.0.2"]),
        elsewhere,
        destination_rule("ns", "later", "DISABLE"),
    ]);
    assert_eq!(decision(&index, "10.0.0.2:8080"), (Verdict::Plaintext, Reason::RuleDisable));
}

#[test]
fn an_endpoint_of_a_headless_service_is_one_even_when_it_is_not_ready() {
    let mut unready = slice("ns", "headless", &["10.0.0.3"]);
    unready["endpoints"][0]["conditions"] = json!({"ready": false});
    let index = with(&[unready, destination_rule("ns", "headless", "ISTIO_MUTUAL")]);
    assert_eq!(decision(&index, "10.0.0.3:8080"), (Verdict::Refuse, Reason::PeerCannotMtls));
}

#[test]
fn ports_of_rules_are_the_services_and_ports_of_policies_the_containers() {
    let mut rule = destination_rule("ns", "both", "ISTIO_MUTUAL");
    rule["spec"]["trafficPolicy"] =
        json!({"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "DISABLE"}}]});
    assert_eq!(decision(&with(&[rule.clone()]), "10.96.0.1:80"), (Verdict::Plaintext, Reason::RuleDisable));
    rule["spec"]["trafficPolicy"]["portLevelSettings"][0]["port"]["number"] = json!(8080);
    assert_eq!(decision(&with(&[rule]), "10.96.0.1:80"), (hbone("server"), Reason::PeerHbone));

    let policy = |port: &str| {
        let selector = json!({"matchLabels": {"app": "server"}});
        peer_authentication(
            "ns",
            &json!({"selector": selector, "portLevelMtls": {port: {"mode": "DISABLE"}}}),
        )
    };
    assert_eq!(decision(&with(&[policy("8080")]), "10.96.0.1:80"), (Verdict::Plaintext, Reason::ModeDisable));
    assert_eq!(decision(&with(&[policy("80")]), "10.96.0.1:80"), (hbone("server"), Reason::PeerHbone));
}

#[test]
fn tls_by_a_rule_is_never_plaintext() {
    let ruled = |tls: Value| {
        let mut rule = destination_rule("ns", "both", "SIMPLE");
        rule["spec"]["trafficPolicy"]["tls"] = tls;
        decision(&with(&[rule]), "10.96.0.1:80")
    };
    let host = "both.ns.svc.cluster.local";
    let (verdict, reason) = ruled(json!({"mode": "SIMPLE"}));
    assert_eq!((name(&verdict), reason), (Some(host.into()), Reason::RuleSimple));
    let files = json!({"mode": "MUTUAL", "clientCertificate": "/c", "privateKey": "/k", "sni": "b.example"});
    let (verdict, reason) = ruled(files);
    assert_eq!((name(&verdict), reason), (Some("b.example".into()), Reason::RuleMutual));
    let refused = (Verdict::Refuse, Reason::TransportUnsupported);
    assert_eq!(ruled(json!({"mode": "SIMPLE", "credentialName": "secret"})), refused);
}

/// What a server is asked for that is not the mesh's.
fn name(verdict: &Verdict) -> Option<Arc<str>> {
    match verdict {
        Verdict::Tls(terms) => Some(terms.name.clone()),
        _ => None,
    }
}

#[test]
fn sidecars_and_foreign_tunnels_are_peers() {
    let mut sidecar = pod("ns", "plain", "10.0.0.3", false);
    sidecar["metadata"]["labels"]["security.istio.io/tlsMode"] = json!("istio");
    let mut ambient = pod("ns", "server", "10.0.0.2", false);
    ambient["metadata"]["annotations"] = json!({"ambient.istio.io/redirection": "enabled"});
    let index = with(&[sidecar, ambient]);
    let identity = SpiffeId::new("cluster.local", "ns", "plain");
    assert_eq!(decision(&index, "10.0.0.3:8080"), (Verdict::Sidecar(identity), Reason::PeerSidecar));
    assert_eq!(decision(&index, "10.0.0.2:8080"), (hbone("server"), Reason::PeerHbone));
}

#[test]
fn who_is_not_running_is_no_peer() {
    for status in
        [json!({"phase": "Pending", "podIPs": [{"ip": "10.0.0.2"}]}), json!({"phase": "Running"}), json!({})]
    {
        let mut server = pod("ns", "server", "10.0.0.2", true);
        server["status"] = status;
        let index = with(&[server]);
        assert_eq!(decision(&index, "10.0.0.2:8080"), (Verdict::Plaintext, Reason::UnknownAddress));
    }
}

#[test]
fn where_annotations_count_wishes_do_not() {
    let mut index = Index::new(Settings::default());
    let mut server = pod("ns", "server", "10.0.0.2", true);
    index.apply(object(&server));
    assert_eq!(route(&index, "10.0.0.2:80").status, PeerStatus::None);
    server["metadata"]["annotations"] = json!({"culvert.io/captured": "true"});
    index.apply(object(&server));
    assert_eq!(route(&index, "10.0.0.2:80").status, PeerStatus::Hbone);
}

#[test]
fn an_address_that_was_passed_on_is_the_younger_pods() {
    let aged = |name: &str, created: &str| {
        let mut pod = pod("ns", name, "10.0.0.7", true);
        pod["metadata"]["creationTimestamp"] = json!(created);
        pod
    };
    let (old, new) = (aged("z-old", "2026-01-01T00:00:00Z"), aged("a-new", "2026-01-02T00:00:00Z"));
    for objects in [[old.clone(), new.clone()], [new, old]] {
        assert_eq!(index(&objects).pod_at("10.0.0.7".parse().unwrap()), Some(PodRef::new("ns", "a-new")));
    }
}

#[test]
fn without_auto_mtls_only_rules_encrypt() {
    let mut index = Index::new(Settings { auto_mtls: false, ..settings() });
    for value in cluster() {
        index.apply(object(&value));
    }
    assert_eq!(decision(&index, "10.96.0.1:80"), (Verdict::Plaintext, Reason::AutoMtlsOff));
    index.apply(object(&destination_rule("ns", "both", "ISTIO_MUTUAL")));
    assert_eq!(decision(&index, "10.96.0.1:80"), (hbone("server"), Reason::RuleIstioMutual));
}

#[test]
fn a_server_that_nobody_knows_accepts_nothing() {
    let index = with(&[]);
    let stranger = named("ns/stranger");
    assert_eq!(index.admit_hbone(&stranger, 80), Err(Reason::UnknownPod));
    assert_eq!(index.admit_plaintext(&stranger, 80), Err(Reason::UnknownPod));
    assert_eq!(index.port_modes(&stranger).mode(80), culvert_policy::Mode::Strict);
}

#[test]
fn a_pod_in_the_nodes_network_is_known_by_its_slice() {
    let mut host_pod = pod("ns", "host", "10.0.0.200", true);
    host_pod["spec"]["hostNetwork"] = json!(true);
    let mut endpoints = slice("ns", "host", &["10.0.0.200"]);
    endpoints["endpoints"][0]["targetRef"] = json!({"kind": "Pod", "name": "host"});
    let mut rule = destination_rule("ns", "host", "DISABLE");
    rule["spec"] = json!({"host": "host", "subsets": [
        {"name": "it", "labels": {"app": "host"}, "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}},
    ]});
    let mut objects =
        vec![host_pod, service("ns", "host", "10.96.0.8"), endpoints, namespace("ns", &json!({}))];
    assert_eq!(decision(&with(&objects), "10.96.0.8:80"), (Verdict::Plaintext, Reason::PeerPlaintext));
    objects.push(rule);
    assert_eq!(decision(&with(&objects), "10.96.0.8:80"), (Verdict::Refuse, Reason::PeerCannotMtls));
}
