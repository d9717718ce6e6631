//! The cluster of a case, with agents and sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
};

use culvert_testbed::{
    Agent, AgentOptions, Family, Machine, Node, Pod, PodSpec, Service, ServiceSpec,
    cases::{Case, Seen, target_port},
};
use serde_json::Value;
use socket2::SockRef;

use crate::common;

/// The container port of each server.
pub(crate) const PORT: u16 = 8080;

/// Clients on one node, servers on the other, and the policy of the case in force.
pub(crate) struct Stage {
    _servers: Vec<Server>,
    /// The clients' and the servers'.
    agents: [Agent; 2],
    /// By `namespace/name`.
    pods: BTreeMap<String, Pod>,
    enrolled: BTreeSet<String>,
    /// By `name.namespace`, with their ports.
    services: BTreeMap<String, (Service, u16)>,
    nodes: [Node; 2],
    _machine: Machine,
}

impl Stage {
    /// With Services as they are written, or with headless ones.
    pub(crate) fn start(case: &Case, is_headless: bool) -> Self {
        let objects = case.cluster().unwrap();
        let mut machine = Machine::new().unwrap();
        let nodes = ["a", "b"].map(|name| machine.node(name).unwrap());
        let enrolled = label_namespaces(&mut machine, &objects);
        let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
        let mut pods = BTreeMap::new();
        for object in of_kind("Pod") {
            let node = &nodes[usize::from(object["spec"]["nodeName"] == "b")];
            let pod = machine.pod(node, pod_spec(object, &objects)).unwrap();
            pods.insert(pod.name().to_owned(), pod);
        }
        let mut services = BTreeMap::new();
        for object in of_kind("Service") {
            let (spec, port) = service_spec(object, is_headless);
            let service = machine.service(spec).unwrap();
            let name = ["name", "namespace"].map(|field| text(&object["metadata"][field]));
            services.insert(name.join("."), (service, port));
        }
        machine.publish().unwrap();
        let standing: Vec<_> = of_kind("PeerAuthentication").map(Value::to_string).collect();
        machine.apply("standing", &standing.join("\n---\n")).unwrap();
        machine.apply("policy", &case.policy().unwrap()).unwrap();
        let agents = nodes.each_ref().map(|node| node.agent(&AgentOptions::default()).unwrap());
        for agent in &agents {
            agent.wait_ready().unwrap();
        }
        Self {
            _servers: pods.values().map(Server::start).collect(),
            agents,
            pods,
            enrolled: all_enrolled(&objects, &enrolled),
            services,
            nodes,
            _machine: machine,
        }
    }

    pub(crate) fn is_enrolled(&self, pod: &str) -> bool {
        self.enrolled.contains(pod)
    }

    /// Where a Service is called, or the pod.
    pub(crate) fn service(&self, name: &str, family: Family) -> SocketAddr {
        let (service, port) = &self.services[name];
        service.address(family, *port)
    }

    pub(crate) fn pod(&self, name: &str, family: Family) -> SocketAddr {
        self.pods[name].address(family, PORT)
    }

    /// What the agent of the clients says of a connection.
    pub(crate) fn explain(&self, from: &str, to: &str) -> Value {
        let node = self.nodes[0].name();
        common::json(&common::explain(&["--node", node, "--from", from, "--to", to, "-o", "json"]))
    }

    /// Connects, and returns the server that answered and what could be seen there; nothing if that failed.
    pub(crate) fn call(&self, from: &str, to: SocketAddr) -> Option<(String, Seen)> {
        let mark = self.agents[1].mark();
        let server = self.ask(from, to).ok()?;
        if !self.is_enrolled(&server) {
            return Some((server, Seen::Plain));
        }
        let is_its = |line: &Value| {
            line["target"] == "access"
                && line["direction"] == "inbound"
                && line["outcome"] == "ok"
                && line["pod"] == *server
                && line["peer_pod"] == *from
        };
        let record = self.agents[1].wait_for_since(mark, is_its).unwrap();
        let (namespace, name) = from.split_once('/').unwrap();
        let seen = match (record["transport"].as_str(), record["peer_identity"].as_str()) {
            (Some("hbone"), Some(id)) if id == format!("spiffe://cluster.local/ns/{namespace}/sa/{name}") => {
                Seen::Mtls
            }
            (Some("plaintext"), None) => Seen::Plain,
            _ => panic!("{record}"),
        };
        Some((server, seen))
    }

