//! `cargo xtask manifest`.

use std::fs;

use anyhow::{Context, bail};
use culvert_testbed::chart;

use crate::{
    setup::{self, Purpose},
    step::{Steps, say},
};

/// What to do with what is rendered.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write nothing; fail where a file is not what the chart renders
    #[arg(long)]
    check: bool,
}

/// Renders the plain manifests from the chart.
pub(crate) fn run(steps: &Steps, options: &Options) -> anyhow::Result<()> {
    setup::ensure(steps, &[Purpose::Deploy])?;
    for (name, text) in chart::manifests()? {
        let path = chart::deploy().join(name);
        let there = fs::read_to_string(&path).unwrap_or_default();
        if there == text {
            say(&format!("deploy/{name} is what the chart renders"));
        } else if options.check {
            bail!("deploy/{name} is not what the chart renders: run `cargo xtask manifest`");
        } else {
            fs::write(&path, text).with_context(|| format!("deploy/{name} cannot be written"))?;
            say(&format!("deploy/{name} is rendered anew"));
        }
    }
    Ok(())
}
