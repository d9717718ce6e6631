//! `cargo xtask`: everything a person or a machine does with this repository.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apt;
mod bench;
mod build;
mod demo;
mod e2e;
mod ebpf;
mod image;
mod lint;
mod manifest;
mod places;
mod setup;
mod step;
mod test;
mod unavailable;
mod vm;

use culvert_testbed::walkthrough;
use step::{Interrupted, Steps};
use unavailable::Unavailable;

/// Builds, checks and tries Culvert.
///
/// Each command installs what it misses on a Debian machine, says what it does, and removes what it made, also on
/// Ctrl-C. The exit status is 0 when everything went well, 1 when a step failed, 2 for a mistake on the command
/// line, 69 when something is missing that is not installed from here (docker, kind), and 130 when it was
/// interrupted.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing need
    Setup,
    /// Build the kernel programs, then the agent and the testbed
    Build,
    /// Check formatting, clippy, documentation, licences and advisories
    Lint,
    /// Show the migration from plaintext to mTLS between two nodes made on this machine; needs root
    Demo(demo::Options),
    /// Build, lint, and run all tests; those in network namespaces need root
    Test(test::Options),
    /// Measure throughput, latency and cost beside a direct connection; needs root and an idle machine
    Bench(bench::Options),
    /// Render the plain Kubernetes manifests from the Helm chart
    Manifest(manifest::Options),
    /// Build the container image, by docker, podman or buildah
    Image(image::Options),
    /// Install, try and remove Culvert on a cluster made by kind; needs docker or podman, kind and kubectl
    E2e(e2e::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let steps = Steps::new()?;
    match command {
        Command::Setup => setup::run(&steps),
        Command::Build => build::run(&steps),
        Command::Lint => lint::run(&steps),
        Command::Demo(options) => demo::run(&steps, &options),
        Command::Test(options) => test::run(&steps, &options),
        Command::Bench(options) => bench::run(&steps, &options),
        Command::Manifest(options) => manifest::run(&steps, &options),
        Command::Image(options) => image::run(&steps, &options),
        Command::E2e(options) => e2e::run(&steps, &options),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a failure is told to the person who called")]
fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<Interrupted>() {
        eprintln!("interrupted");
        return ExitCode::from(130);
    }
    eprintln!("error: {error:#}");
    if error.is::<Unavailable>() { ExitCode::from(Unavailable::STATUS) } else { ExitCode::FAILURE }
}
