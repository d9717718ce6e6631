//! A process that runs until it is told to end, and what it says.

use std::{
    fs,
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
    DEADLINE, Line,
    log::Log,
    panicked,
    process::{signal, wait_until},
    run::{Run, making},
};

/// A running process that logs lines of JSON; dropped, it is killed. Its log is printed if the test panics.
pub struct Daemon {
    name: String,
    process: Child,
    log: Log,
    log_file: PathBuf,
    _run: Arc<Run>,
}

impl Daemon {
    /// Starts a process of a kind on a node.
    pub(crate) fn start(
        run: &Arc<Run>,
        kind: &str,
        node: &str,
        mut command: Command,
    ) -> anyhow::Result<Self> {
        let _making = making();
        panicked::keep();
        let name = format!("the {kind} of {node}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let log_file = run.directory().join(format!("{node}.{kind}.log"));
        let log = Log::kept(&log_file).with_context(|| format!("no file for the log of {name}"))?;
        let mut process = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        log.follow(process.stdout.take().expect("it is piped"));
        log.follow(process.stderr.take().expect("it is piped"));
        Ok(Self { name, process, log, log_file, _run: Arc::clone(run) })
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
        self.log.len()
    }

    /// Waits for a line of its log, of those after a mark.
    pub fn wait_for_since(&self, mark: usize, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        self.wait_from(mark, DEADLINE, wanted)
    }

    /// Waits for a line that was not taken before, and takes it: two lines may say the same.
    pub fn take(&self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let found = self.log.take(Instant::now() + DEADLINE, |line| wanted(&line.json));
        found.map(|line| line.json).with_context(|| self.did_not_say())
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
        found.with_context(|| self.did_not_say())
    }

    fn did_not_say(&self) -> String {
        format!("{} did not say it:\n{}", self.name, self.log.text())
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
        let kib: u64 = kib.with_context(|| format!("{} has ended", self.name))?.trim().parse()?;
        Ok(kib * 1024)
    }

    /// Sends SIGTERM, without waiting.
    pub fn terminate(&self) -> anyhow::Result<()> {
        signal(&self.process, Signal::TERM).with_context(|| format!("{} is gone", self.name))
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        match wait_until(&mut self.process, Instant::now() + DEADLINE)? {
            Some(status) => Ok(status),
            None => bail!("{} does not end:\n{}", self.name, self.log.text()),
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

impl Drop for Daemon {
    #[expect(
        clippy::print_stderr,
        reason = "who looks at a test that failed wants to know what the process did"
    )]
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.kill();
        if thread::panicking() {
            let reason = panicked::last().unwrap_or_default();
            eprintln!("--- {}\n{}--- {reason}", self.name, self.log.text());
        }
    }
}
