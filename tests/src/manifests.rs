//! The cluster as Kubernetes objects in files. A file is replaced as a whole, so that no reader sees half of one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::Path,
};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{Expected, Family, Node, PodSpec, Service, service::ServicePort};

/// What the manifests say.
#[derive(Default)]
pub(crate) struct ClusterModel {
    /// Labels of namespaces that have some.
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// By `namespace/name`.
    pub(crate) pods: BTreeMap<String, PodModel>,
    pub(crate) services: Vec<Service>,
}

/// A pod as manifests have it.
pub(crate) struct PodModel {
    pub(crate) spec: PodSpec,
    /// It has a sandbox, and its addresses are published.
    pub(crate) running: bool,
    pub(crate) ready: bool,
    uid: String,
    node: String,
    node_ip: IpAddr,
    ips: [IpAddr; 2],
}

impl PodModel {
    /// A pod without a sandbox.
    pub(crate) fn of(expected: &Expected, node: &Node) -> Self {
        Self {
            spec: expected.spec.clone(),
            running: false,
            ready: true,
            uid: expected.uid.clone(),
            node: node.name().to_owned(),
            node_ip: node.ip(Family::V4),
            ips: expected.ips,
        }
    }

    pub(crate) const fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.ips[0],
            Family::V6 => self.ips[1],
        }
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    fn document(&self) -> Value {
        let spec = &self.spec;
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": spec.namespace,
                "name": spec.name,
                "uid": self.uid,
                "labels": spec.labels,
                "annotations": spec.annotations,
            },
            "spec": {
                "nodeName": self.node,
                "serviceAccountName": spec.service_account,
                "containers": [{ "name": "main", "image": "none" }],
            },
            "status": self.status(),
        })
    }

    fn status(&self) -> Value {
        if !self.running {
            return json!({ "phase": "Pending" });
        }
        let ready = if self.ready { "True" } else { "False" };
        json!({
            "phase": "Running",
            "hostIP": self.node_ip,
            "podIP": self.ips[0],
            "podIPs": self.ips.map(|ip| json!({ "ip": ip })),
            "conditions": [{ "type": "Ready", "status": ready }],
        })
    }

    fn endpoint(&self, family: Family) -> Value {
        json!({
            "addresses": [self.ip(family)],
            "conditions": { "ready": self.ready, "serving": self.ready, "terminating": false },
            "nodeName": self.node,
            "targetRef": {
                "kind": "Pod",
                "namespace": self.spec.namespace,
                "name": self.spec.name,
                "uid": self.uid,
            },
        })
    }
}

impl ClusterModel {
    /// All objects, namespaces first.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let namespaces = self.namespace_names().into_iter().map(|name| self.namespace(name));
        let pods = self.pods.values().map(PodModel::document);
        let services = self.services.iter().flat_map(|service| self.service(service));
        namespaces.chain(pods).chain(services).collect()
    }

    /// The pods that a Service leads to, ready or not.
    pub(crate) fn endpoints(&self, service: &Service) -> impl Iterator<Item = &PodModel> {
        let (namespace, selector) = (&service.spec.namespace, &service.spec.selector);
        self.pods.values().filter(move |pod| {
            pod.running
                && pod.spec.namespace == *namespace
                && selector.iter().all(|(key, value)| pod.spec.labels.get(key) == Some(value))
        })
    }

    fn namespace_names(&self) -> BTreeSet<&str> {
        let of_pods = self.pods.values().map(|pod| pod.spec.namespace.as_str());
        let of_services = self.services.iter().map(|service| service.spec.namespace.as_str());
        self.namespaces.keys().map(String::as_str).chain(of_pods).chain(of_services).collect()
    }

    fn namespace(&self, name: &str) -> Value {
        let labels = self.namespaces.get(name).cloned().unwrap_or_default();
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
    }

    fn service(&self, service: &Service) -> Vec<Value> {
        let slices = Family::ALL.map(|family| self.endpoint_slice(service, family));
        [vec![service_document(service)], slices.to_vec()].concat()
    }

    fn endpoint_slice(&self, service: &Service, family: Family) -> Value {
        let (spec, suffix) = (&service.spec, suffix(family));
        let endpoints: Vec<_> = self.endpoints(service).map(|pod| pod.endpoint(family)).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": spec.namespace,
                "name": format!("{}-{}", spec.name, suffix.to_lowercase()),
                "labels": { "kubernetes.io/service-name": spec.name },
            },
            "addressType": suffix,
            "endpoints": endpoints,
            "ports": spec.ports.iter().map(|port| json!({
                "name": port_name(port), "port": port.target, "protocol": "TCP",
            })).collect::<Vec<_>>(),
        })
    }
}

fn service_document(service: &Service) -> Value {
    let spec = &service.spec;
    let ips = Family::ALL.map(|family| service.ip(family).to_string());
    let ips = if spec.headless { vec!["None".to_owned()] } else { ips.to_vec() };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": spec.namespace, "name": spec.name },
        "spec": {
            "selector": spec.selector,
            "clusterIP": ips[0],
            "clusterIPs": ips,
            "ipFamilies": ["IPv4", "IPv6"],
            "ports": spec.ports.iter().map(|port| json!({
                "name": port_name(port), "port": port.port, "targetPort": port.target, "protocol": "TCP",
            })).collect::<Vec<_>>(),
        },
    })
}

fn port_name(port: &ServicePort) -> String {
    format!("port-{}", port.port)
}

const fn suffix(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// Objects as one file.
pub(crate) fn documents(objects: &[Value]) -> anyhow::Result<String> {
    let documents: Result<Vec<_>, _> = objects.iter().map(serde_saphyr::to_string).collect();
    Ok(documents.context("an object cannot be written as YAML")?.join("---\n"))
}

/// The objects of a file.
pub(crate) fn objects(yaml: &str) -> anyhow::Result<Vec<Value>> {
    serde_saphyr::from_multiple(yaml).context("a manifest is not YAML")
}

/// Makes the directory.
pub(crate) fn prepare(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir(directory).context("the directory of the manifests cannot be made")
}

/// Adds or replaces a file.
pub(crate) fn write(directory: &Path, name: &str, yaml: &str) -> anyhow::Result<()> {
    replace(directory, name, yaml).with_context(|| format!("manifest {name} cannot be written"))
}

/// Written beside the directory, so that who watches it sees one event: the file, whole.
fn replace(directory: &Path, name: &str, yaml: &str) -> io::Result<()> {
    let draft = directory.with_extension("draft");
    fs::write(&draft, yaml)?;
    fs::rename(&draft, directory.join(format!("{name}.yaml")))
}

/// Removes a file.
pub(crate) fn remove(directory: &Path, name: &str) -> anyhow::Result<()> {
    fs::remove_file(directory.join(format!("{name}.yaml")))
        .with_context(|| format!("manifest {name} is not there"))
}
