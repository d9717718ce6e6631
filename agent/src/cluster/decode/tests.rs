use serde_json::json;

use super::*;
use crate::cluster::testing::{
    destination_rule, namespace, peer_authentication, pod, service, service_entry, slice, workload_entry,
};

fn rejected(document: &Value) -> String {
    decode(document, &Settings::default()).unwrap_err().to_string()
}

fn changed(mut document: Value, pointer: &str, value: Value) -> Value {
    *document.pointer_mut(pointer).expect("the field is there") = value;
    document
}

fn with(mut document: Value, field: &str, value: Value) -> Value {
    document["spec"][field] = value;
    document
}

#[test]
fn all_served_versions_are_read_and_no_other() {
    let rule = destination_rule("ns", "s", "DISABLE");
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let document = changed(rule.clone(), "/apiVersion", json!(format!("networking.istio.io/{version}")));
        assert!(decode(&document, &Settings::default()).unwrap().is_some(), "{version}");
    }
    let policy = peer_authentication("ns", &json!({}));
    for version in ["v1", "v1beta1"] {
        let document = changed(policy.clone(), "/apiVersion", json!(format!("security.istio.io/{version}")));
        assert!(decode(&document, &Settings::default()).unwrap().is_some(), "{version}");
    }
    let document = changed(policy, "/apiVersion", json!("security.istio.io/v2"));
    let expected = "apiVersion: expected PeerAuthentication in version v1, v1beta1, found \"v2\"";
    assert_eq!(rejected(&document), format!("PeerAuthentication ns/default: {expected}"));
}

#[test]
fn other_kinds_are_of_no_use() {
    for (version, kind) in [("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("example.com/v1", "Pod")] {
        let document = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}});
        assert_eq!(decode(&document, &Settings::default()).unwrap(), None, "{version} {kind}");
    }
}

#[test]
fn what_is_wrong_is_named_by_object_and_field() {
    let pod = || pod("ns", "p", "10.0.0.1", true);
    let service = || service("ns", "s", "10.96.0.1");
    let slice = || slice("ns", "s", &["10.0.0.1"]);
    let policy = |spec| peer_authentication("ns", &spec);
    let rule = || destination_rule("ns", "s", "DISABLE");
    let service_entry = || service_entry("ns", "e", &["10.97.0.1"], &json!([{"address": "10.0.0.9"}]));
    for (document, expected) in [
        (json!(null), "invalid type: null"),
        (json!({"kind": "Pod"}), "missing field `apiVersion`"),
        (changed(pod(), "/metadata/name", json!(null)), "metadata.name: expected a name, found none"),
        (
            changed(pod(), "/status/podIPs/0/ip", json!("10.0.0")),
            "Pod ns/p: status.podIPs[0].ip: expected an IP address, found \"10.0.0\"",
        ),
        (changed(pod(), "/spec/nodeName", json!(7)), "Pod ns/p: spec.nodeName: invalid type: integer `7`"),
        (
            changed(service(), "/spec/clusterIP", json!("none")),
            "Service ns/s: spec.clusterIP: expected an IP address, found \"none\"",
        ),
        (
            changed(service(), "/spec/ports/0/port", json!(70000)),
            "Service ns/s: spec.ports[0].port: expected a port from 1 to 65535, found 70000",
        ),
        (
            changed(slice(), "/endpoints/0/addresses", json!([])),
            "EndpointSlice ns/s-IPv4: endpoints[0].addresses[0]: expected an IP address, found \"\"",
        ),
        (
            changed(slice(), "/ports/0/port", json!(0)),
            "EndpointSlice ns/s-IPv4: ports[0].port: expected a port",
        ),
        (
            policy(json!({"portLevelMtls": {"80": {"mode": "STRICT"}}})),
            "PeerAuthentication ns/default: spec.portLevelMtls: portLevelMtls needs a selector",
        ),
        (
            policy(json!({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"http": {}}})),
            "PeerAuthentication ns/default: spec.portLevelMtls: expected a container port",
        ),
        (
            policy(json!({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"80": {"mode": "ON"}}})),
            "PeerAuthentication ns/default: spec.portLevelMtls.80.mode: expected mode UNSET",
        ),
        (
            changed(rule(), "/spec/host", json!("a b")),
            "DestinationRule ns/default: spec.host: expected a host",
        ),
        (
            changed(rule(), "/spec/trafficPolicy/tls/mode", json!("TLS")),
            "DestinationRule ns/default: spec.trafficPolicy.tls.mode: expected mode DISABLE",
        ),
        (
            changed(rule(), "/spec/trafficPolicy", json!({"portLevelSettings": [{"tls": {}}]})),
            "DestinationRule ns/default: spec.trafficPolicy.portLevelSettings[0].port.number: expected a port",
        ),
        (
            changed(rule(), "/spec", json!({"host": "s", "workloadSelector": {"matchLabels": {"a": "b"}}})),
            "DestinationRule ns/default: spec.workloadSelector: ",
        ),
        (
            changed(slice(), "/endpoints/0/addresses", json!(["fd00::1"])),
            "EndpointSlice ns/s-IPv4: endpoints[0].addresses[0]: expected an address of addressType",
        ),
        (
            changed(service_entry(), "/spec/hosts", json!([])),
            "ServiceEntry ns/e: spec.hosts: expected a host, found none",
        ),
        (
            changed(service_entry(), "/spec/location", json!("MESH")),
            "ServiceEntry ns/e: spec.location: unknown variant `MESH`, expected `MESH_EXTERNAL`",
        ),
        (
            changed(service_entry(), "/spec/ports/0/number", json!(0)),
            "ServiceEntry ns/e: spec.ports[0].number: expected a port",
        ),
        (
            with(service_entry(), "workloadSelector", json!({"labels": {"app": "a"}})),
            "ServiceEntry ns/e: spec.workloadSelector: there are endpoints as well",
        ),
        (
            with(workload_entry("ns", "w", "10.0.0.1", "a"), "ports", json!({"http": 70000})),
            "WorkloadEntry ns/w: spec.ports.http: expected a port",
        ),
    ] {
        let message = rejected(&document);
        assert!(message.contains(expected), "expected {expected}\n   found {message}");
        // Who asks for a kind by its name does not look for the name again.
        let is_named = document.get("apiVersion").is_some();
        if let Some(kind) = document["kind"].as_str().filter(|_| is_named).and_then(kind_called) {
            let fast = decode_json(kind, document.to_string().as_bytes(), &Settings::default());
            assert_eq!(fast.unwrap_err().to_string(), message);
        }
    }
}

