//! `cargo xtask bench`: what Culvert costs, beside a direct connection in the same run.
//!
//! Three rows over one pair of pods, in turns: `direct` without any agent, `passthrough` with both agents attached and
//! the client enrolled but not the server, `mtls` with both enrolled. Machines drift, so figures are medians over the
//! rounds and only those of one run may be compared. With `--cluster` it is [another bench](cluster).

mod agents;
mod cluster;
mod cpus;
mod figure;
mod load;
mod measure;
mod process;
mod report;
mod results;
mod row;
mod site;

use std::{fs, path::PathBuf, thread};

use anyhow::{Context, bail};

use crate::{
    build,
    setup::{self, Purpose},
    step::{Interrupted, Steps, say},
};
use cpus::Cpus;
use measure::{CONNECTIONS, HELD, Measurement};
use report::Verdict;
use results::Results;
use row::Row;
use site::Site;

/// What to measure, and where to put it.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    cluster: cluster::Options,
    /// Write the figures to this file: of each row the medians, of each size of a cluster all
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How often each row is measured
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "cluster",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long throughput, round trips and requests are each measured, or pods change, in seconds [default: 3, or 20]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,
    /// Fail unless the passed-through row holds 0.95 of direct's throughput and requests, or the cluster is followed as
    /// it must be
    #[arg(long)]
    check: bool,
}

impl Options {
    fn seconds(&self) -> u32 {
        self.seconds.unwrap_or(SECONDS)
    }
}

const SECONDS: u32 = 3;

/// Measures all rows and shows the table.
pub(crate) fn run(steps: &Steps, options: &Options) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the bench makes network namespaces and cgroups, which takes root: run it as root");
    }
    let cpus = Cpus::find()?;
    setup::ensure(steps, &[Purpose::Build, Purpose::Pods])?;
    build::programs(steps)?;
    if options.cluster.cluster {
        let seconds = options.seconds.unwrap_or(cluster::SECONDS);
        return cluster::run(steps, &options.cluster, seconds, options.json.as_deref(), options.check);
    }
    say(&announcement(options, cpus));
    let mut site = steps.work("two nodes, a client's pod and a server's", || Site::build(cpus))?;
    let results = all_rounds(steps, options, &mut site).inspect_err(wait_for_the_end)?;
    drop(site);
    finish(options, &results)
}

fn announcement(options: &Options, cpus: Cpus) -> String {
    let (rounds, seconds) = (options.rounds, options.seconds());
    let total = 3 * rounds * (4 * seconds + OVERHEAD);
    format!(
        "rounds of direct, passthrough and mtls: {rounds}\n\
         each row: throughput of 1 and of 8 streams, round trips and requests for {seconds} s each, \
         {CONNECTIONS} short connections, {HELD} held\n\
         everything of node A on CPU {}, of node B on CPU {}; what else runs spoils the figures\n\
         about {total} s",
        cpus.a, cpus.b
    )
}

/// Seconds that a row takes beside what is measured by time: agents come and go, connections are counted.
const OVERHEAD: u32 = 2;

fn all_rounds(steps: &Steps, options: &Options, site: &mut Site) -> anyhow::Result<Results> {
    let mut results = Results::default();
    for round in 1..=options.rounds {
        for row in Row::ALL {
            let label = format!("{round}/{} {}", options.rounds, row.name());
            let agents = steps.work(&format!("{label}: start"), || site.enter(row))?;
            let measurement = Measurement::new(steps, site, agents.as_ref(), &label, options.seconds());
            results.add(row, measurement.run()?);
            if let Some(agents) = agents {
                steps.work(&format!("{label}: verify and stop"), || site.leave(row, agents))?;
            }
        }
    }
    Ok(results)
}

/// The testbed is removing everything on a thread of its own, and then ends this process.
fn wait_for_the_end(error: &anyhow::Error) {
    while error.is::<Interrupted>() {
        thread::park();
    }
}

fn finish(options: &Options, results: &Results) -> anyhow::Result<()> {
    let verdict = Verdict::of(results);
    say(&report::table(results));
    say(&verdict.to_string());
    if let Some(file) = &options.json {
        let json = serde_json::to_string_pretty(&results.to_json())?;
        fs::write(file, json + "\n").with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if options.check && !verdict.holds() {
        bail!("this is not the verdict that --check asks for");
    }
    Ok(())
}
