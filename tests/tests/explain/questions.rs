//! What can be asked, what cannot, and how it is answered.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{ask, explain, write};

fn object(kind: &str, namespace: &str, name: &str, spec: &Value) -> Value {
    let version = match kind {
        "Pod" | "Service" => "v1",
        "PeerAuthentication" => "security.istio.io/v1",
        _ => "networking.istio.io/v1",
    };
    let metadata = json!({"namespace": namespace, "name": name});
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

fn pod(namespace: &str, name: &str, ip: &str, labels: &Value) -> Value {
    let mut pod = object("Pod", namespace, name, &json!({"serviceAccountName": name}));
    pod["metadata"]["labels"] = labels.clone();
    pod["status"] = json!({"phase": "Running", "podIPs": [{"ip": ip}]});
    pod
}

fn slice(namespace: &str, service: &str, pods: &[(&str, &str)]) -> Value {
    let endpoint =
        |(name, ip): &(&str, &str)| json!({"addresses": [ip], "targetRef": {"kind": "Pod", "name": name}});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": namespace, "name": service, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "http", "port": 80}],
    })
}

/// An enrolled client, a Service of one enrolled pod, a headless one of two pods, and what is outside the mesh.
fn cluster(more: &[Value]) -> TempDir {
    let enrolled = json!({"culvert.io/capture": "enabled"});
    let port = json!([{"name": "http", "port": 8000, "targetPort": 80}]);
    let two = json!([{"name": "http", "port": 8000}, {"name": "admin", "port": 9000}]);
    let external = json!({
        "hosts": ["api.example.com"], "resolution": "DNS", "location": "MESH_EXTERNAL",
        "ports": [{"name": "https", "number": 443, "protocol": "TLS"}],
    });
    let objects = [
        pod("full", "sleep", "10.0.0.1", &enrolled),
        pod("full", "httpbin-1", "10.0.0.7", &enrolled),
        pod("full", "web-0", "10.0.0.8", &json!({})),
        object("Service", "full", "httpbin", &json!({"clusterIP": "10.96.0.1", "ports": port})),
        slice("full", "httpbin", &[("httpbin-1", "10.0.0.7")]),
        object(
            "Service",
            "full",
            "web",
            &json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}),
        ),
        slice("full", "web", &[("web-0", "10.0.0.8"), ("httpbin-1", "10.0.0.7")]),
        object("Service", "full", "two", &json!({"clusterIP": "10.96.0.2", "ports": two})),
        object("Service", "full", "alias", &json!({"type": "ExternalName", "externalName": "example.com"})),
        object("ServiceEntry", "full", "api", &external),
        object("PeerAuthentication", "full", "default", &json!({"mtls": {"mode": "STRICT"}})),
    ];
    let directory = TempDir::new().unwrap();
    write(directory.path(), "cluster.json", &[&objects, more].concat());
    directory
}

#[test]
fn the_answer_has_these_fields_and_no_others() {
    let cluster = cluster(&[]);
    let expected = json!({
        "from": {"pod": "full/sleep", "enrolled": true},
        "to": {"host": "httpbin.full.svc.cluster.local", "port": 8000},
        "endpoints": [{
            "pod": "full/httpbin-1", "address": "10.0.0.7:80", "status": "hbone", "mode": "STRICT",
            "transport": "hbone", "outcome": "ok", "reason": "peer_hbone",
        }],
    });
    assert_eq!(ask(cluster.path(), "full/sleep", "httpbin:8000"), expected);
}

