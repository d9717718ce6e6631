//! An agent on a node, and what it says.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    DEADLINE, Line, Node,
    log::Log,
    process::{culvert, signal, wait_until},
    run::{Run, making},
};

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
    node: String,
    process: Child,
    log: Log,
    log_file: PathBuf,
    _run: Arc<Run>,
}

impl Agent {
    pub(crate) fn start(run: &Arc<Run>, node: &Node, options: &AgentOptions) -> anyhow::Result<Self> {
        let _making = making();
        let mut command = options.command(node);
        command.arg("agent");
        for (name, value) in options.with_defaults(run, node) {
            command.arg(format!("--{name}={value}"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let log_file = run.directory().join(format!("{}.log", node.name()));
        let log = Log::kept(&log_file).context("no file for the agent's log")?;
        let mut process = command.spawn().context("the agent cannot be started")?;
        log.follow(process.stdout.take().expect("it is piped"));
        log.follow(process.stderr.take().expect("it is piped"));
        Ok(Self { node: node.name().to_owned(), process, log, log_file, _run: Arc::clone(run) })
    }

    /// Waits until it serves its node as the manifests now say.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        self.wait_for(|line| line["message"] == "ready").map(drop)
    }

    /// Waits for a line of its log, of those that were there before as well as of those to come.
    pub fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.wait_for_within(DEADLINE, wanted)
    }

    /// Waits for a line of its log, but no longer than a while.
    pub fn wait_for_within(
        &self,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.wait_from(0, patience, wanted)
    }

    /// How far its log has come, for [`wait_for_since`](Self::wait_for_since).
    pub fn mark(&self) -> usize {
        self.lines().len()
    }

    /// Waits for a line of its log, of those after a mark.
    pub fn wait_for_since(&self, mark: usize, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.wait_from(mark, DEADLINE, wanted)
    }

    fn wait_from(
        &self,
        mark: usize,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let found = self.log.wait_for(mark, Instant::now() + patience, |line| {
            if wanted(&line.json) { Some(line.json.clone()) } else { None }
        });
        found.with_context(|| format!("the agent of {} did not say it:\n{}", self.node, self.log.text()))
    }

    /// Waits for the record of a connection.
    pub fn wait_for_record(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.wait_for(|line| is_record(line) && wanted(line))
    }

    /// The records of connections that have ended.
    pub fn records(&self) -> Vec<Value> {
        self.lines().into_iter().map(|line| line.json).filter(is_record).collect()
    }

    /// What it has printed.
    pub fn lines(&self) -> Vec<Line> {
        self.log.lines()
    }

    /// Where what it prints is written, too.
    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// The memory that it occupies, in bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        let kib: u64 = kib.context("the agent has ended")?.trim().parse()?;
        Ok(kib * 1024)
    }

    /// Sends SIGTERM, without waiting.
    pub fn terminate(&self) -> anyhow::Result<()> {
        signal(&self.process, Signal::TERM).context("the agent is gone")
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        match wait_until(&mut self.process, Instant::now() + DEADLINE)? {
            Some(status) => Ok(status),
            None => bail!("the agent of {} does not end:\n{}", self.node, self.log.text()),
        }
    }

    /// Sends SIGTERM and waits.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.terminate()?;
        self.wait()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Agent {
    #[expect(
        clippy::print_stderr,
        reason = "who looks at a test that failed wants to know what the agent did"
    )]
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.kill();
        if thread::panicking() {
            eprintln!("--- the agent of {}\n{}---", self.node, self.log.text());
        }
    }
}

fn is_record(line: &Value) -> bool {
    line["target"] == "access"
}
