//! Where things lie in the repository and on the machine.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// What is built lies below this directory.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A binary of the release profile, which is the only one in use.
pub(crate) fn binary(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// The kernel programs, where the agent's build script looks for them.
pub(crate) fn ebpf_object() -> PathBuf {
    target().join("ebpf/culvert.o")
}

/// Helm, where the tests look for it, too.
pub(crate) fn helm() -> PathBuf {
    target().join(culvert_testbed::chart::HELM)
}

/// Envoy, likewise.
pub(crate) fn envoy() -> PathBuf {
    target().join(culvert_testbed::envoy::ENVOY)
}

/// A command's file, looked for where a shell of root would, and where cargo installs to.
pub(crate) fn command(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .chain(cargo_binaries())
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Where `cargo install` puts things, and where rustup's proxies are.
pub(crate) fn cargo_binaries() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("bin"))
}
