//! The cluster of a case, with agents and sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use culvert_testbed::{
    Agent, AgentOptions, DEADLINE, Family, Machine, Mesh, Node, Pod, PodSpec, Service, ServiceSpec, Sidecar,
    cases::{Case, Mode, Seen, target_port},
};
use serde_json::Value;

use crate::{common, server::Server};

/// The container port of each server.
pub(crate) const PORT: u16 = 8080;

/// Clients on one node, servers on the other, and the policy of the case in force.
pub(crate) struct Stage {
    servers: BTreeMap<String, Server>,
    /// The clients' and the servers'.
    agents: [Agent; 2],
    /// By `namespace/name`.
    pods: BTreeMap<String, Pod>,
    enrolled: BTreeSet<String>,
    /// Those of them that have become pods with a sidecar.
    with_sidecar: BTreeSet<String>,
    /// The sidecar of a client that no agent enrols.
    sidecar: Sidecar,
    /// By `name.namespace`, with their ports.
    services: BTreeMap<String, (Service, u16)>,
    nodes: [Node; 2],
    machine: Machine,
}

/// How clients are led to the pods of a Service.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Services {
    /// By an address of the Service's.
    Addressed,
    /// By their own addresses, which its name resolves to.
    Headless,
}

impl Stage {
    /// With the case's pods, policy and Services.
    pub(crate) fn start(case: &Case, services_are: Services) -> Self {
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
        let sidecar = machine
            .pod(&nodes[0], with_sidecar(PodSpec::new(SIDECAR.0, SIDECAR.1).service_account(SIDECAR.1)))
            .unwrap();
        pods.insert(sidecar.name().to_owned(), sidecar);
        let mut services = BTreeMap::new();
        for object in of_kind("Service") {
            let (spec, port) = service_spec(object, services_are);
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
        let mesh = Mesh::of(&machine);
        let sidecar_of = |pod: &str| Sidecar::new(&mesh, &identity(pod));
        Self {
            servers: pods
                .iter()
                .map(|(name, pod)| (name.clone(), Server::start(pod, &sidecar_of(name))))
                .collect(),
            sidecar: sidecar_of(&sidecar_client()),
            with_sidecar: BTreeSet::new(),
            agents,
            pods,
            enrolled: all_enrolled(&objects, &enrolled),
            services,
            nodes,
            machine,
        }
    }

    /// Has servers leave the mesh of agents, and have a sidecar in this mode from then on, which the client's agent
    /// knows.
    pub(crate) fn give_sidecars(&mut self, servers: &BTreeMap<String, Mode>, client: &str) {
        let mark = self.agents[1].mark();
        for server in servers.keys() {
            self.machine.relabel(&self.pods[server], |labels| labels.extend(SIDECAR_LABELS.map(owned)));
        }
        self.machine.publish().unwrap();
        for (server, mode) in servers {
            let is_left = |line: &Value| line["message"] == "released" && line["pod"] == **server;
            self.agents[1].wait_for_since(mark, is_left).unwrap();
            self.servers[server].set_mode(*mode);
            self.wait_for_sidecar(client, server);
        }
        self.enrolled.retain(|pod| !servers.contains_key(pod));
        self.with_sidecar = servers.keys().cloned().collect();
    }

    fn wait_for_sidecar(&self, client: &str, server: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.explain(client, &self.pod(server, Family::V4).to_string());
            if answer["endpoints"][0]["status"] == "sidecar" {
                return;
            }
            assert!(Instant::now() < deadline, "{answer}");
            thread::sleep(Duration::from_millis(20));
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
        let answer = self.pods[from].connect(to).and_then(|mut tcp| ask(&mut tcp)).ok()?;
        let (server, client) = match answer.split_once(' ') {
            Some((server, client)) => (server, Some(client)),
            None => (&*answer, None),
        };
        let seen = if self.is_enrolled(server) {
            self.recorded(mark, from, server, "hbone")
        } else {
            assert!(client.is_none() || self.with_sidecar.contains(server), "{answer}");
            seen_by(client, from)
        };
        Some((server.to_owned(), seen))
    }

    /// The same, over mTLS from the client that has a sidecar.
    pub(crate) fn call_by_sidecar(&self, to: SocketAddr) -> Option<(String, Seen)> {
        let mark = self.agents[1].mark();
        let from = sidecar_client();
        let tcp = self.pods[&from].connect(to).ok()?;
        let mut tls = self.sidecar.connect(tcp);
        let server = ask(&mut tls).ok()?;
        tls.conn.send_close_notify();
        tls.flush().ok()?;
        let seen = self.recorded(mark, &from, &server, "sidecar");
        Some((server, seen))
    }

    /// By the record of the server's agent.
    fn recorded(&self, mark: usize, from: &str, server: &str, mtls: &str) -> Seen {
        let is_its = |line: &Value| {
            line["target"] == "access"
                && line["direction"] == "inbound"
                && line["outcome"] == "ok"
                && line["pod"] == *server
                && line["peer_pod"] == *from
        };
        let record = self.agents[1].wait_for_since(mark, is_its).unwrap();
        let client = record["peer_identity"].as_str();
        assert_eq!(record["transport"], if client.is_some() { mtls } else { "plaintext" }, "{record}");
        seen_by(client, from)
    }
}

/// The client that has a sidecar.
pub(crate) fn sidecar_client() -> String {
    [SIDECAR.0, SIDECAR.1].join("/")
}

const SIDECAR: (&str, &str) = ("sidecars", "client");
const SIDECAR_LABELS: [(&str, &str); 2] = [(CAPTURE, "disabled"), ("security.istio.io/tlsMode", "istio")];

fn with_sidecar(spec: PodSpec) -> PodSpec {
    SIDECAR_LABELS.into_iter().fold(spec, |spec, (key, value)| spec.label(key, value))
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// The service accounts of these clusters are called as the pods, less a number.
fn identity(pod: &str) -> String {
    let (namespace, name) = pod.split_once('/').unwrap();
    let account = name.trim_end_matches(|end: char| end == '-' || end.is_ascii_digit());
    format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")
}

/// A server that can name its client has to name the right one.
fn seen_by(client: Option<&str>, from: &str) -> Seen {
    match client {
        Some(client) => {
            assert_eq!(client, identity(from));
            Seen::Mtls
        }
        None => Seen::Plain,
    }
}

/// Asks for who answers.
pub(crate) fn ask(stream: &mut (impl Read + Write)) -> io::Result<String> {
    stream.write_all(b"?")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
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

fn service_spec(service: &Value, services_are: Services) -> (ServiceSpec, u16) {
    let [namespace, name] = ["namespace", "name"].map(|field| text(&service["metadata"][field]));
    let (port, target) =
        (service["spec"]["ports"][0]["port"].as_u64().unwrap(), target_port(service).unwrap());
    let spec = ServiceSpec::new(&namespace, &name, ("serves", &name));
    match services_are {
        Services::Addressed => {
            let port = port.try_into().unwrap();
            (spec.port(port, target), port)
        }
        Services::Headless => (spec.port(target, target).headless(), target),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
