//! Where it is measured: two nodes, a client's pod on one and a server's on the other.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context, bail};
use culvert_testbed::{AgentOptions, Family, Machine, Node, Pod, PodSpec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use super::{
    agents::Agents,
    cpus::{self, Cpus},
    envoys::Envoys,
    hops::Hops,
    load::{Background, Job, culvert_load},
    proxies::Proxies,
    relays::Relays,
    row::{Between, Row},
    service::Service,
};

/// The nodes and pods, the same for all rows.
pub(super) struct Site {
    _iperf: Background,
    server: Pod,
    client: Pod,
    a: Node,
    b: Node,
    machine: Machine,
    cpus: Cpus,
    /// The row that it is prepared for, and how many there were before.
    row: Row,
    number: u16,
    /// What one process may open.
    files: u64,
}

impl Site {
    /// Makes nodes and pods, and starts iperf3's server.
    pub(super) fn build(cpus: Cpus) -> anyhow::Result<Self> {
        let files = raise_file_limit()?;
        let mut machine = Machine::new()?;
        let (a, b) = (machine.node("a")?, machine.node("b")?);
        let client = cpus::on(cpus.a, || machine.pod(&a, PodSpec::new("bench", "client").enrolled()))?;
        let server = cpus::on(cpus.b, || machine.pod(&b, PodSpec::new("bench", "server")))?;
        let mut iperf = server.command("iperf3");
        iperf.args(["--server", "--forceflush", "--port", &Service::Iperf.port(0).to_string()]);
        let iperf = cpus::on(cpus.b, || Background::start(iperf, "listening"))?;
        Ok(Self { _iperf: iperf, server, client, a, b, machine, cpus, row: Row::Direct, number: 0, files })
    }

    /// Makes the cluster as a row wants it.
    pub(super) fn prepare(&mut self, row: Row) -> anyhow::Result<()> {
        (self.row, self.number) = (row, self.number + 1);
        self.machine.relabel(&self.server, |labels| {
            labels.remove(CAPTURE);
            if row.enrols_server() {
                labels.insert(CAPTURE.to_owned(), "enabled".to_owned());
            }
        });
        self.machine.publish()
    }

    /// What carries the connections of the row, started afresh; none if nothing does.
    pub(super) fn proxies(&self, options: &AgentOptions) -> anyhow::Result<Option<Proxies<'_>>> {
        Ok(match self.row.between() {
            Between::Nothing => None,
            Between::Agents => Some(Proxies::Agents(self.start_agents(options)?)),
            Between::Relays => {
                Some(Proxies::Relays(Relays::start(&self.client, &self.server, self.cpus, &self.hops())?))
            }
            Between::Envoys => {
                Some(Proxies::Envoys(Envoys::start(&self.client, &self.server, self.cpus, &self.hops())?))
            }
        })
    }

    fn start_agents(&self, options: &AgentOptions) -> anyhow::Result<Agents> {
        let a = cpus::on(self.cpus.a, || self.a.agent(options))?;
        let b = cpus::on(self.cpus.b, || self.b.agent(options))?;
        let agents = Agents { a, b };
        agents.wait_ready()?;
        Ok(agents)
    }

    fn hops(&self) -> [Hops; Service::ALL.len()] {
        Service::ALL.map(|service| Hops {
            client: self.client.address(Family::V4, service.port(self.number)),
            server: self.server.address(Family::V4, service.sidecar_port(self.number)),
            application: self.server.address(Family::V4, service.port(self.number)),
        })
    }

    /// Ends what carried the connections, after a look at whether the row was what it claims to be.
    pub(super) fn leave(&self, proxies: Proxies<'_>) -> anyhow::Result<()> {
        if proxies.encrypted()? != self.row.is_encrypted() {
            bail!("{} was not measured: its connections took another way", self.row.name());
        }
        self.end(proxies)
    }

    /// Ends what carried the connections, and takes the agents' programs away.
    pub(super) fn end(&self, proxies: Proxies<'_>) -> anyhow::Result<()> {
        match proxies {
            Proxies::Agents(agents) => {
                agents.stop()?;
                self.a.detach()?;
                self.b.detach()
            }
            Proxies::Relays(_) | Proxies::Envoys(_) => Ok(()),
        }
    }

    /// Starts a service of this row.
    pub(super) fn serve(&self, service: Service) -> anyhow::Result<Background> {
        let address = self.server.address(Family::V4, service.port(self.number));
        let mut serve = load(&self.server, service);
        serve.arg(service.verb()).arg(address.to_string());
        cpus::on(self.cpus.b, || Background::start(serve, "listening"))
    }

    /// Where clients dial a service.
    pub(super) fn address(&self, service: Service) -> SocketAddr {
        let pod = if self.row.is_dialled() { &self.client } else { &self.server };
        pod.address(Family::V4, service.port(self.number))
    }

    /// Whether one proxy can hold that many connections: each takes two files, but for the tunnel of an agent.
    pub(super) fn can_hold(&self, connections: u32) -> bool {
        let each = if self.row.is_dialled() { 2 } else { 1 };
        self.files > each * u64::from(connections) + SPARE_FILES
    }

    /// A client of one of our services, which prints one JSON object.
    pub(super) fn client(&self, verb: &str, service: Service, flags: &[String]) -> Command {
        let mut client = load(&self.client, service);
        client.arg(verb).arg(self.address(service).to_string()).args(flags);
        client
    }

    /// iperf3's client, as it does by default: the client sends.
    pub(super) fn iperf(&self, streams: u32, seconds: u32) -> Command {
        let address = self.address(Service::Iperf);
        let mut iperf = self.client.command("iperf3");
        iperf.args(["--client", &address.ip().to_string(), "--port", &address.port().to_string()]);
        iperf.args(["--json", "--interval", "0"]);
        iperf.args(["--time", &seconds.to_string(), "--parallel", &streams.to_string()]);
        iperf
    }

    /// Starts a client on its node's CPU.
    pub(super) fn start(&self, client: Command) -> anyhow::Result<Job> {
        cpus::on(self.cpus.a, || Job::start(client))
    }

    /// Runs a client that takes so many seconds.
    pub(super) fn run(&self, client: Command, seconds: u32) -> anyhow::Result<Value> {
        self.start(client)?.wait(seconds)
    }

    /// Starts a client that holds connections until it is dropped, and waits until it says a word.
    pub(super) fn hold(&self, client: Command, word: &'static str) -> anyhow::Result<Background> {
        cpus::on(self.cpus.a, || Background::start(client, word))
    }
}

fn load(pod: &Pod, service: Service) -> Command {
    let mut nice = pod.command("nice");
    nice.args(["-n", service.niceness()]).arg(culvert_load());
    nice
}

/// What a process opens beside its connections.
const SPARE_FILES: u64 = 500;
const CAPTURE: &str = "culvert.io/capture";

/// As far as the machine lets us. Returns how many files a process may open then.
fn raise_file_limit() -> anyhow::Result<u64> {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
        .context("the limit of open files cannot be raised")?;
    Ok(most.unwrap_or(u64::MAX))
}