#[test]
fn a_destination_is_written_in_each_form_that_kubernetes_knows() {
    let cluster = cluster(&[]);
    let (service, web) = ("httpbin.full.svc.cluster.local", "web.full.svc.cluster.local");
    let pod = "web-0.web.full.svc.cluster.local";
    for (to, host, port, addresses) in [
        ("httpbin", service, 8000, &["10.0.0.7:80"][..]),
        ("httpbin.full:8000", service, 8000, &["10.0.0.7:80"]),
        ("httpbin.full.svc", service, 8000, &["10.0.0.7:80"]),
        ("HTTPBIN.full.svc.cluster.local.", service, 8000, &["10.0.0.7:80"]),
        ("web", web, 80, &["10.0.0.7:80", "10.0.0.8:80"]),
        ("web-0.web", pod, 80, &["10.0.0.8:80"]),
        ("web-0.web.full.svc.cluster.local:80", pod, 80, &["10.0.0.8:80"]),
        ("api.example.com", "api.example.com", 443, &["api.example.com:443"]),
        ("10.96.0.1", "10.96.0.1", 8000, &["10.0.0.7:80"]),
        ("10.0.0.7:9999", "10.0.0.7", 9999, &["10.0.0.7:9999"]),
        ("[::ffff:10.0.0.7]:80", "10.0.0.7", 80, &["10.0.0.7:80"]),
        ("[2001:db8::1]:80", "2001:db8::1", 80, &["[2001:db8::1]:80"]),
        ("two:9000", "two.full.svc.cluster.local", 9000, &[]),
    ] {
        let answer = ask(cluster.path(), "full/sleep", to);
        assert_eq!(answer["to"], json!({"host": host, "port": port}), "{to}");
        let endpoints = answer["endpoints"].as_array().unwrap();
        let found: Vec<_> = endpoints.iter().map(|endpoint| endpoint["address"].as_str().unwrap()).collect();
        assert_eq!(found, addresses, "{to}");
    }
}

#[test]
fn what_is_outside_the_mesh_has_no_mode() {
    let cluster = cluster(&[]);
    for (to, status, reason) in [
        ("api.example.com", "external", "mesh_external"),
        ("192.0.2.1:80", "none", "unknown_address"),
        ("127.0.0.1:80", "none", "self_call"),
    ] {
        let answer = ask(cluster.path(), "full/sleep", to);
        let endpoint = &answer["endpoints"][0];
        assert_eq!((&endpoint["mode"], &endpoint["status"]), (&Value::Null, &status.into()), "{answer}");
        assert_eq!((&endpoint["transport"], &endpoint["outcome"]), (&"plaintext".into(), &"ok".into()));
        assert_eq!(endpoint["reason"], reason);
    }
}

#[test]
fn a_client_that_is_not_enrolled_meets_the_servers_policy() {
    let strict = cluster(&[]);
    for (to, outcome, reason) in [
        ("httpbin", "refused", "mode_strict"),
        ("10.0.0.8:80", "ok", "self_call"),
        ("10.0.0.1:80", "refused", "mode_strict"),
    ] {
        let answer = ask(strict.path(), "full/web-0", to);
        assert_eq!(answer["from"]["enrolled"], false);
        let endpoint = &answer["endpoints"][0];
        assert_eq!(
            (&endpoint["outcome"], &endpoint["reason"]),
            (&outcome.into(), &reason.into()),
            "{answer}"
        );
        assert_eq!(endpoint["transport"], "plaintext");
    }
}

