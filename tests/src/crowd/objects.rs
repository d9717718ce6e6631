//! Objects as a Deployment, the kubelet and the endpoint slice controller leave them, most of which nobody but them
//! reads.

use std::{net::Ipv4Addr, ops::Range};

use serde_json::{Value, json};

use super::{SERVICES_PER_NAMESPACE, address};

const PODS_PER_NODE: u32 = 50;
const CREATED: &str = "2026-01-01T00:00:00Z";

pub(super) fn namespace(namespace: u32) -> Value {
    let name = namespace_name(namespace);
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name, "uid": uid(0, namespace), "creationTimestamp": CREATED,
            "labels": { "kubernetes.io/metadata.name": name },
        },
        "spec": { "finalizers": ["kubernetes"] },
        "status": { "phase": "Active" },
    })
}

pub(super) fn service(service: u32) -> Value {
    let app = app(service);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": namespace_of(service), "name": app, "uid": uid(1, service), "creationTimestamp": CREATED,
            "labels": { "app.kubernetes.io/name": app, "app.kubernetes.io/managed-by": "Helm" },
            "annotations": { "meta.helm.sh/release-name": app },
            "managedFields": [managed("helm", &["f:clusterIP", "f:ports", "f:selector", "f:sessionAffinity"])],
        },
        "spec": {
            "clusterIP": cluster_ip(service), "clusterIPs": [cluster_ip(service)], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "selector": { "app": app }, "type": "ClusterIP",
            "ports": [{ "name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP" }],
        },
        "status": { "loadBalancer": {} },
    })
}

pub(super) fn endpoint_slice(service: u32, pods: Range<u32>) -> Value {
    let app = app(service);
    let endpoints: Vec<_> = pods.map(|pod| endpoint(pod, service)).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace_of(service), "name": format!("{app}-x7k2p"), "uid": uid(2, service),
            "generateName": format!("{app}-"), "generation": 21, "creationTimestamp": CREATED,
            "labels": {
                "kubernetes.io/service-name": app,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "annotations": { "endpoints.kubernetes.io/last-change-trigger-time": CREATED },
            "ownerReferences": [owner("v1", "Service", &app, &uid(1, service))],
            "managedFields": [managed("kube-controller-manager", &["f:addressType", "f:endpoints", "f:ports"])],
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    })
}

fn endpoint(pod: u32, service: u32) -> Value {
    json!({
        "addresses": [address(pod)],
        "conditions": { "ready": true, "serving": true, "terminating": false },
        "nodeName": node(pod), "zone": "zone-a",
        "targetRef": {
            "kind": "Pod", "namespace": namespace_of(service), "name": pod_name(pod, service), "uid": uid(3, pod),
        },
    })
}

pub(super) fn pod(pod: u32, service: u32, captured: bool) -> Value {
    let app = app(service);
    let mut annotations = json!({
        "kubectl.kubernetes.io/restartedAt": CREATED,
        "prometheus.io/scrape": "true", "prometheus.io/port": "9090",
        "checksum/config": "5b6d3c1f0f4a5e0d9c1e8a7b6f5d4c3b2a190817263544f3e2d1c0b9a8978685",
    });
    if captured {
        annotations["culvert.io/captured"] = "true".into();
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": namespace_of(service), "name": pod_name(pod, service), "uid": uid(3, pod),
            "generateName": format!("{app}-{HASH}-"), "creationTimestamp": CREATED,
            "labels": {
                "app": app, "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop",
                "pod-template-hash": HASH, "version": "v1",
            },
            "annotations": annotations,
            "ownerReferences": [owner("apps/v1", "ReplicaSet", &format!("{app}-{HASH}"), &uid(4, service))],
            "managedFields": [managed("kube-controller-manager", OF_CONTROLLER), managed("kubelet", OF_KUBELET)],
        },
        "spec": spec(pod, &app),
        "status": status(pod),
    })
}

