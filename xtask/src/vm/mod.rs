//! Tests on another kernel, in a VM: the kernel's package is unpacked, never installed, and everything that the tests
//! need of this machine goes into the initial file system.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::{
    build, places,
    step::{Steps, say},
};

mod archive;
mod initramfs;
mod kernel;

pub(crate) use kernel::Version;

/// The file below `tests/tests` that holds the tests: one for what each of the kernel's programs is for.
const TEST_FILE: &str = "smoke";

/// Boots a kernel and runs the tests on it.
pub(crate) fn run(steps: &Steps, version: Version) -> anyhow::Result<()> {
    let executable = test_executable(steps)?;
    let kernel = kernel::fetch(steps, version)?;
    let image = tempfile::NamedTempFile::new().context("no temporary file for the initial file system")?;
    steps.work("initial file system", || {
        let archive = initramfs::build(&kernel, &executable)?;
        Ok(fs::write(image.path(), archive)?)
    })?;
    let name = format!("{TEST_FILE} on {}", kernel.name());
    let console = steps.capture(&name, qemu(&kernel).arg("-initrd").arg(image.path()))?;
    if !has_passed(&console) {
        say(&console);
        bail!("{name} failed; the lines above are the console of its VM");
    }
    say(&format!("{name}: passed"));
    Ok(())
}

/// A test executable is content when it has no test: some have to have passed.
fn has_passed(console: &str) -> bool {
    let is_there = |wanted: &str| console.lines().any(|line| line.starts_with(wanted));
    is_there(initramfs::PASSED) && is_there("test result: ok. ") && !is_there("test result: ok. 0 passed;")
}

fn test_executable(steps: &Steps) -> anyhow::Result<PathBuf> {
    let mut cargo = build::cargo("test");
    cargo.args(["--release", "--workspace", "--test", TEST_FILE, "--no-run"]);
    let messages = steps.capture("the tests", cargo.arg("--message-format=json"))?;
    let mut artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let found =
        artifacts.find(|artifact| artifact.target.name == TEST_FILE).and_then(|artifact| artifact.executable);
    found.context("cargo built no test executable")
}

/// What cargo says of something that it has built.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Long enough for a machine that emulates while it does something else.
const DEADLINE_SECONDS: &str = "480";

fn qemu(kernel: &kernel::Kernel) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", DEADLINE_SECONDS]);
    command.arg(places::command("qemu-system-x86_64").unwrap_or_else(|| "qemu-system-x86_64".into()));
    command.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1G", "-no-reboot"]);
    command.args(["-nodefaults", "-display", "none", "-serial", "stdio"]);
    command.arg("-kernel").arg(kernel.image());
    command.args(["-append", "console=ttyS0 quiet panic=-1"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_was_not_found_has_not_passed() {
        let console =
            |passed| format!("test result: ok. {passed} passed; 0 failed\r\n{}\r\n", initramfs::PASSED);
        assert!(has_passed(&console(4)));
        assert!(!has_passed(&console(0)));
    }

    #[test]
    fn a_kernel_that_panics_has_not_passed() {
        assert!(!has_passed("test result: ok. 1 passed; 0 failed\r\nKernel panic - not syncing\r\n"));
    }
}
