//! Two nodes with an agent each, and a pod on each.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream},
};

use anyhow::ensure;
use serde_json::Value;

use crate::{Agent, AgentOptions, Family, Machine, Node, Pod, PodSpec};

/// A client and a server on nodes of their own.
pub struct Pair {
    /// The agents, once they were started: the client's and the server's.
    pub agents: Vec<Agent>,
    /// `full/sleep`.
    pub client: Pod,
    /// `full/httpbin`, with the label `app` of that value.
    pub server: Pod,
    /// The client's node.
    pub a: Node,
    /// The server's node.
    pub b: Node,
    /// The machine, for what else a test needs.
    pub machine: Machine,
}

impl Pair {
    /// An enrolled client and an enrolled server, and agents that serve them.
    pub fn start() -> anyhow::Result<Self> {
        let mut pair = Self::prepare()?;
        pair.start_agents()?;
        Ok(pair)
    }

    /// The same, with the agents yet to be started.
    pub fn prepare() -> anyhow::Result<Self> {
        let mut machine = Machine::new()?;
        let (a, b) = (machine.node("a")?, machine.node("b")?);
        let client = machine.pod(&a, PodSpec::new("full", "sleep").enrolled())?;
        let httpbin = PodSpec::new("full", "httpbin").label("app", "httpbin").enrolled();
        let server = machine.pod(&b, httpbin)?;
        Ok(Self { agents: Vec::new(), client, server, a, b, machine })
    }

    /// Publishes the manifests, starts both agents and waits until they serve.
    pub fn start_agents(&mut self) -> anyhow::Result<()> {
        self.machine.publish()?;
        let options = AgentOptions::default();
        self.agents = vec![self.a.agent(&options)?, self.b.agent(&options)?];
        self.agents.iter().try_for_each(Agent::wait_ready)
    }

    /// A connection to a port of the server that nobody listens on yet: the client's end and the server's.
    pub fn connect(&self, family: Family, port: u16) -> io::Result<(TcpStream, TcpStream)> {
        let listener = self.server.listen(self.server.address(family, port))?;
        let asked = self.client.connect(self.server.address(family, port))?;
        let (answered, _) = listener.accept()?;
        Ok((asked, answered))
    }

    /// The tunnels of the client to the server that are open: one line of `ss` each.
    pub fn tunnels(&self, family: Family) -> anyhow::Result<Vec<String>> {
        let to = match self.server.ip(family) {
            IpAddr::V4(ip) => format!("dst {ip} and dport = :15008"),
            IpAddr::V6(ip) => format!("dst [{ip}] and dport = :15008"),
        };
        let output = self.client.command("ss").args(["-Htn", "state", "established", &to]).output()?;
        ensure!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
        // Its first two columns are how much is queued.
        let addresses = |line: &str| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
        Ok(String::from_utf8(output.stdout)?.lines().map(addresses).collect())
    }

    /// What either agent recorded of the connection that came from `source`, once that has ended. Each has to have
    /// recorded it once, and as carried over mTLS between these two pods.
    pub fn records(&self, source: SocketAddr) -> anyhow::Result<Vec<Value>> {
        let sides = [("outbound", "httpbin"), ("inbound", "sleep")];
        let records = self.agents.iter().zip(sides).map(|(agent, (direction, peer))| {
            let is_its = |record: &Value| record["source"] == source.to_string();
            let record = agent.wait_for_record(is_its)?;
            let count = agent.records().iter().filter(|record| is_its(record)).count();
            ensure!(count == 1, "one connection was recorded {count} times: {record}");
            ensure!(record["direction"] == direction, "expected {direction}: {record}");
            ensure!(record["transport"] == "hbone", "expected mTLS: {record}");
            let identity = format!("spiffe://cluster.local/ns/full/sa/{peer}");
            ensure!(record["peer_identity"] == identity, "expected {identity}: {record}");
            Ok(record)
        });
        records.collect()
    }

    /// Checks that the connection from `source` was carried to its end by both agents, with that many bytes sent and
    /// received by the client.
    pub fn was_carried(&self, source: SocketAddr, sent: u64, received: u64) -> anyhow::Result<()> {
        for (record, (sent, received)) in
            self.records(source)?.iter().zip([(sent, received), (received, sent)])
        {
            ensure!(record["outcome"] == "ok", "it was not carried to its end: {record}");
            ensure!(record["bytes_sent"] == sent, "expected {sent} bytes sent: {record}");
            ensure!(record["bytes_received"] == received, "expected {received} bytes received: {record}");
        }
        Ok(())
    }
}