    fn ask(&self, from: &str, to: SocketAddr) -> io::Result<String> {
        let mut stream = self.pods[from].connect(to)?;
        stream.write_all(b"?")?;
        let mut name = String::new();
        stream.read_to_string(&mut name)?;
        if name.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(name) }
    }
}

/// Returns those whose pods are enrolled.
fn label_namespaces(machine: &mut Machine, objects: &[Value]) -> BTreeSet<String> {
    let namespaces = objects.iter().filter(|object| object["kind"] == "Namespace");
    let labelled = namespaces.filter(|object| object["metadata"]["labels"][CAPTURE] == "enabled");
    let names: BTreeSet<_> = labelled.map(|object| text(&object["metadata"]["name"])).collect();
    for name in &names {
        machine.label_namespace(name, CAPTURE, "enabled");
    }
    names
}

fn all_enrolled(objects: &[Value], namespaces: &BTreeSet<String>) -> BTreeSet<String> {
    let pods = objects.iter().filter(|object| object["kind"] == "Pod");
    let enrolled = pods.filter(|pod| {
        let metadata = &pod["metadata"];
        metadata["labels"][CAPTURE] == "enabled" || namespaces.contains(&text(&metadata["namespace"]))
    });
    enrolled.map(|pod| ["namespace", "name"].map(|field| text(&pod["metadata"][field])).join("/")).collect()
}

const CAPTURE: &str = "culvert.io/capture";

/// Labelled with the Services that it serves: the testbed makes slices by labels, where the list has addresses.
fn pod_spec(pod: &Value, objects: &[Value]) -> PodSpec {
    let [namespace, name] = ["namespace", "name"].map(|field| text(&pod["metadata"][field]));
    let account = text(&pod["spec"]["serviceAccountName"]);
    let mut spec = PodSpec::new(&namespace, &name).service_account(&account);
    for (key, value) in pod["metadata"]["labels"].as_object().into_iter().flatten() {
        spec = spec.label(key, value.as_str().unwrap());
    }
    let ips: Vec<_> = pod["status"]["podIPs"].as_array().unwrap().iter().map(|ip| &ip["ip"]).collect();
    let slices = objects.iter().filter(|object| object["kind"] == "EndpointSlice");
    for slice in slices {
        let endpoints = slice["endpoints"].as_array().unwrap();
        if endpoints.iter().any(|endpoint| ips.contains(&&endpoint["addresses"][0])) {
            spec = spec
                .label("serves", slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap());
        }
    }
    spec
}

fn service_spec(service: &Value, is_headless: bool) -> (ServiceSpec, u16) {
    let [namespace, name] = ["namespace", "name"].map(|field| text(&service["metadata"][field]));
    let (port, target) =
        (service["spec"]["ports"][0]["port"].as_u64().unwrap(), target_port(service).unwrap());
    let port = if is_headless { target } else { port.try_into().unwrap() };
    let spec = ServiceSpec::new(&namespace, &name, ("serves", &name)).port(port, target);
    (if is_headless { spec.headless() } else { spec }, port)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// An application that says its pod's name to who asks.
struct Server {
    listeners: Vec<Arc<TcpListener>>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(pod: &Pod) -> Self {
        let listeners = Family::ALL.map(|family| Arc::new(pod.listen(pod.address(family, PORT)).unwrap()));
        let serve = |listener: &Arc<TcpListener>| {
            let (listener, name) = (Arc::clone(listener), pod.name().to_owned());
            thread::spawn(move || serve(&listener, &name))
        };
        let threads = listeners.iter().map(serve).collect();
        Self { listeners: listeners.into(), threads }
    }
}

fn serve(listener: &TcpListener, name: &str) {
    loop {
        match listener.accept() {
            // Who is gone before the answer does not want it.
            Ok((mut stream, _)) => {
                drop(stream.read_exact(&mut [0]).and_then(|()| stream.write_all(name.as_bytes())));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Wakes up who waits in accept(); it cannot fail on a socket that listens.
            let _ = SockRef::from(&**listener).shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            // What went wrong there has been printed.
            let _ = thread.join();
        }
    }
}