#[test]
fn what_cannot_be_answered_is_said_with_the_reason() {
    let cluster = cluster(&[]);
    for (from, to, parts) in [
        ("full/nobody", "httpbin", &["no pod full/nobody"][..]),
        ("full/sleep", "nobody.full", &["\"nobody.full\"", "namespace full"]),
        ("full/sleep", "two", &["two.full.svc.cluster.local", "8000, 9000"]),
        ("full/sleep", "httpbin:81", &["no port 81", "8000"]),
        ("full/sleep", "10.96.0.2:81", &["no port 81", "8000, 9000"]),
        ("full/sleep", "10.0.0.7", &["10.0.0.7", "without a port"]),
        ("full/sleep", "alias", &["no address of its own"]),
    ] {
        let path = cluster.path().to_str().unwrap();
        let output = explain(&["--manifests", path, "--from", from, "--to", to]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{to}: {said}");
        assert!(output.stdout.is_empty() && parts.iter().all(|part| said.contains(part)), "{to}: {said}");
    }
}

#[test]
fn no_agent_wrong_flags_and_no_directory_are_told_apart() {
    let asked = ["--from", "full/sleep", "--to", "httpbin"];
    for (flags, status) in [
        (&["--socket", "/nonexistent/agent.sock"][..], 1),
        (&["--manifests", "/nonexistent"], 2),
        (&["--manifests", "/tmp", "--socket", "/x"], 64),
        (&["--root-namespace", "mesh"], 64),
        (&["-o", "yaml"], 64),
    ] {
        let output = explain(&[&asked, flags].concat());
        assert_eq!(output.status.code(), Some(status), "{flags:?}: {output:?}");
    }
    for flags in
        [&["--from", "full/sleep"][..], &["--from", "sleep", "--to", "a"], &["--from", "a/b", "--to", "a:b"]]
    {
        assert_eq!(explain(flags).status.code(), Some(64), "{flags:?}");
    }
}

fn sentences(manifests: &Path, to: &str) -> String {
    let path = manifests.to_str().unwrap();
    let output = explain(&["--manifests", path, "--from", "full/sleep", "--to", to]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_sentences_name_the_objects_that_decided() {
    let rule = |host: &str, mode: &str| {
        let subset = json!([{"name": "all", "labels": {}, "trafficPolicy": {"tls": {"mode": mode}}}]);
        cluster(&[object("DestinationRule", "full", "rule", &json!({"host": host, "subsets": subset}))])
    };
    let plain = cluster(&[]);
    for (directory, to, parts) in [
        (
            &plain,
            "httpbin",
            &[
                "Pod full/sleep is enrolled, and connects to httpbin.full.svc.cluster.local, port 8000.",
                "10.0.0.7:80, pod full/httpbin-1, is reached over HBONE, with mutual TLS.",
                "Pod full/httpbin-1 is enrolled, by its own label.",
                "PeerAuthentication full/default sets STRICT for the namespace.",
                "(peer_hbone)",
            ][..],
        ),
        (&plain, "two:8000", &["The connection is refused.", "(no_endpoint)"]),
        (&plain, "api.example.com", &["ServiceEntry full/api has location MESH_EXTERNAL.", "SIMPLE"]),
        (
            &rule("web", "ISTIO_MUTUAL"),
            "web-0.web",
            &[
                "DestinationRule full/rule sets tls.mode ISTIO_MUTUAL, for its subset all.",
                "Enrol the endpoint's pod",
            ],
        ),
        (
            &rule("api.example.com", "SIMPLE"),
            "api.example.com",
            &["(name_not_resolved)", "DestinationRule full/rule"],
        ),
    ] {
        let text = sentences(directory.path(), to);
        for part in parts {
            assert!(text.contains(part), "{part:?} in:\n{text}");
        }
    }
}

#[test]
fn the_meshs_settings_decide_as_well() {
    let mesh = |yaml: &str| {
        let metadata = json!({"namespace": "istio-system", "name": "istio"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": yaml}})
    };
    let off = cluster(&[mesh("enableAutoMtls: false")]);
    let endpoint = &ask(off.path(), "full/sleep", "httpbin")["endpoints"][0];
    assert_eq!((&endpoint["transport"], &endpoint["outcome"]), (&"plaintext".into(), &"refused".into()));
    assert_eq!(endpoint["reason"], "mode_strict");
    let text = sentences(off.path(), "httpbin");
    assert!(text.contains("ConfigMap istio-system/istio sets enableAutoMtls: false."), "{text}");
    let elsewhere = cluster(&[mesh("rootNamespace: full")]);
    let text = sentences(elsewhere.path(), "httpbin");
    assert!(text.contains("PeerAuthentication full/default sets STRICT for the mesh."), "{text}");
}

#[test]
fn a_policy_that_is_not_taken_in_is_named_and_the_others_decide() {
    let bad = object("PeerAuthentication", "full", "bad", &json!({"mtls": {"mode": "STRONG"}}));
    let cluster = cluster(&[bad]);
    let path = cluster.path().to_str().unwrap();
    let output = explain(&["--manifests", path, "--from", "full/sleep", "--to", "httpbin", "-o", "json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.contains("PeerAuthentication full/bad") && said.contains("STRONG"),
        "{said}"
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["endpoints"][0]["mode"], "STRICT");
}