const HASH: &str = "5d4f8c7b9d";
const OF_CONTROLLER: &[&str] = &[
    "f:containers",
    "f:dnsPolicy",
    "f:enableServiceLinks",
    "f:restartPolicy",
    "f:schedulerName",
    "f:securityContext",
    "f:serviceAccount",
    "f:terminationGracePeriodSeconds",
    "f:volumes",
];
const OF_KUBELET: &[&str] =
    &["f:conditions", "f:containerStatuses", "f:hostIP", "f:phase", "f:podIPs", "f:startTime"];

fn spec(pod: u32, app: &str) -> Value {
    let probe = json!({
        "httpGet": { "path": "/healthz", "port": 8080, "scheme": "HTTP" },
        "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3, "successThreshold": 1,
    });
    json!({
        "nodeName": node(pod), "serviceAccountName": app, "serviceAccount": app,
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30, "enableServiceLinks": true, "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority", "securityContext": { "runAsNonRoot": true },
        "containers": [{
            "name": "main", "image": format!("registry.example/shop/{app}:1.27.4"),
            "imagePullPolicy": "IfNotPresent", "livenessProbe": probe, "readinessProbe": probe,
            "env": [
                { "name": "POD_IP", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "status.podIP" } } },
                { "name": "LOG_LEVEL", "value": "info" },
            ],
            "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
            "resources": { "limits": { "memory": "512Mi" }, "requests": { "cpu": "100m", "memory": "256Mi" } },
            "volumeMounts": [{
                "name": "kube-api-access-x7k2p", "readOnly": true,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            }],
        }],
        "tolerations": [
            { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
        ],
        "volumes": [{
            "name": "kube-api-access-x7k2p",
            "projected": { "defaultMode": 420, "sources": [
                { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            ] },
        }],
    })
}

fn status(pod: u32) -> Value {
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
    let conditions = conditions.map(|condition| {
        json!({ "type": condition, "status": "True", "lastProbeTime": null, "lastTransitionTime": CREATED })
    });
    json!({
        "phase": "Running", "qosClass": "Burstable", "startTime": CREATED,
        "hostIP": host_ip(pod), "hostIPs": [{ "ip": host_ip(pod) }],
        "podIP": address(pod), "podIPs": [{ "ip": address(pod) }],
        "conditions": conditions,
        "containerStatuses": [{
            "name": "main", "ready": true, "started": true, "restartCount": 0, "lastState": {},
            "image": "registry.example/shop/main:1.27.4",
            "imageID": format!("registry.example/shop/main@sha256:{:064x}", 27),
            "containerID": format!("containerd://{pod:064x}"),
            "state": { "running": { "startedAt": CREATED } },
        }],
    })
}

fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn managed(manager: &str, fields: &[&str]) -> Value {
    let fields: serde_json::Map<_, _> =
        fields.iter().map(|field| ((*field).to_owned(), json!({ ".": {} }))).collect();
    json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": CREATED,
        "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:labels": { ".": {} } }, "f:spec": fields },
    })
}

fn namespace_of(service: u32) -> String {
    namespace_name(service / SERVICES_PER_NAMESPACE)
}

fn namespace_name(namespace: u32) -> String {
    format!("team-{namespace:04}")
}

fn app(service: u32) -> String {
    format!("app-{service:05}")
}

fn pod_name(pod: u32, service: u32) -> String {
    format!("{}-{HASH}-{pod:06x}", app(service))
}

fn node(pod: u32) -> String {
    format!("worker-{:04}.example.internal", pod / PODS_PER_NODE)
}

fn uid(of: u32, number: u32) -> String {
    format!("7d1e4c2a-{of:04x}-4b3f-9a51-{number:012x}")
}

/// A part of the usual 10.96.0.0/12.
fn cluster_ip(service: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 0, 0).to_bits() + 1 + service)
}

fn host_ip(pod: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 0).to_bits() + pod / PODS_PER_NODE)
}
