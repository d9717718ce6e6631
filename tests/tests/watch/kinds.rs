//! Each kind of object, and what of it counts.

use culvert::cluster::{Kind, Object, ObjectKey};
use culvert_testbed::apiserver::{ApiServer, ObjectId};
use serde_json::{Value, json};

use crate::common::{Followed, pod, policy};

/// An object of each kind; and where it says something that counts, with something else to be said.
fn objects() -> Vec<(Kind, Value, &'static str, Value)> {
    let named = |api_version: &str, kind: &str, spec: Value| {
        let metadata = json!({"namespace": "default", "name": "it"});
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
    };
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "it", "labels": {"culvert.io/capture": "enabled"}},
    });
    let service = named("v1", "Service", json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}));
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "default", "name": "it", "labels": {"kubernetes.io/service-name": "it"},
        },
        "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.7"], "conditions": {"ready": true}}],
    });
    let rule = json!({"host": "it.default.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "DISABLE"}}});
    let rule = named("networking.istio.io/v1", "DestinationRule", rule);
    let entry = json!({
        "hosts": ["it.example"], "addresses": ["192.0.2.7"], "ports": [{"number": 80, "name": "http"}],
        "location": "MESH_INTERNAL", "resolution": "STATIC", "endpoints": [{"address": "192.0.2.8"}],
    });
    let entry = named("networking.istio.io/v1", "ServiceEntry", entry);
    let workload = json!({"address": "192.0.2.9", "serviceAccount": "it"});
    let workload = named("networking.istio.io/v1", "WorkloadEntry", workload);
    vec![
        (Kind::Namespace, namespace, "/metadata/labels/culvert.io~1capture", "disabled".into()),
        (Kind::Pod, pod("it"), "/status/phase", "Failed".into()),
        (Kind::Service, service, "/spec/ports/0/port", 81.into()),
        (Kind::EndpointSlice, slice, "/endpoints/0/conditions/ready", false.into()),
        (Kind::PeerAuthentication, policy("STRICT"), "/spec/mtls/mode", "DISABLE".into()),
        (Kind::DestinationRule, rule, "/spec/trafficPolicy/tls/mode", "ISTIO_MUTUAL".into()),
        (Kind::ServiceEntry, entry, "/spec/location", "MESH_EXTERNAL".into()),
        (Kind::WorkloadEntry, workload, "/spec/address", "192.0.2.10".into()),
    ]
}

fn key(kind: Kind, object: &Value) -> ObjectKey {
    let ObjectId { namespace, name, .. } = ObjectId::of(object).unwrap();
    ObjectKey { kind, namespace: namespace.as_str().into(), name: name.as_str().into() }
}

/// What is in force under the names of these objects.
fn in_force(it: &Followed) -> Vec<Option<Object>> {
    let index = it.cluster.read();
    objects().iter().map(|(kind, object, ..)| index.object(&key(*kind, object))).collect()
}

fn put(server: &ApiServer, object: Value) {
    let resource = ObjectId::of(&object).unwrap().resource;
    server.put_raw(resource, object).unwrap();
}

#[tokio::test]
async fn objects_of_every_kind_come_change_and_go() {
    assert_eq!(objects().iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(), Kind::ALL);
    let it = Followed::synced(ApiServer::start().unwrap()).await;
    for (kind, object, field, changed) in objects() {
        let key = key(kind, &object);
        it.server.apply(&object).unwrap();
        it.wait(&format!("new {kind}"), |it| it.has(&key)).await;
        let before = it.cluster.read().object(&key);

        let ObjectId { resource, namespace, name } = ObjectId::of(&object).unwrap();
        let change = |object: &mut Value| *object.pointer_mut(field).unwrap() = changed;
        it.server.edit(resource, &namespace, &name, change).unwrap();
        it.wait(&format!("change of {kind}"), |it| it.cluster.read().object(&key) != before).await;
        assert!(it.has(&key), "{kind}");

        it.server.delete(resource, &namespace, &name).unwrap();
        it.wait(&format!("end of {kind}"), |it| !it.has(&key)).await;
    }
    assert_eq!(it.cluster.problems(), []);
}

/// The object, with what no version of the API allows in fields that nobody uses.
fn garbled(mut object: Value) -> Value {
    let odd = json!([{"": 7}, "odd", null, 1e99]);
    for field in ["managedFields", "finalizers", "generation", "ownerReferences", "generateName"] {
        object["metadata"][field] = odd.clone();
    }
    for within in ["/spec", "/spec/trafficPolicy", "/spec/ports/0", "/endpoints/0", "/status", ""] {
        if let Some(Value::Object(fields)) = object.pointer_mut(within) {
            fields.insert("newInSomeVersion".to_owned(), odd.clone());
        }
    }
    let unused: &[&str] = match object["kind"].as_str().unwrap() {
        "Pod" => &["/spec/containers", "/status/conditions", "/status/startTime"],
        "Service" => &["/spec/sessionAffinity", "/spec/selector", "/status/loadBalancer"],
        "EndpointSlice" => &["/endpoints/0/hints", "/endpoints/0/zone", "/endpoints/0/hostname"],
        "DestinationRule" => &["/spec/trafficPolicy/connectionPool", "/spec/trafficPolicy/outlierDetection"],
        "ServiceEntry" => &["/spec/endpoints/0/locality"],
        "WorkloadEntry" => &["/spec/weight", "/spec/locality"],
        _ => &["/status"],
    };
    for field in unused {
        let (parent, name) = field.rsplit_once('/').unwrap();
        if let Some(Value::Object(parent)) = object.pointer_mut(parent) {
            parent.insert(name.to_owned(), odd.clone());
        }
    }
    object
}

#[tokio::test]
async fn what_stands_in_a_field_that_nobody_uses_does_no_harm() {
    let clean = ApiServer::start().unwrap();
    let listed = ApiServer::start().unwrap();
    for (_, object, ..) in objects() {
        put(&clean, object.clone());
        put(&listed, garbled(object));
    }
    let expected = in_force(&Followed::synced(clean).await);
    assert!(expected.iter().all(Option::is_some), "{expected:?}");
    let it = Followed::synced(listed).await;
    assert_eq!(in_force(&it), expected);
    assert_eq!(it.cluster.problems(), []);

    let watched = Followed::synced(ApiServer::start().unwrap()).await;
    for (_, object, ..) in objects() {
        put(&watched.server, garbled(object));
    }
    watched.wait("all objects", |it| in_force(it) == expected).await;
    assert_eq!(watched.cluster.problems(), []);
}

#[tokio::test]
async fn each_resource_is_read_in_the_version_that_is_served_of_it() {
    for versions in [["v1beta1", "v1alpha3", "v1", "v1beta1"], ["v1", "v1", "v1beta1", "v1alpha3"]] {
        let server = ApiServer::start().unwrap();
        let istio = objects().split_off(4);
        for ((_, mut object, ..), version) in istio.iter().cloned().zip(versions) {
            let group = object["apiVersion"].as_str().unwrap().split('/').next().unwrap().to_owned();
            server.serve(ObjectId::of(&object).unwrap().resource, &[version]).unwrap();
            object["apiVersion"] = format!("{group}/{version}").into();
            server.apply(&object).unwrap();
        }
        let it = Followed::synced(server).await;
        for (kind, object, ..) in &istio {
            assert!(it.has(&key(*kind, object)), "{kind}, served in {versions:?}");
        }
    }
}
