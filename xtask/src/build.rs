//! `cargo xtask build`.

use std::{path::PathBuf, process::Command};

use crate::{ebpf, places, setup, step::Steps};

/// Builds everything, the kernel programs first: the agent carries them inside.
pub(crate) fn run(steps: &Steps) -> anyhow::Result<()> {
    setup::ensure(steps, &[setup::Purpose::Build])?;
    programs(steps)
}

/// Builds everything that a test or a demo starts. All of the workspace at once, because cargo compiles dependencies
/// again for another selection of packages.
pub(crate) fn programs(steps: &Steps) -> anyhow::Result<()> {
    ebpf::build(steps)?;
    steps.run("agent and testbed", cargo("build").args(["--release", "--workspace"]))
}

/// A cargo command for the workspace, told where the kernel programs lie.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(toolchain_cargo());
    command.arg(subcommand).current_dir(places::root()).env("CULVERT_EBPF_OBJECT", places::ebpf_object());
    command
}

fn toolchain_cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}
