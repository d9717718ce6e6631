//! Two nodes with an agent each: clients on one, servers on the other.

use anyhow::Context;
use culvert_testbed::{Agent, AgentOptions, Machine, Node, Pod, PodSpec, Service, ServiceSpec};

use super::nginx::{self, Nginx};
use crate::walkthrough::Namespace;

/// Everything that runs.
pub(super) struct Stage {
    pub(super) servers: Vec<Server>,
    pub(super) clients: Vec<Client>,
    services: Vec<(Namespace, Service)>,
    agents: Option<Agents>,
    client_node: Node,
    server_node: Node,
    pub(super) machine: Machine,
}

/// A pod with curl.
pub(super) struct Client {
    pub(super) namespace: Namespace,
    pub(super) enrolled: bool,
    pub(super) pod: Pod,
}

/// A pod with nginx.
pub(super) struct Server {
    nginx: Option<Nginx>,
    pub(super) enrolled: bool,
    pub(super) pod: Pod,
}

/// The agents of the two nodes.
pub(super) struct Agents {
    pub(super) clients: Agent,
    pub(super) servers: Agent,
}

/// The port of the Services.
pub(super) const SERVICE_PORT: u16 = 80;

impl Stage {
    /// Makes nodes, pods and Services. Nothing runs in them yet.
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut machine = Machine::new()?;
        let (client_node, server_node) = (machine.node("clients")?, machine.node("servers")?);
        let clients = make(CLIENTS, |&(namespace, enrolled)| {
            let pod = machine.pod(&client_node, spec(namespace, "sleep", "sleep", enrolled))?;
            Ok(Client { namespace, enrolled, pod })
        })?;
        let servers = make(SERVERS, |&(namespace, name, enrolled)| {
            let pod = machine.pod(&server_node, spec(namespace, name, "httpbin", enrolled))?;
            Ok(Server { nginx: None, enrolled, pod })
        })?;
        let services = make(&Namespace::SERVERS, |&namespace| {
            let service = ServiceSpec::new(namespace.as_str(), "httpbin", ("app", "httpbin"));
            Ok((namespace, machine.service(service.port(SERVICE_PORT, nginx::PORT))?))
        })?;
        machine.publish()?;
        Ok(Self { servers, clients, services, agents: None, client_node, server_node, machine })
    }

    /// Starts the applications and waits until they listen.
    pub(super) fn start_servers(&mut self) -> anyhow::Result<()> {
        let directory = self.machine.directory();
        for server in &mut self.servers {
            let name = server.pod.name().replace('/', "-");
            server.nginx = Some(Nginx::start(&server.pod, &directory.join(format!("nginx-{name}")))?);
        }
        for server in &mut self.servers {
            if let Some(nginx) = &mut server.nginx {
                nginx.wait_ready(&self.server_node, &server.pod)?;
            }
        }
        Ok(())
    }

    /// Starts the agents and waits until they serve.
    pub(super) fn start_agents(&mut self) -> anyhow::Result<()> {
        let options = AgentOptions::default().flag("log", AGENT_LOG);
        let agents =
            Agents { clients: self.client_node.agent(&options)?, servers: self.server_node.agent(&options)? };
        agents.both().into_iter().try_for_each(Agent::wait_ready)?;
        self.agents = Some(agents);
        Ok(())
    }

    /// The agents, once they are started.
    pub(super) fn agents(&self) -> anyhow::Result<&Agents> {
        self.agents.as_ref().context("the agents are not started")
    }

    /// The Service of a namespace.
    pub(super) fn service(&self, namespace: Namespace) -> anyhow::Result<&Service> {
        let found = self.services.iter().find(|(of, _)| *of == namespace);
        found.map(|(_, service)| service).context("each namespace has a Service")
    }

    /// The server with this pod name.
    pub(super) fn server(&self, pod: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.pod.name() == pod)
    }

    /// The node of the clients, then that of the servers.
    pub(super) const fn nodes(&self) -> [&Node; 2] {
        [&self.client_node, &self.server_node]
    }
}

impl Agents {
    /// That of the clients, then that of the servers.
    pub(super) const fn both(&self) -> [&Agent; 2] {
        [&self.clients, &self.servers]
    }
}

const CLIENTS: &[(Namespace, bool)] = &[(Namespace::Full, true), (Namespace::Legacy, false)];

const SERVERS: &[(Namespace, &str, bool)] = &[
    (Namespace::Full, "httpbin", true),
    (Namespace::Partial, "httpbin-new", true),
    (Namespace::Partial, "httpbin-old", false),
    (Namespace::Legacy, "httpbin", false),
];

/// With a line for each change of the cluster that the agent has put in force.
const AGENT_LOG: &str = "info,culvert::run=debug";

fn make<A, B>(plan: &[A], mut one: impl FnMut(&A) -> anyhow::Result<B>) -> anyhow::Result<Vec<B>> {
    plan.iter().map(&mut one).collect()
}

fn spec(namespace: Namespace, name: &str, app: &str, enrolled: bool) -> PodSpec {
    let spec = PodSpec::new(namespace.as_str(), name).service_account(app).label("app", app);
    if enrolled { spec.enrolled() } else { spec }
}
