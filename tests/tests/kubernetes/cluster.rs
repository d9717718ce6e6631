//! A cluster with Culvert installed: an API server, `culvert ca`, and an agent on each of two nodes.

use std::{collections::BTreeMap, fs, net::SocketAddr, path::PathBuf, sync::Arc};

use culvert_testbed::{
    Agent, AgentOptions, Ca, CaOptions, Family, Machine, Node, Pod, PodSpec, Volume,
    apiserver::{ApiServer, TokenSpec},
    chart,
    walkthrough::Transport,
};
use serde_json::{Value, json};

use crate::app::{Call, PORT, Server, call, eventually};

const SYSTEM: &str = chart::NAMESPACE;
const ROOTS: &str = "culvert-ca-root-cert";
const BUNDLE: &str = "root-cert.pem";
const CAPTURED: &str = "culvert.io/captured";
const CAPTURE: &str = "culvert.io/capture";

/// No plaintext for anybody in `full`.
pub(crate) const STRICT: &str = "{ apiVersion: security.istio.io/v1, kind: PeerAuthentication, \
                                   metadata: { namespace: full, name: default }, \
                                   spec: { mtls: { mode: STRICT } } }";

/// Two nodes, and what runs on them.
pub(crate) struct Cluster {
    /// The agent of `a`, once it was started, and that of `b`.
    agents: Vec<Agent>,
    /// On `a`, once it was started.
    pub(crate) ca: Option<Ca>,
    roots: Volume,
    _servers: Vec<Server>,
    /// `full/sleep`, on `a`.
    pub(crate) client: Arc<Pod>,
    /// `full/httpbin`, on `b`.
    pub(crate) server: Pod,
    /// `legacy/sleep`, on `a`, which never is enrolled.
    pub(crate) legacy: Arc<Pod>,
    pub(crate) a: Node,
    pub(crate) b: Node,
    pub(crate) machine: Machine,
    pub(crate) api: ApiServer,
}

impl Cluster {
    /// With an authority, agents that serve, and both pods of `full` enrolled and announced.
    pub(crate) fn start() -> Self {
        Self::start_with(&AgentOptions::default())
    }

    /// The same with flags for both agents.
    pub(crate) fn start_with(options: &AgentOptions) -> Self {
        let mut cluster = Self::prepare(PodSpec::new("full", "httpbin").enrolled());
        cluster.start_ca(&[]);
        cluster.start_agents(options);
        cluster.wait_announced(&cluster.client, true);
        cluster.wait_announced(&cluster.server, true);
        cluster.wait_transport(Transport::Mtls);
        cluster
    }

    /// Without an authority and without agents.
    pub(crate) fn prepare(server: PodSpec) -> Self {
        let api = ApiServer::start().unwrap();
        api.apply_yaml(&fs::read_to_string(chart::deploy().join("culvert.yaml")).unwrap()).unwrap();
        api.enforce_rbac();
        let mut machine = Machine::new().unwrap().with_api(&api);
        let [a, b] = ["a", "b"].map(|name| machine.node(name).unwrap());
        let client = Arc::new(machine.pod(&a, PodSpec::new("full", "sleep").enrolled()).unwrap());
        let server = machine.pod(&b, server).unwrap();
        let legacy = Arc::new(machine.pod(&a, PodSpec::new("legacy", "sleep")).unwrap());
        machine.publish().unwrap();
        let servers = vec![Server::start(&server)];
        let roots = Volume::mount(&api, (SYSTEM, ROOTS), BUNDLE, &machine.directory());
        let (agents, ca) = (Vec::new(), None);
        Self { agents, ca, roots, _servers: servers, client, server, legacy, a, b, machine, api }
    }

    /// Starts the authority, and waits until it serves.
    pub(crate) fn start_ca(&mut self, flags: &[(&str, &str)]) {
        let token = self.api.issue_token(&TokenSpec::new(SYSTEM, "culvert-ca")).unwrap();
        let kubeconfig = self.machine.kubeconfig(&self.a, "ca", &token).unwrap();
        let options = flags.iter().fold(CaOptions::new(kubeconfig), |it, (name, value)| it.flag(name, value));
        let ca = self.a.ca(&options).unwrap();
        ca.wait_ready().unwrap();
        self.ca = Some(ca);
    }

    /// Starts the agents of both nodes, and waits until they serve.
    pub(crate) fn start_agents(&mut self, options: &AgentOptions) {
        let options = [true, false].map(|on_a| self.options_of(on_a, options));
        let agents = [(&self.a, &options[0]), (&self.b, &options[1])];
        self.agents = agents.map(|(node, options)| node.agent(options).unwrap()).into();
        self.agents.iter().for_each(|agent| agent.wait_ready().unwrap());
    }

    /// Starts the next agent of the server's node, and waits until it serves.
    pub(crate) fn restart_server_agent(&mut self, options: &AgentOptions) {
        let options = self.options_of(false, options);
        self.agents[1] = self.b.agent(&options).unwrap();
        self.agents[1].wait_ready().unwrap();
    }

    fn options_of(&mut self, on_a: bool, options: &AgentOptions) -> AgentOptions {
        let node = if on_a { &self.a } else { &self.b };
        let (pod, account) = (format!("culvert-{}", node.name()), "culvert-agent");
        self.api.apply(&agent_pod(&pod, account, node)).unwrap();
        let own = self.api.issue_token(&TokenSpec::new(SYSTEM, account)).unwrap();
        let for_ca = TokenSpec::new(SYSTEM, account).audience("culvert-ca").bound_to(&pod);
        let token = self.write(&pod, &self.api.issue_token(&for_ca).unwrap());
        let kubeconfig = self.machine.kubeconfig(node, "agent", &own).unwrap();
        options.clone().kubeconfig(&kubeconfig).certificates_from(
            Ca::address(&self.a),
            self.roots.file(),
            &token,
        )
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let file = self.machine.directory().join(format!("{name}.token"));
        fs::write(&file, content).unwrap();
        file
    }

