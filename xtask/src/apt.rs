//! Debian's packages, without questions.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use crate::{
    places,
    step::{Steps, say},
};

/// Whether packages can be installed: root, on a machine that has apt.
pub(crate) fn is_usable() -> bool {
    rustix::process::geteuid().is_root() && places::command("apt-get").is_some()
}

/// Installs packages; reads the package lists first when they are old, and again when that did not do.
pub(crate) fn install(steps: &Steps, packages: &[&str]) -> anyhow::Result<()> {
    say(&format!("installing from Debian: {}", packages.join(" ")));
    if lists_are_old() {
        update(steps)?;
        return steps.run("apt-get install", &mut install_command(packages));
    }
    steps.run("apt-get install", &mut install_command(packages)).or_else(|_| {
        update(steps)?;
        steps.run("apt-get install, again", &mut install_command(packages))
    })
}

/// Reads the package lists anew.
pub(crate) fn update(steps: &Steps) -> anyhow::Result<()> {
    steps.run("apt-get update", apt_get().arg("update"))
}

fn install_command(packages: &[&str]) -> Command {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    command
}

/// Waits for another apt rather than failing at once, and never asks.
fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--option", "DPkg::Lock::Timeout=120"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

const OLD: Duration = Duration::from_hours(24);

/// A machine made of an image has old lists, or none.
fn lists_are_old() -> bool {
    let lists = Path::new("/var/lib/apt/lists");
    let read = fs::metadata(lists).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    !holds_packages(lists) || read.elapsed().unwrap_or_default() > OLD
}

fn holds_packages(lists: &Path) -> bool {
    let names = fs::read_dir(lists).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| name.to_string_lossy().contains("_Packages"))
}
