//! Building the kernel programs: for another target, and with a standard library compiled along, which takes a
//! compiler that has its source beside it.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::{places, step::Steps};

const TARGET: &str = "bpfel-unknown-none";

/// Builds the programs and puts the object where the agent's build script finds it.
pub(crate) fn build(steps: &Steps) -> anyhow::Result<()> {
    let compiler = Compiler::find()?;
    let mut cargo = with_flags(compiler.cargo())?;
    steps.run("kernel programs", cargo.arg("build").args(ARGUMENTS))?;
    publish(&output()).context("the object of the kernel programs cannot be copied")
}

/// Clippy for the programs, by the compiler that builds them.
pub(crate) fn clippy() -> anyhow::Result<Command> {
    let mut clippy = with_flags(Compiler::find()?.clippy())?;
    clippy.args(ARGUMENTS).args(["--", "-D", "warnings"]);
    Ok(clippy)
}

const ARGUMENTS: [&str; 5] = ["--release", "--bins", "--target", TARGET, "-Zbuild-std=core"];

fn with_flags(mut cargo: Command) -> anyhow::Result<Command> {
    cargo
        .current_dir(places::root().join("ebpf"))
        .env("RUSTFLAGS", flags()?)
        .env("CARGO_TARGET_DIR", target());
    Ok(cargo)
}

/// A compiler for the programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// Debian's packages, which hold the source of the very release they hold.
    Debian,
    /// A nightly toolchain of rustup with its component `rust-src`.
    Nightly,
}

impl Compiler {
    /// The one to use; Debian's first, because it needs nothing but the machine's own packages.
    pub(crate) fn find() -> anyhow::Result<Self> {
        [Self::Debian, Self::Nightly].into_iter().find(|compiler| compiler.is_there()).context(
            "no compiler for the kernel programs: `apt-get install rustc-web cargo-web rust-web-src` on Debian, \
             `rustup toolchain install nightly --component rust-src` elsewhere",
        )
    }

    fn is_there(self) -> bool {
        match self {
            Self::Debian => {
                Path::new("/usr/bin/cargo").exists() && has_source(Command::new("/usr/bin/rustc"))
            }
            Self::Nightly => {
                let mut rustc = Command::new("rustc");
                rustc.arg("+nightly");
                has_source(rustc)
            }
        }
    }

    /// Whether it comes with clippy.
    pub(crate) fn has_clippy(self) -> bool {
        match self {
            Self::Debian => Path::new(DEBIAN_CLIPPY).exists(),
            Self::Nightly => true,
        }
    }

    fn cargo(self) -> Command {
        match self {
            Self::Debian => debian("/usr/bin/cargo"),
            Self::Nightly => nightly(),
        }
    }

    fn clippy(self) -> Command {
        let mut clippy = match self {
            // By way of cargo, rustup's proxy would be found first, and it would take another compiler.
            Self::Debian => debian(DEBIAN_CLIPPY),
            Self::Nightly => nightly(),
        };
        clippy.arg("clippy");
        clippy
    }
}

const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// The release has to be told that unstable options are meant.
fn debian(program: &str) -> Command {
    let mut command = outside_cargo(program.as_ref());
    command.env("CARGO", "/usr/bin/cargo").env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    command
}

fn nightly() -> Command {
    let mut command = outside_cargo(&rustup_proxy("cargo"));
    command.arg("+nightly");
    command
}

/// The cargo that runs this program speaks to its children by these, and means its own compiler.
fn outside_cargo(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in
        ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "CARGO_ENCODED_RUSTFLAGS", "LD_LIBRARY_PATH"]
    {
        command.env_remove(name);
    }
    command
}

fn has_source(mut rustc: Command) -> bool {
    let Ok(output) = rustc.args(["--print", "sysroot"]).env_remove("RUSTUP_TOOLCHAIN").output() else {
        return false;
    };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists()
}

fn rustup_proxy(name: &str) -> PathBuf {
    places::cargo_binaries()
        .map(|directory| directory.join(name))
        .filter(|file| file.exists())
        .unwrap_or(name.into())
}

/// The kernel wants type information (BTF), which the linker makes out of debug information.
fn flags() -> anyhow::Result<OsString> {
    let Some(linker) = places::command("bpf-linker") else {
        bail!("bpf-linker is missing: `cargo xtask setup` installs it");
    };
    let mut flags = OsString::from("-C linker=");
    flags.push(linker);
    flags.push(" -C link-arg=--btf -C debuginfo=2");
    Ok(flags)
}

fn target() -> PathBuf {
    places::target().join("ebpf")
}

fn output() -> PathBuf {
    target().join(TARGET).join("release/culvert")
}

/// Leaves an object that did not change alone, so that the agent is not built again.
fn publish(built: &Path) -> io::Result<()> {
    let object = places::ebpf_object();
    let new = fs::read(built)?;
    if fs::read(&object).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(object, new)
}
