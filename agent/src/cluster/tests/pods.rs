//! Which pods an agent enrols.

use culvert_policy::SpiffeId;
use serde_json::{Value, json};

use crate::cluster::{
    Index, NotEnrollable, PodRef,
    testing::{index, namespace, pod},
};

fn with_labels(labels: Value) -> Value {
    let mut pod = pod("ns", "p", "10.0.0.1", true);
    pod["metadata"]["labels"] = labels;
    pod
}

fn is_local(index: &Index) -> bool {
    index.local_pods("a").iter().any(|local| *local.pod.name == *"p")
}

#[test]
fn a_pods_wish_beats_its_namespaces() {
    let (yes, no) = (json!({"culvert.io/capture": "enabled"}), json!({"culvert.io/capture": "disabled"}));
    let (ambient, none) = (json!({"istio.io/dataplane-mode": "ambient"}), json!({}));
    for (of_namespace, of_pod, expected) in [
        (&none, &none, false),
        (&none, &yes, true),
        (&none, &ambient, true),
        (&yes, &none, true),
        (&ambient, &none, true),
        (&yes, &no, false),
        (&no, &yes, true),
        (&no, &ambient, true),
        (&no, &none, false),
    ] {
        let index = index(&[namespace("ns", of_namespace), with_labels(of_pod.clone())]);
        assert_eq!(is_local(&index), expected, "{of_namespace} {of_pod}");
    }
}

#[test]
fn a_namespaces_wish_counts_as_soon_as_it_is_known() {
    let namespace = namespace("ns", &json!({"culvert.io/capture": "enabled"}));
    assert!(is_local(&index(&[with_labels(json!({})), namespace])));
}

#[test]
fn a_local_pod_is_bound_to_the_node_and_has_not_ended() {
    let with = |pointer: &str, value: Value| {
        let mut changed = pod("ns", "p", "10.0.0.1", true);
        *changed.pointer_mut(pointer).expect("the field is there") = value;
        changed
    };
    let moved = with("/spec/nodeName", json!("b"));
    let unbound = with("/spec/nodeName", json!(null));
    for value in
        [moved, unbound, with("/status/phase", json!("Succeeded")), with("/status/phase", json!("Failed"))]
    {
        assert!(!is_local(&index(std::slice::from_ref(&value))), "{value}");
    }
    let mut terminating = pod("ns", "p", "10.0.0.1", true);
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    for value in
        [with("/status", json!({"phase": "Pending"})), with("/status/podIPs", json!([])), terminating]
    {
        assert!(is_local(&index(std::slice::from_ref(&value))), "{value}");
    }
}

#[test]
fn what_is_written_of_its_capture_is_told_of_each_pod_of_the_node() {
    let mut captured = pod("ns", "captured", "10.0.0.1", false);
    captured["metadata"]["annotations"] = json!({"culvert.io/captured": "true"});
    let mut elsewhere = captured.clone();
    elsewhere["metadata"]["name"] = json!("elsewhere");
    elsewhere["spec"]["nodeName"] = json!("b");
    let other = pod("ns", "other", "10.0.0.2", true);
    let index = index(&[captured, elsewhere, other]);
    let told: Vec<_> = index.announcements("a").map(|it| (it.pod.to_string(), it.uid, it.captured)).collect();
    assert_eq!(
        told,
        [("ns/captured".into(), "captured".into(), true), ("ns/other".into(), "other".into(), false)]
    );
}

#[test]
fn a_local_pod_is_told_in_full() {
    let mut value = pod("ns", "p", "10.0.0.1", true);
    value["metadata"]["uid"] = json!("1-2-3");
    value["spec"]["serviceAccountName"] = json!(null);
    value["status"]["podIPs"] = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}, {"ip": "10.0.0.9"}]);
    let local = index(&[value]).local_pods("a").remove(0);
    assert_eq!(local.pod, PodRef::new("ns", "p"));
    assert_eq!(&*local.uid, "1-2-3");
    assert_eq!(local.identity, SpiffeId::new("cluster.local", "ns", "default"));
    assert_eq!(
        local.addresses,
        ["10.0.0.1", "fd00::1"].map(|text| text.parse().unwrap()) as [std::net::IpAddr; 2]
    );
}

#[test]
fn who_never_can_be_enrolled_is_told_with_the_reason() {
    let mut host = pod("ns", "host", "10.0.0.1", true);
    host["spec"]["hostNetwork"] = json!(true);
    let mut nameless = pod("ns", "nameless", "10.0.0.2", true);
    nameless["metadata"]["uid"] = json!(null);
    let mut content = pod("ns", "content", "10.0.0.3", false);
    content["spec"]["hostNetwork"] = json!(true);
    let index = index(&[host, nameless, content]);
    let expected = [
        (PodRef::new("ns", "host"), NotEnrollable::HostNetwork),
        (PodRef::new("ns", "nameless"), NotEnrollable::NoUid),
    ];
    assert_eq!(index.not_enrollable("a"), expected);
    assert_eq!(index.local_pods("a"), []);
}
