//! `cargo xtask bench`: what Culvert costs, beside a direct connection in the same run.
//!
//! Rows over one pair of pods, in turns: `direct` without any agent, `passthrough` with both agents attached and the
//! client enrolled but not the server, `mtls` with both enrolled, `envoy` with two sidecars instead. Machines drift, so
//! figures are medians over the rounds and only those of one run may be compared. Other flags measure something else:
//! [many connections](scale), [a million of them](soak), [where the time goes](profile), [a large cluster](cluster).

mod agents;
mod cluster;
mod cost;
mod cpus;
mod envoys;
mod figure;
mod hops;
mod load;
mod measure;
mod noise;
mod plan;
mod process;
mod profile;
mod proxies;
mod relays;
mod report;
mod results;
mod row;
mod scale;
mod service;
mod site;
mod soak;
mod verdict;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::{
    build,
    setup::{self, Purpose},
    step::{Interrupted, Steps, say},
};
use cpus::Cpus;
use plan::Plan;
use results::Results;
use site::Site;
use verdict::Verdict;

/// What to measure, and where to put it.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    cluster: cluster::Options,
    /// Measure what 1, 8, 64 and 1000 connections do to each other, and a bulk flow to them; and idle and stalled ones
    #[arg(long, conflicts_with_all = ["cluster", "soak", "profile"])]
    scale: bool,
    /// Open and close N connections, and look at the agents' memory after each tenth
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1000000",
        conflicts_with_all = ["cluster", "profile", "rounds", "seconds"],
        value_parser = clap::value_parser!(u32).range(10..=100_000_000))]
    soak: Option<u32>,
    /// Leave flame graphs of the agents in this directory, and count their system calls; needs perf
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "target/profile",
        conflicts_with_all = ["cluster", "rounds", "json", "check"])]
    profile: Option<PathBuf>,
    /// Write the figures to this file: of each row the medians, of each size of a cluster or tenth of a soak all
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often each row is measured
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "cluster",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each figure that takes time is measured, or pods change, in seconds [default: 3; 5 with --scale, 20 with --cluster]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,
    /// Fail unless what the last lines claim holds
    #[arg(long)]
    check: bool,
}

impl Options {
    fn seconds(&self) -> u32 {
        self.seconds.unwrap_or(if self.scale { scale::SECONDS } else { SECONDS })
    }

    fn purposes(&self) -> &'static [Purpose] {
        if self.profile.is_some() {
            &[Purpose::Build, Purpose::Pods, Purpose::Profile]
        } else if self.soak.is_some() || self.cluster.cluster {
            &[Purpose::Build, Purpose::Pods]
        } else {
            &[Purpose::Build, Purpose::Pods, Purpose::Peers]
        }
    }

    fn announcement(&self, cpus: Cpus) -> String {
        let (rounds, seconds) = (self.rounds, self.seconds());
        let what = match (&self.profile, self.soak) {
            (Some(directory), _) => profile::announcement(directory, seconds),
            (None, Some(connections)) => soak::announcement(connections),
            (None, None) if self.scale => scale::announcement(rounds, seconds),
            (None, None) => cost::announcement(rounds, seconds),
        };
        format!(
            "{what}\neverything of node A on CPU {}, of node B on CPU {}; what else runs spoils the figures",
            cpus.a, cpus.b
        )
    }
}

const SECONDS: u32 = 3;

/// Measures what is asked for and shows it.
pub(crate) fn run(steps: &Steps, options: &Options) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the bench makes network namespaces and cgroups, which takes root: run it as root");
    }
    let cpus = Cpus::find()?;
    setup::ensure(steps, options.purposes())?;
    build::programs(steps)?;
    if options.cluster.cluster {
        let seconds = options.seconds.unwrap_or(cluster::SECONDS);
        return cluster::run(steps, &options.cluster, seconds, options.json.as_deref(), options.check);
    }
    say(&options.announcement(cpus));
    let mut site = steps.work("two nodes, a client's pod and a server's", || Site::build(cpus))?;
    measure(steps, options, &mut site).inspect_err(wait_for_the_end)
}

fn measure(steps: &Steps, options: &Options, site: &mut Site) -> anyhow::Result<()> {
    if let Some(directory) = &options.profile {
        return profile::run(steps, site, directory, options.seconds());
    }
    if let Some(connections) = options.soak {
        let stages = soak::run(steps, site, connections)?;
        let holds = soak::report(&stages);
        return finish(options, &stages, holds);
    }
    let rows = |plan: Plan, site| plan.carry_out(steps, site, options.rounds, options.seconds());
    let (results, verdict): (Results, fn(&Results) -> Verdict) = if options.scale {
        (rows(scale::PLAN, site)?, Verdict::of_scale)
    } else {
        (rows(cost::PLAN, site)?, Verdict::of_cost)
    };
    let verdict = verdict(&results);
    say(&report::table(&results));
    say(&verdict.to_string());
    finish(options, &results.to_json(), verdict.holds())
}

/// The testbed is removing everything on a thread of its own, and then ends this process.
fn wait_for_the_end(error: &anyhow::Error) {
    while error.is::<Interrupted>() {
        thread::park();
    }
}

fn finish(options: &Options, figures: &impl Serialize, holds: bool) -> anyhow::Result<()> {
    if let Some(file) = &options.json {
        write(file, figures)?;
    }
    if options.check && !holds {
        bail!("this is not the verdict that --check asks for");
    }
    Ok(())
}

fn write(file: &Path, figures: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(figures)?;
    fs::write(file, json + "\n").with_context(|| format!("{} cannot be written", file.display()))
}