    pub(crate) fn client_agent(&self) -> &Agent {
        &self.agents[0]
    }

    pub(crate) fn server_agent(&self) -> &Agent {
        &self.agents[1]
    }

    /// Asks the agent of the server's node to end, and waits until it has.
    pub(crate) fn stop_server_agent(&mut self) {
        assert!(self.agents[1].stop().unwrap().success());
    }

    /// Labels the server for it to be enrolled, or takes the label away.
    pub(crate) fn enrol_server(&mut self, enrolled: bool) {
        self.machine.relabel(&self.server, |labels| set_wish(labels, enrolled));
        self.machine.publish().unwrap();
    }

    /// Labels the client for it to be enrolled, or takes the label away.
    pub(crate) fn enrol_client(&mut self, enrolled: bool) {
        self.machine.relabel(&self.client, |labels| set_wish(labels, enrolled));
        self.machine.publish().unwrap();
    }

    /// Runs another server on the server's node.
    pub(crate) fn add(&mut self, spec: PodSpec) -> (Pod, Server) {
        let pod = self.machine.pod(&self.b, spec).unwrap();
        let server = Server::start(&pod);
        self.machine.publish().unwrap();
        (pod, server)
    }

    /// The roots that are published, the oldest first.
    pub(crate) fn published_roots(&self) -> Vec<String> {
        let published = self.api.get("configmaps", SYSTEM, ROOTS).unwrap();
        let bundle = published["data"][BUNDLE].as_str().unwrap();
        bundle.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect()
    }

    /// Whether a pod's capture is written on it.
    pub(crate) fn is_announced(&self, pod: &Pod) -> bool {
        let (namespace, name) = pod.name().split_once('/').unwrap();
        let pod = self.api.get("pods", namespace, name).unwrap();
        pod["metadata"]["annotations"][CAPTURED] == "true"
    }

    pub(crate) fn wait_announced(&self, pod: &Pod, announced: bool) {
        let what = format!("{}: announced is {announced}", pod.name());
        eventually(&what, || (self.is_announced(pod) == announced).then_some(()));
    }

    /// The server's address, on both families.
    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        Family::ALL.map(|family| self.server.address(family, PORT))
    }

    /// Has the enrolled client call, and says how its agent carried that; none if it failed.
    pub(crate) fn transport(&self, to: SocketAddr) -> Option<Transport> {
        let mark = self.client_agent().mark();
        let call = call(&self.client, to).ok()?;
        Some(recorded_by_client(self.client_agent(), mark, &call).transport)
    }

    /// Waits until the client's connections reach the server like this, by the word of the server's agent.
    pub(crate) fn wait_seen_by_server(&self, transport: Transport) {
        for to in self.addresses() {
            eventually(&format!("{to} over {}", transport.as_str()), || {
                let mark = self.server_agent().mark();
                let call = call(&self.client, to).ok()?;
                let seen = recorded_by_server(self.server_agent(), mark, &call).transport;
                (seen == transport).then_some(())
            });
        }
    }

    /// Waits until the enrolled client's connections to the server are carried like this.
    pub(crate) fn wait_transport(&self, transport: Transport) {
        for to in self.addresses() {
            let is_so = || (self.transport(to)? == transport).then_some(());
            eventually(&format!("{to} over {}", transport.as_str()), is_so);
        }
    }
}

fn set_wish(labels: &mut BTreeMap<String, String>, enrolled: bool) {
    if enrolled {
        labels.insert(CAPTURE.to_owned(), "enabled".to_owned());
    } else {
        labels.remove(CAPTURE);
    }
}

/// How a call was carried.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) transport: Transport,
    /// Of the other side, as far as it was proven.
    pub(crate) identity: Option<String>,
}

impl Carried {
    /// Between two pods that no agent serves.
    pub(crate) const fn by_nobody() -> Self {
        Self { transport: Transport::Plaintext, identity: None }
    }
}

/// How the client's agent recorded a call, of the lines after a mark.
pub(crate) fn recorded_by_client(agent: &Agent, mark: usize, call: &Call) -> Carried {
    recorded(agent, mark, "outbound", call.source)
}

/// How the server's agent recorded a call, of the lines after a mark.
pub(crate) fn recorded_by_server(agent: &Agent, mark: usize, call: &Call) -> Carried {
    recorded(agent, mark, "inbound", call.seen_as)
}

fn recorded(agent: &Agent, mark: usize, direction: &str, source: SocketAddr) -> Carried {
    let source = source.to_string();
    let is_its = |record: &Value| record["direction"] == direction && record["source"] == *source;
    let record = agent.wait_for_record_since(mark, is_its).unwrap();
    Carried {
        transport: Transport::of(record["transport"].as_str().unwrap()).unwrap(),
        identity: record["peer_identity"].as_str().map(str::to_owned),
    }
}

/// The pod that an agent is, which its token is bound to.
fn agent_pod(name: &str, account: &str, node: &Node) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": SYSTEM, "name": name },
        "spec": {
            "serviceAccountName": account, "nodeName": node.name(), "hostNetwork": true,
            "containers": [{ "name": "agent", "image": "none" }],
        },
        "status": { "phase": "Running" },
    })
}
