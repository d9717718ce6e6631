//! `cargo xtask bench --cluster`: how an agent follows a large cluster.
//!
//! The API server of the tests, on one CPU, serves clusters of three sizes, one after the other; the agent, on another,
//! follows each, with one enrolled pod so that its peer map is filled. Then pods change at a steady rate. The price of
//! a change must not depend on the size.

mod lag;
mod measure;
mod peers;
mod report;
mod sample;
mod server;
mod site;

use std::{fs, path::Path};

use anyhow::{Context, bail};

use super::{cpus::Cpus, wait_for_the_end};
use crate::step::{Steps, say};
use measure::Load;
use report::Verdict;
use sample::Sample;
use site::Site;

/// How large the cluster is, and how fast it changes.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Measure how an agent follows a large cluster, instead of what connections cost
    #[arg(long)]
    pub(super) cluster: bool,
    /// Pods; a tenth and a hundredth are measured, too
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "cluster",
        value_parser = clap::value_parser!(u32).range(100..=500_000))]
    pods: u32,
    /// Services, whose endpoints are all the pods between them
    #[arg(long, value_name = "N", default_value_t = 5_000, requires = "cluster",
        value_parser = clap::value_parser!(u32).range(1..=50_000))]
    services: u32,
    /// Pods that change each second
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "cluster",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
}

/// How long pods change, where nobody says.
pub(super) const SECONDS: u32 = 20;

/// Measures all sizes and shows the table. `check` makes a figure that is missed an error.
pub(super) fn run(
    steps: &Steps,
    options: &Options,
    seconds: u32,
    json: Option<&Path>,
    check: bool,
) -> anyhow::Result<()> {
    let cpus = Cpus::find()?;
    let load = Load { rate: options.rate, seconds };
    say(&announcement(options, load, cpus));
    let site = steps.work("a node with an enrolled pod", || Site::build(cpus))?;
    let samples = all_sizes(steps, options, load, &site).inspect_err(wait_for_the_end)?;
    drop(site);
    finish(&samples, json, check)
}

fn announcement(options: &Options, load: Load, cpus: Cpus) -> String {
    let Options { pods, services, .. } = options;
    let Load { rate, seconds } = load;
    format!(
        "{pods} pods and {services} Services, and a tenth and a hundredth of them: first sync, then {rate} pods \
         change each second, for {seconds} s\n\
         the agent on CPU {}, the API server on CPU {}; what else runs spoils the figures\n\
         about {} s",
        cpus.a,
        cpus.b,
        3 * (seconds + measure::WARM_UP) + pods / PODS_PER_SECOND + OVERHEAD
    )
}

/// What is made and listed in a second.
const PODS_PER_SECOND: u32 = 5_000;
const OVERHEAD: u32 = 10;

fn all_sizes(steps: &Steps, options: &Options, load: Load, site: &Site) -> anyhow::Result<Vec<Sample>> {
    let sizes = [100, 10, 1].map(|part| (options.pods / part, (options.services / part).max(1)));
    sizes.into_iter().map(|(pods, services)| measure::run(steps, site, pods, services, load)).collect()
}

fn finish(samples: &[Sample], json: Option<&Path>, check: bool) -> anyhow::Result<()> {
    let verdict = Verdict::of(samples);
    say(&report::table(samples));
    say(&verdict.to_string());
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(samples)?;
        fs::write(file, text + "\n").with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if check && !verdict.holds() {
        bail!("this is not the verdict that --check asks for");
    }
    Ok(())
}
