//! What the kernel is told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{
    Index, KernelVerdict,
    testing::{destination_rule, index, named, peer_authentication, pod, service, slice},
};
use KernelVerdict::{Capture, Pass};

fn cluster(more: &[Value]) -> Index {
    let base = [
        pod("ns", "client", "10.0.0.1", true),
        pod("ns", "server", "10.0.0.2", true),
        pod("ns", "plain", "10.0.0.3", false),
    ];
    index(&[&base, more].concat())
}

/// What the kernel of the client's node is told, less what concerns the client.
fn told(index: &Index) -> BTreeMap<String, KernelVerdict> {
    let entries = index.destinations(&[named("ns/client")]).into_iter();
    let written = entries.map(|(to, verdict)| {
        (to.port.map_or(format!("{}", to.address), |port| format!("{} {port}", to.address)), verdict)
    });
    written.filter(|(to, _)| !to.starts_with("10.0.0.1")).collect()
}

fn expect(index: &Index, expected: &[(&str, KernelVerdict)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(to, verdict)| ((*to).to_owned(), *verdict)).collect();
    assert_eq!(told(index), expected);
}

#[test]
fn peers_are_captured_and_the_rest_is_not_mentioned() {
    expect(&cluster(&[]), &[("10.0.0.2", Capture)]);
}

#[test]
fn nobody_has_no_destinations() {
    assert_eq!(cluster(&[]).destinations(&[]), BTreeMap::new());
}

#[test]
fn a_service_is_captured_where_any_endpoint_is() {
    let plain = [service("ns", "s", "10.96.0.1"), slice("ns", "s", &["10.0.0.3"])];
    expect(&cluster(&plain), &[("10.0.0.2", Capture)]);
    let mixed = [service("ns", "s", "10.96.0.1"), slice("ns", "s", &["10.0.0.3", "10.0.0.2"])];
    expect(&cluster(&mixed), &[("10.0.0.2", Capture), ("10.96.0.1 80", Capture)]);
    expect(&cluster(&[service("ns", "s", "10.96.0.1")]), &[("10.0.0.2", Capture)]);
}

#[test]
fn a_service_is_captured_in_the_families_of_its_peers() {
    let mut both = service("ns", "s", "10.96.0.1");
    both["spec"]["clusterIPs"] = json!(["10.96.0.1", "fd00:96::1"]);
    let mut server = pod("ns", "server", "10.0.0.2", true);
    server["status"]["podIPs"] = json!([{"ip": "10.0.0.2"}, {"ip": "fd00::2"}]);
    let index = cluster(&[both, server, slice("ns", "s", &["10.0.0.3"]), slice("ns", "s", &["fd00::2"])]);
    expect(&index, &[("10.0.0.2", Capture), ("fd00::2", Capture), ("fd00:96::1 80", Capture)]);
}

#[test]
fn what_must_be_refused_is_captured() {
    let demand = destination_rule("istio-system", "*", "ISTIO_MUTUAL");
    let plain = [service("ns", "s", "10.96.0.1"), slice("ns", "s", &["10.0.0.3"]), demand];
    expect(&cluster(&plain), &[("10.0.0.2", Capture), ("10.96.0.1 80", Capture)]);
    let originate = destination_rule("ns", "s", "SIMPLE");
    let plain = [service("ns", "s", "10.96.0.1"), slice("ns", "s", &["10.0.0.3"]), originate];
    expect(&cluster(&plain), &[("10.0.0.2", Capture), ("10.96.0.1 80", Capture)]);
}

#[test]
fn rules_of_headless_services_single_out_their_ports() {
    let headless = |mode| {
        let rule = destination_rule("ns", "s", mode);
        cluster(&[service("ns", "s", "None"), slice("ns", "s", &["10.0.0.2", "10.0.0.3", "192.0.2.1"]), rule])
    };
    expect(&headless("DISABLE"), &[("10.0.0.2", Capture), ("10.0.0.2 8080", Pass)]);
    expect(
        &headless("ISTIO_MUTUAL"),
        &[("10.0.0.2", Capture), ("10.0.0.3 8080", Capture), ("192.0.2.1 8080", Capture)],
    );
}

#[test]
fn port_modes_single_out_their_ports() {
    let policy = |mode: &str, port_mode: &str| {
        let selector = json!({"matchLabels": {"app": "server"}});
        let ports = json!({"8080": {"mode": port_mode}});
        peer_authentication(
            "ns",
            &json!({"selector": selector, "mtls": {"mode": mode}, "portLevelMtls": ports}),
        )
    };
    expect(&cluster(&[policy("STRICT", "DISABLE")]), &[("10.0.0.2", Capture), ("10.0.0.2 8080", Pass)]);
    expect(&cluster(&[policy("DISABLE", "STRICT")]), &[("10.0.0.2 8080", Capture)]);
    expect(&cluster(&[policy("STRICT", "PERMISSIVE")]), &[("10.0.0.2", Capture)]);
    expect(&cluster(&[policy("DISABLE", "DISABLE")]), &[]);
}

#[test]
fn a_rule_that_only_some_clients_see_captures_for_them_all() {
    let rule = destination_rule("other", "s.ns.svc.cluster.local", "ISTIO_MUTUAL");
    let index = cluster(&[service("ns", "s", "10.96.0.1"), slice("ns", "s", &["10.0.0.3"]), rule]);
    expect(&index, &[("10.0.0.2", Capture)]);
    let both = index.destinations(&[named("ns/client"), named("other/client")]);
    assert!(both.keys().any(|to| to.port == Some(80)), "{both:?}");
}
