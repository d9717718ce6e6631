//! `cargo xtask demo`: the migration from plaintext to mTLS, live on this machine.

use std::time::Instant;

use anyhow::{Context, bail};

use crate::{
    build,
    setup::{self, Purpose},
    step::Steps,
    walkthrough::Step,
};

mod call;
mod keep;
mod nginx;
mod report;
mod stage;
mod verdict;
mod walkthrough;
mod wire;
mod witness;

use report::Tally;
use stage::Stage;

/// How to run it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave nodes, pods and agents running until Ctrl-C, and tell how to look around
    #[arg(long)]
    keep: bool,
}

/// Walks through the migration; an error if anything was seen that was not expected.
pub(crate) fn run(steps: &Steps, options: &Options) -> anyhow::Result<()> {
    setup::ensure(steps, &[Purpose::Build, Purpose::Pods])?;
    build::programs(steps)?;
    if !rustix::process::geteuid().is_root() {
        bail!("the demo makes network namespaces and cgroups, which takes root: run it as root");
    }
    let outcome = live(steps, options);
    steps.check()?;
    outcome
}

fn live(steps: &Steps, options: &Options) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut stage = steps.work("two nodes, six pods, and a Service in each namespace", Stage::new)?;
    steps.work("nginx in the servers' pods", || stage.start_servers())?;
    steps.work("an agent on each node", || stage.start_agents())?;
    let mut tally = Tally::default();
    for (number, step) in (1..).zip(&Step::all()?) {
        let name = format!("step {number}: {}", step.title);
        let rows = steps.work(&name, || walkthrough::walk(&stage, step))?;
        report::show(&rows);
        tally.add(&rows);
    }
    let outcome = tally.conclude(started.elapsed());
    if options.keep {
        keep::until_interrupted(steps, &stage)?;
    }
    outcome.context("the demo does not show what it should")
}
