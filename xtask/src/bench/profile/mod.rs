//! `cargo xtask bench --profile`: where the two agents spend their time, and what they ask of the kernel.
//!
//! Each workload runs over mTLS twice: sampled by perf for flame graphs, and with the agents' system calls counted,
//! which slows them down and is therefore done apart. A virtual machine without counters of the CPU's is sampled by
//! its clock (`cpu-clock`), which puts what happens with interrupts off to where they are on again.

mod calls;
mod flames;
mod perf;
mod stacks;
mod summary;
mod workload;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use culvert_testbed::AgentOptions;
use serde_json::Value;

use super::{measure::number, proxies::Proxies, row::Row, service::Service, site::Site};
use crate::step::{Steps, say};
use calls::Calls;
use stacks::Stacks;
use summary::Summary;
use workload::Workload;

/// What is done, for a person.
pub(super) fn announcement(directory: &Path, seconds: u32) -> String {
    format!(
        "bulk, requests and short connections over mTLS, twice for {seconds} s each: sampled, and with system calls \
         counted; to {}",
        directory.display()
    )
}

/// Profiles all workloads, and leaves a flame graph for each and each agent in a directory, beside the summary.
pub(super) fn run(steps: &Steps, site: &mut Site, directory: &Path, seconds: u32) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    site.prepare(Row::Mtls)?;
    let proxies =
        steps.work("start", || site.proxies(&AgentOptions::default()))?.context("mtls has agents")?;
    let _echo = site.serve(Service::Echo)?;
    let profile = Profile { steps, site, proxies: &proxies, directory, seconds };
    let summaries = Workload::ALL.map(|workload| profile.of(workload));
    let summaries = summaries.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
    steps.work("verify and stop", || site.leave(proxies))?;
    fs::write(directory.join("summary.txt"), &summaries)?;
    say(summaries.trim_end());
    Ok(())
}

/// The agents, by the names of their nodes.
const AGENTS: [&str; 2] = ["a", "b"];

struct Profile<'a> {
    steps: &'a Steps,
    site: &'a Site,
    proxies: &'a Proxies<'a>,
    directory: &'a Path,
    seconds: u32,
}

impl Profile<'_> {
    fn of(&self, workload: Workload) -> anyhow::Result<String> {
        let step = |what: &str| format!("{}: {what}", workload.name());
        // What is done only once, and what grows with the load, is not what is looked for.
        self.steps.work(&step("warm up"), || self.site.run(self.client(workload), self.seconds))?;
        let recordings = AGENTS.map(|agent| self.directory.join(format!("{}.{agent}.perf", workload.name())));
        self.steps.work(&step("sampled"), || self.around(workload, &recordings, perf::record))?;
        let counts = AGENTS.map(|agent| self.directory.join(format!("{}.{agent}.calls", workload.name())));
        let done = self.steps.work(&step("system calls"), || self.around(workload, &counts, perf::count))?;
        let amount = workload.amount(number(&done, workload.pointer())?);
        let mut text = String::new();
        for ((agent, recording), counts) in AGENTS.iter().zip(&recordings).zip(&counts) {
            let name = format!("{}, agent {agent}", workload.name());
            let folded =
                self.steps.work(&format!("{name}: flame graph"), || flames::draw(recording, &name))?;
            let (stacks, calls) = (Stacks::of(&folded), Calls::read(counts)?.per(amount));
            text +=
                &Summary { name: &name, stacks: &stacks, unit: workload.unit(), calls: &calls }.to_string();
        }
        Ok(text)
    }

    /// Runs a workload with perf around it, once for each agent.
    fn around(
        &self,
        workload: Workload,
        files: &[PathBuf; 2],
        perf: fn(u32, &Path, &Command) -> Command,
    ) -> anyhow::Result<Value> {
        let processes = self.proxies.processes().into_iter().zip(files);
        let command =
            processes.fold(self.client(workload), |inner, (process, file)| perf(process, file, &inner));
        self.site.run(command, self.seconds)
    }

    fn client(&self, workload: Workload) -> Command {
        workload.client(self.site, self.seconds)
    }
}
