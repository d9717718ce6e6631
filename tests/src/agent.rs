//! An agent on a node, and what it says.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::Path,
    process::Command,
    sync::Arc,
};

use serde_json::Value;

use crate::{Daemon, Node, process::culvert, run::Run};

/// The flags of an agent.
#[derive(Clone, Debug, Default)]
pub struct AgentOptions {
    /// Those without a value are left out.
    flags: BTreeMap<String, Option<String>>,
    is_nested: bool,
}

impl AgentOptions {
    /// Sets a flag, such as `failure` to `open`, whether the testbed gives it a value of its own or not.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl Into<String>) -> Self {
        self.flags.insert(name.to_owned(), Some(value.into()));
        self
    }

    /// Leaves out a flag that the testbed would set.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.flags.insert(name.to_owned(), None);
        self
    }

    /// Follows an API server instead of the manifests.
    #[must_use]
    pub fn kubeconfig(self, file: &Path) -> Self {
        self.without("manifests").flag("kubeconfig", file.display().to_string())
    }

    /// Has certificates from a server instead of the nodes' own authority.
    #[must_use]
    pub fn certificates_from(self, address: SocketAddr, roots: &Path, token: &Path) -> Self {
        self.without("ca-dir")
            .flag("ca-address", address.to_string())
            .flag("ca-roots", roots.display().to_string())
            .flag("ca-token", token.display().to_string())
    }

    /// In a cgroup namespace whose root is the node's cgroup, as in a node of kind; where that is, it finds by itself.
    #[must_use]
    pub fn nested(self) -> Self {
        Self { is_nested: true, ..self.without("cgroup-root") }
    }

    fn command(&self, node: &Node) -> Command {
        if !self.is_nested {
            return node.agent_command(culvert());
        }
        let mut command = node.nested_command("agent");
        command.arg(culvert());
        command
    }

    /// One worker, because two agents and their applications share few cores.
    fn with_defaults(&self, run: &Run, node: &Node) -> BTreeMap<String, String> {
        let own = [
            ("node", node.name().to_owned()),
            ("cgroup-root", node.cgroup_root().display().to_string()),
            ("manifests", run.manifests().display().to_string()),
            ("ca-dir", run.authority().display().to_string()),
            ("tls-files", run.directory().display().to_string()),
            ("drain", "5s".to_owned()),
            ("workers", "1".to_owned()),
            ("log-format", "json".to_owned()),
        ];
        let mut flags: BTreeMap<_, _> = own.map(|(name, value)| (name.to_owned(), Some(value))).into();
        flags.extend(self.flags.clone());
        flags.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A running agent; dropped, it is killed. What it leaves in the kernel stays until its node is dropped or
/// [detached](Node::detach), so that the next agent finds it. Its log is printed if the test panics.
pub struct Agent {
    daemon: Daemon,
}

impl Agent {
    pub(crate) fn start(run: &Arc<Run>, node: &Node, options: &AgentOptions) -> anyhow::Result<Self> {
        let mut command = options.command(node);
        command.arg("agent");
        for (name, value) in options.with_defaults(run, node) {
            command.arg(format!("--{name}={value}"));
        }
        Ok(Self { daemon: Daemon::start(run, "agent", node.name(), command)? })
    }

    /// Waits until it serves its node as the manifests now say.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        self.wait_for(|line| line["message"] == "ready").map(drop)
    }

    /// Waits for the record of a connection.
    pub fn wait_for_record(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.wait_for_record_since(0, wanted)
    }

    /// Waits for the record of a connection that was not taken before, and takes it. A port may come again: pods that
    /// connect to several addresses go through their ports in several places.
    pub fn take_record(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.take(|line| is_record(line) && wanted(line))
    }

    /// Waits for the record of a connection, of those after a mark.
    pub fn wait_for_record_since(
        &self,
        mark: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.wait_for_since(mark, |line| is_record(line) && wanted(line))
    }

    /// The records of connections that have ended.
    pub fn records(&self) -> Vec<Value> {
        self.lines().into_iter().map(|line| line.json).filter(is_record).collect()
    }
}

impl Deref for Agent {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl DerefMut for Agent {
    fn deref_mut(&mut self) -> &mut Daemon {
        &mut self.daemon
    }
}

fn is_record(line: &Value) -> bool {
    line["target"] == "access"
}
