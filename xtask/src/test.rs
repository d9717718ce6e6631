//! `cargo xtask test`.

use std::{env, fs, process::Command};

use anyhow::{Context, bail};

use crate::{
    build, lint, places,
    setup::{self, Purpose},
    step::{Steps, say},
    vm,
};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Boot this kernel in a VM (6.1 or 6.12, from Debian) and run what shows each kernel program there
    #[arg(long, value_name = "VERSION", conflicts_with = "filters")]
    kernel: Option<vm::Version>,
    /// For `cargo nextest run`: names of tests, or options
    #[arg(last = true, value_name = "FILTER")]
    filters: Vec<String>,
}

impl Options {
    const fn purposes(&self) -> &'static [Purpose] {
        use Purpose::{Build, Deploy, Kernels, Lint, Peers, Pods, Test};
        match self.kernel {
            Some(_) => &[Build, Pods, Kernels],
            None => &[Build, Lint, Pods, Test, Peers, Deploy],
        }
    }
}

/// Runs all tests, or those asked for.
pub(crate) fn run(steps: &Steps, options: &Options) -> anyhow::Result<()> {
    setup::ensure(steps, options.purposes())?;
    build::programs(steps)?;
    if let Some(version) = options.kernel {
        return vm::run(steps, version);
    }
    if options.filters.is_empty() {
        lint::checks(steps)?;
        steps.run(
            "examples in the documentation",
            build::cargo("test").args(["--release", "--workspace", "--doc"]),
        )?;
    }
    all(steps, &options.filters)
}

fn all(steps: &Steps, filters: &[String]) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "the tests make network namespaces and cgroups, which takes root: run `cargo xtask test` as root"
        );
    }
    let skips = tempfile::NamedTempFile::new().context("no temporary file for what is skipped")?;
    let outcome = steps.show("tests", nextest(filters).env("CULVERT_SKIPS", skips.path()));
    let skipped = fs::read_to_string(skips.path())?;
    outcome.and_then(|()| report_skips(&skipped))
}

fn nextest(filters: &[String]) -> Command {
    let mut nextest = build::cargo("nextest");
    nextest.args(["run", "--release", "--workspace"]).args(filters);
    nextest
        .env("CULVERT_BIN", places::binary("culvert"))
        .env("CULVERT_POD_BIN", places::binary("culvert-pod"))
        .env("CULVERT_HELM", places::helm())
        .env("CULVERT_ENVOY", places::envoy());
    nextest
}

/// A test that could not run says so here; nobody looks at a machine's log, so there it is a failure.
fn report_skips(skipped: &str) -> anyhow::Result<()> {
    for line in skipped.lines() {
        say(&format!("skipped: {line}"));
    }
    if !skipped.is_empty() && env::var_os("CI").is_some_and(|value| value == "true") {
        bail!("tests were skipped, which CI=true does not permit");
    }
    Ok(())
}
