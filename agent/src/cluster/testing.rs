//! Short ways to write down clusters in tests.

use std::{fs, net::SocketAddr, path::Path};

use serde_json::{Value, json};

use super::{Captured, Index, Object, PodRef, Settings, decode, manifests::folder::Folder};

pub(super) fn settings() -> Settings {
    Settings { captured: Captured::ByWish, ..Settings::default() }
}

pub(super) fn object(value: &Value) -> Object {
    decode(value, &settings()).unwrap().expect("a kind that the index knows")
}

pub(super) fn index(objects: &[Value]) -> Index {
    let mut index = Index::new(settings());
    for value in objects {
        index.apply(object(value));
    }
    index
}

/// An index of files below `tests/manifests`.
pub(super) fn index_of_files(files: &[&str]) -> Index {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/manifests");
    let mut folder = Folder::default();
    for file in files {
        folder.put(file, fs::read_to_string(directory.join(file)).unwrap(), &settings());
    }
    let contents = folder.contents();
    assert_eq!(contents.problems, []);
    let mut index = Index::new(settings());
    contents.objects.into_values().for_each(|object| index.apply(object));
    index
}

pub(super) fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A running pod on node `a` with that address, whose labels ask for capture if it is `enrolled`.
pub(super) fn pod(namespace: &str, name: &str, address: &str, enrolled: bool) -> Value {
    let capture = if enrolled { "enabled" } else { "disabled" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": name,
            "labels": {"app": name, "culvert.io/capture": capture}},
        "spec": {"containers": [], "nodeName": "a", "serviceAccountName": name},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    })
}

/// A Service with port 80, called `http`; `None` as its address makes it headless.
pub(super) fn service(namespace: &str, name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
        "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]},
    })
}

/// The ready endpoints of a Service's port `http`, on container port 8080.
pub(super) fn slice(namespace: &str, service: &str, addresses: &[&str]) -> Value {
    let ipv6 = addresses.first().is_some_and(|address| address.contains(':'));
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"namespace": namespace, "name": format!("{service}-{family}"),
            "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}],
    })
}

pub(super) fn peer_authentication(namespace: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"namespace": namespace, "name": "default"}, "spec": spec,
    })
}

pub(super) fn destination_rule(namespace: &str, host: &str, mode: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"namespace": namespace, "name": "default"},
        "spec": {"host": host, "trafficPolicy": {"tls": {"mode": mode}}},
    })
}

/// A `ServiceEntry` inside the mesh for `NAME.example.com` with port 80, called `http`, that leads to 8080.
pub(super) fn service_entry(namespace: &str, name: &str, addresses: &[&str], endpoints: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "hosts": [format!("{name}.example.com")], "addresses": addresses,
            "ports": [{"name": "http", "number": 80, "targetPort": 8080, "protocol": "HTTP"}],
            "location": "MESH_INTERNAL", "resolution": "STATIC", "endpoints": endpoints,
        },
    })
}

/// A `WorkloadEntry` labelled `app: NAME`; an empty service account is none.
pub(super) fn workload_entry(namespace: &str, name: &str, address: &str, service_account: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"address": address, "labels": {"app": name}, "serviceAccount": service_account},
    })
}

/// A pod written as `namespace/name`.
pub(super) fn named(text: &str) -> PodRef {
    let (namespace, name) = text.split_once('/').expect("namespace/name");
    PodRef::new(namespace, name)
}

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
