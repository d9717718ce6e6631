//! Where it is measured: two nodes, a client's pod on one and a server's on the other.

use std::{cell::Cell, net::SocketAddr};

use anyhow::bail;
use culvert_testbed::{AgentOptions, Family, Machine, Node, Pod, PodSpec};

use super::{
    agents::Agents,
    cpus::{self, Cpus},
    load::{Background, Job, culvert_load},
    row::Row,
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
    echo_port: Cell<u16>,
}

impl Site {
    /// Makes nodes and pods, and starts iperf3's server.
    pub(super) fn build(cpus: Cpus) -> anyhow::Result<Self> {
        let mut machine = Machine::new()?;
        let (a, b) = (machine.node("a")?, machine.node("b")?);
        let client = cpus::on(cpus.a, || machine.pod(&a, PodSpec::new("bench", "client").enrolled()))?;
        let server = cpus::on(cpus.b, || machine.pod(&b, PodSpec::new("bench", "server")))?;
        let mut iperf = server.command("iperf3");
        iperf.args(["--server", "--forceflush", "--port", &IPERF.to_string()]);
        let iperf = cpus::on(cpus.b, || Background::start(iperf, "listening"))?;
        Ok(Self { _iperf: iperf, server, client, a, b, machine, cpus, echo_port: Cell::new(FIRST_ECHO) })
    }

    /// Makes the cluster as a row wants it, with fresh agents if it wants any.
    pub(super) fn enter(&mut self, row: Row) -> anyhow::Result<Option<Agents>> {
        self.machine.relabel(&self.server, |labels| {
            labels.remove(CAPTURE);
            if row.enrols_server() {
                labels.insert(CAPTURE.to_owned(), "enabled".to_owned());
            }
        });
        self.machine.publish()?;
        if row.has_agents() { self.start_agents().map(Some) } else { Ok(None) }
    }

    fn start_agents(&self) -> anyhow::Result<Agents> {
        let options = AgentOptions::default();
        let a = cpus::on(self.cpus.a, || self.a.agent(&options))?;
        let b = cpus::on(self.cpus.b, || self.b.agent(&options))?;
        let agents = Agents { a, b };
        agents.wait_ready()?;
        Ok(agents)
    }

    /// Ends the agents and takes their programs away, after a look at whether the row was what it claims to be.
    pub(super) fn leave(&self, row: Row, mut agents: Agents) -> anyhow::Result<()> {
        if agents.tunnelled()? != row.enrols_server() {
            bail!("{} was not measured: its connections took another transport", row.name());
        }
        agents.stop()?;
        self.a.detach()?;
        self.b.detach()
    }

    /// Starts an echo server at an address of its own: ports that the last row left in TIME-WAIT slow nobody down.
    pub(super) fn echo_server(&self) -> anyhow::Result<(Background, SocketAddr)> {
        let port = self.echo_port.replace(self.echo_port.get() + 1);
        let address = self.server.address(Family::V4, port);
        let mut serve = self.server.command(culvert_load());
        serve.arg("serve").arg(address.to_string());
        let server = cpus::on(self.cpus.b, || Background::start(serve, "listening"))?;
        Ok((server, address))
    }

    /// Runs a client that prints one JSON object.
    pub(super) fn load(&self, arguments: &[&str], patience: u32) -> anyhow::Result<serde_json::Value> {
        let mut load = self.client.command(culvert_load());
        load.args(arguments);
        cpus::on(self.cpus.a, || Job::start(load))?.wait(patience)
    }

    /// Runs iperf3's client, as it does by default: the client sends.
    pub(super) fn iperf(&self, streams: u32, seconds: u32) -> anyhow::Result<serde_json::Value> {
        let mut iperf = self.client.command("iperf3");
        iperf.args(["--client", &self.server.ip(Family::V4).to_string(), "--port", &IPERF.to_string()]);
        iperf.args(["--json", "--interval", "0"]);
        iperf.args(["--time", &seconds.to_string(), "--parallel", &streams.to_string()]);
        cpus::on(self.cpus.a, || Job::start(iperf))?.wait(seconds)
    }

    /// Opens connections that are held until the value is dropped.
    pub(super) fn hold(&self, echo: SocketAddr, connections: u32) -> anyhow::Result<Background> {
        let mut hold = self.client.command(culvert_load());
        hold.arg("hold").arg(echo.to_string()).arg(format!("--connections={connections}"));
        cpus::on(self.cpus.a, || Background::start(hold, "open"))
    }
}

const CAPTURE: &str = "culvert.io/capture";
const IPERF: u16 = 5201;
const FIRST_ECHO: u16 = 7000;
