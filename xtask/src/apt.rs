//! Debian's packages, without questions.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
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

/// Installs packages, starts none of their services; reads the package lists first when they are old, and again when that did not do.
pub(crate) fn install(steps: &Steps, packages: &[&str]) -> anyhow::Result<()> {
    say(&format!("installing from Debian: {}", packages.join(" ")));
    let _quiet = Quiet::begin()?;
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

/// While this is there, packages start no services: nginx would take the machine's port 80.
struct Quiet {
    /// Whether the answer is ours to take back, or the machine's own.
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
/// The answer "forbidden" (invoke-rc.d's exit status 101).
const NO_SERVICES: &str = "#!/bin/sh\nexit 101\n";

impl Quiet {
    fn begin() -> io::Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, NO_SERVICES)?;
        fs::set_permissions(POLICY, Permissions::from_mode(0o755))?;
        Ok(Self { ours: true })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.ours {
            // Left behind it would only be found and kept; there is nobody to tell.
            let _ = fs::remove_file(POLICY);
        }
    }
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