fn kind_called(name: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|kind| kind.as_str() == name)
}

#[test]
fn both_ways_of_reading_agree() {
    let mut pod = pod("ns", "p", "10.0.0.1", true);
    pod["metadata"]["annotations"] = json!({"culvert.io/captured": "true", "other": "\u{e9}\n"});
    pod["metadata"]["managedFields"] = json!([{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]);
    pod["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    for document in [
        pod,
        service("ns", "s", "10.96.0.1"),
        slice("ns", "s", &["10.0.0.1"]),
        peer_authentication("ns", &json!({"mtls": {"mode": "STRICT"}})),
        destination_rule("ns", "s", "DISABLE"),
        service_entry("ns", "e", &["10.97.0.1"], &json!([{"address": "10.0.0.9"}])),
        workload_entry("ns", "w", "10.0.0.1", "a"),
        namespace("ns", &json!({"culvert.io/capture": "enabled", "other": "x"})),
    ] {
        let slow = decode(&document, &Settings::default()).unwrap().unwrap();
        let fast = decode_json(slow.key().kind, document.to_string().as_bytes(), &Settings::default());
        assert_eq!(fast.unwrap(), slow);
    }
}

#[test]
fn what_is_no_json_is_rejected() {
    for text in ["", "{", "7", "{\"metadata\":{\"name\":\"p\"}", "\u{0}"] {
        assert!(decode_json(Kind::Pod, text.as_bytes(), &Settings::default()).is_err(), "{text:?}");
    }
}

#[test]
fn labels_of_a_workload_entry_are_those_of_its_metadata_too() {
    let mut document = workload_entry("ns", "w", "10.0.0.1", "");
    document["metadata"]["labels"] = json!({"app": "metadata", "more": "1"});
    document["spec"]["labels"] = json!({"app": "spec", "less": "2"});
    let mut same = workload_entry("ns", "w", "10.0.0.1", "");
    same["spec"]["labels"] = json!({"app": "metadata", "less": "2", "more": "1"});
    let read = |document| decode(document, &Settings::default()).unwrap();
    assert_eq!(read(&document), read(&same));
}

#[test]
fn a_namespaced_object_without_a_namespace_is_of_the_default_one() {
    let document = changed(pod("ns", "p", "10.0.0.1", true), "/metadata/namespace", json!(null));
    let key = decode(&document, &Settings::default()).unwrap().unwrap().key();
    assert_eq!(key.to_string(), "Pod default/p");
}

#[test]
fn a_mode_that_is_absent_is_unset_and_so_is_an_absent_mtls() {
    let settings = Settings::default();
    let read = |spec| decode(&peer_authentication("ns", &spec), &settings).unwrap();
    let unset = read(json!({"mtls": {"mode": "UNSET"}}));
    for spec in [json!(null), json!({}), json!({"mtls": null}), json!({"mtls": {}}), json!({"selector": {}})]
    {
        assert_eq!(read(spec.clone()), unset, "{spec}");
    }
}
