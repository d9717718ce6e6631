//! `cargo xtask lint`.

use std::process::{Command, Stdio};

use crate::{
    build::cargo,
    ebpf, places, setup,
    step::{Steps, say},
};

/// Looks everything over without running it.
pub(crate) fn run(steps: &Steps) -> anyhow::Result<()> {
    setup::ensure(steps, &[setup::Purpose::Build, setup::Purpose::Lint])?;
    ebpf::build(steps)?;
    checks(steps)
}

/// The checks alone, for who has built already.
pub(crate) fn checks(steps: &Steps) -> anyhow::Result<()> {
    steps.run("formatting", cargo("fmt").args(["--all", "--check"]))?;
    steps.run(
        "formatting of the kernel programs",
        cargo("fmt").args(["--check", "--manifest-path"]).arg(manifest()),
    )?;
    steps.run(
        "clippy",
        cargo("clippy").args(["--release", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    )?;
    steps.run("clippy of the kernel programs", &mut ebpf::clippy()?)?;
    steps.run("documentation", &mut documentation())?;
    steps.run("licences, bans and sources", &mut deny_command(&["check", "licenses", "bans", "sources"]))?;
    advisories(steps)
}

/// The advisories come over the network; a machine without a way out can do everything else.
fn advisories(steps: &Steps) -> anyhow::Result<()> {
    let fetched = deny_command(&["fetch", "db"]).stdin(Stdio::null()).output()?;
    if !fetched.status.success() {
        say("  advisories: skipped, the advisory database cannot be fetched");
        return Ok(());
    }
    steps.run("advisories", &mut deny_command(&["check", "advisories"]))
}

fn manifest() -> std::path::PathBuf {
    places::root().join("ebpf/Cargo.toml")
}

/// Documentation is for who works on this, so it may lead to what is private.
const RUSTDOCFLAGS: &str = "-D warnings -A rustdoc::private_intra_doc_links";

fn documentation() -> Command {
    let mut doc = cargo("doc");
    doc.args(["--release", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", RUSTDOCFLAGS);
    doc
}

fn deny_command(arguments: &[&str]) -> Command {
    let mut deny = cargo("deny");
    deny.args(arguments);
    deny
}
