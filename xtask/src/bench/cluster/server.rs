//! The API server's process.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use culvert_testbed::crowd::{Order, Report};

use crate::bench::load::spawn;

/// An API server that runs until it is dropped.
pub(super) struct Server {
    process: Child,
    orders: ChildStdin,
    reports: Receiver<Report>,
    kubeconfig: PathBuf,
}

/// How long it may take to make all objects.
const PATIENCE: Duration = Duration::from_mins(5);

impl Server {
    /// Starts it and waits until it serves.
    pub(super) fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut process = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let orders = process.stdin.take().expect("it is piped");
        let stdout = process.stdout.take().expect("it is piped");
        let (said, reports) = channel();
        thread::spawn(move || listen(stdout, &said));
        let mut server = Self { process, orders, reports, kubeconfig: PathBuf::new() };
        match server.reports.recv_timeout(PATIENCE) {
            Ok(Report::Serving(kubeconfig)) => server.kubeconfig = kubeconfig,
            other => bail!("the API server does not serve: {other:?}"),
        }
        Ok(server)
    }

    /// What a client finds it by.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Has it change pods from now on.
    pub(super) fn order(&mut self, order: Order) -> anyhow::Result<()> {
        let line = serde_json::to_string(&order)? + "\n";
        self.orders.write_all(line.as_bytes()).context("the API server has ended")
    }

    /// What it has said; none if there is nothing new.
    pub(super) fn report(&self) -> anyhow::Result<Option<Report>> {
        match self.reports.try_recv() {
            Ok(report) => Ok(Some(report)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => bail!("the API server has ended"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line that is no report is the end: nothing that follows could be trusted.
fn listen(stdout: ChildStdout, said: &Sender<Report>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(report) = serde_json::from_str(&line) else { return };
        if said.send(report).is_err() {
            return;
        }
    }
}
