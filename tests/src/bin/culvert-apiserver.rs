//! The API server of `cargo xtask bench --cluster`, in a process of its own: it holds a [crowd]
//! and changes it as standard input asks, an [`Order`] a line. It ends with its input.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use culvert_testbed::{
    apiserver::{ApiServer, TokenSpec},
    crowd::{self, Change, Crowd, Order, Report},
};

/// Serves a large cluster.
#[derive(Parser)]
struct Arguments {
    /// Pods.
    #[arg(long)]
    pods: u32,
    /// Services.
    #[arg(long)]
    services: u32,
    /// Pods that are not captured.
    #[arg(long)]
    away: u32,
    /// A file of manifests, of what else there is.
    #[arg(long)]
    manifests: PathBuf,
    /// Where the kubeconfig is written to.
    #[arg(long)]
    directory: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let crowd = Crowd::new(arguments.pods, arguments.services, arguments.away);
    let server = ApiServer::start()?;
    let manifests = fs::read_to_string(&arguments.manifests);
    server.apply_yaml(&manifests.with_context(|| arguments.manifests.display().to_string())?)?;
    server.load(crowd.objects())?;
    let token = server.issue_token(&TokenSpec::new("culvert-system", "culvert"))?;
    say(&Report::Serving(server.kubeconfig(&arguments.directory, server.address(), &token)?))?;

    let mut step = 0;
    for line in io::stdin().lines() {
        let order: Order = serde_json::from_str(&line?).context("no order")?;
        carry_out(&server, crowd, step, order)?;
        step += order.changes;
        say(&Report::Done)?;
    }
    Ok(())
}

fn carry_out(server: &ApiServer, crowd: Crowd, first: u32, order: Order) -> Result<()> {
    let (begin, pause) = (Instant::now(), Duration::from_secs(1) / order.rate);
    for count in 0..order.changes {
        let (pod, change) = crowd.step(first + count);
        thread::sleep((begin + pause * count).saturating_duration_since(Instant::now()));
        let at = crowd::now();
        server.put_raw("pods", pod)?;
        say(&Report::Changed(Change { at, ..change }))?;
    }
    Ok(())
}

fn say(report: &Report) -> Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    Ok(io::stdout().write_all(&line)?)
}
