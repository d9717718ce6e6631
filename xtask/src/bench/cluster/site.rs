//! Where it is measured: one node, with one pod that is enrolled.

use std::process::Command;

use anyhow::Context;
use culvert_testbed::{Agent, AgentOptions, Machine, Node, Pod, PodSpec, crowd::Crowd, culvert};
use serde_json::Value;

use super::{peers::PeerMap, server::Server};
use crate::{
    bench::cpus::{self, Cpus},
    places,
};

/// The node and its pod, the same for all sizes of the cluster.
pub(super) struct Site {
    _pod: Pod,
    node: Node,
    machine: Machine,
    cpus: Cpus,
}

impl Site {
    pub(super) fn build(cpus: Cpus) -> anyhow::Result<Self> {
        let mut machine = Machine::new()?;
        let node = machine.node("scale")?;
        let pod = machine.pod(&node, PodSpec::new("bench", "client").enrolled())?;
        machine.publish()?;
        Ok(Self { _pod: pod, node, machine, cpus })
    }

    /// Starts an API server with a crowd beside the site's own pod.
    pub(super) fn serve(&self, crowd: Crowd) -> anyhow::Result<Server> {
        let mut command = self.node.command(places::binary("culvert-apiserver"));
        command.args([
            format!("--pods={}", crowd.pods),
            format!("--services={}", crowd.services),
            format!("--away={}", crowd.away),
            format!("--manifests={}", self.machine.manifests().join("cluster.yaml").display()),
            format!("--directory={}", self.machine.directory().join("api").display()),
        ]);
        self.beside(|| Server::start(command))
    }

    /// Starts an agent that follows an API server.
    pub(super) fn agent(&self, server: &Server) -> anyhow::Result<Agent> {
        let options = AgentOptions::default().kubeconfig(server.kubeconfig());
        cpus::on(self.cpus.a, || self.node.agent(&options))
    }

    /// Does something on the API server's CPU.
    pub(super) fn beside<R>(&self, work: impl FnOnce() -> anyhow::Result<R>) -> anyhow::Result<R> {
        cpus::on(self.cpus.b, work)
    }

    /// The peer map of the running agent, as it names it itself.
    pub(super) fn peers(&self) -> anyhow::Result<PeerMap> {
        let mut status = Command::new(culvert());
        let output = status.args(["status", "--output=json", "--node", self.node.name()]).output();
        let document: Value = serde_json::from_slice(&output.context("culvert cannot be started")?.stdout)
            .context("culvert status: expected JSON")?;
        let maps = document["maps"].as_array().into_iter().flatten();
        let map = maps.into_iter().find(|map| map["name"] == culvert_abi::names::maps::PEERS);
        PeerMap::open(map.context("culvert status names no peer map")?)
    }

    /// Takes away what an agent has left in the kernel.
    pub(super) fn detach(&self) -> anyhow::Result<()> {
        self.node.detach()
    }
}
