//! The initial file system: busybox, the tests, what they start, their libraries, and modules of the kernel.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use super::{archive::Archive, kernel::Kernel};
use crate::places;

/// The line on the console that says that the tests have passed.
pub(crate) const PASSED: &str = "culvert-vm: status 0";

/// An archive with all that the tests of an executable need.
pub(crate) fn build(kernel: &Kernel, executable: &Path) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "run", "sys", "tmp"] {
        archive.directory(directory);
    }
    let ip = places::command("ip").context("ip is missing")?;
    let busybox = places::command("busybox").context("busybox is missing")?;
    archive.program(Path::new("bin/busybox"), &fs::read(busybox)?);
    archive.program(Path::new("bin/ip"), &fs::read(&ip)?);
    archive.program(Path::new("bin/test-executable"), &fs::read(executable)?);
    let own = ["culvert", "culvert-pod"].map(places::binary);
    for binary in &own {
        let name = binary.file_name().context("a binary has a name")?;
        archive.program(&Path::new("bin").join(name), &fs::read(binary)?);
    }
    for library in libraries(own.iter().map(PathBuf::as_path).chain([ip.as_path(), executable]))? {
        archive.program(&library, &fs::read(&library)?);
    }
    let modules = with_dependencies(kernel, MODULES)?;
    for (name, module) in &modules {
        archive.program(&Path::new("modules").join(name), module);
    }
    archive.program(Path::new("init"), init(modules.iter().map(|(name, _)| name.as_str())).as_bytes());
    Ok(archive.finish())
}

/// What Debian's kernel does not have built in: the pods' links, and the list of TCP's sockets.
const MODULES: &[&str] = &["veth", "tcp_diag"];

fn libraries<'a>(programs: impl Iterator<Item = &'a Path>) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut libraries = BTreeSet::new();
    for program in programs {
        let ldd = Command::new("ldd").arg(program).output().context("ldd cannot be started")?;
        if !ldd.status.success() {
            bail!("ldd {}: {}", program.display(), String::from_utf8_lossy(&ldd.stderr).trim());
        }
        let text = String::from_utf8_lossy(&ldd.stdout).into_owned();
        libraries.extend(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
    }
    Ok(libraries)
}

/// Modules in the order in which they have to be loaded.
fn with_dependencies(kernel: &Kernel, names: &[&str]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut ordered: Vec<(String, Vec<u8>)> = Vec::new();
    for name in names {
        let module = kernel.module(name)?;
        let depends = depends(&module);
        let depends: Vec<_> = depends.split(',').filter(|name| !name.is_empty()).collect();
        for dependency in with_dependencies(kernel, &depends)? {
            if !ordered.iter().any(|(known, _)| *known == dependency.0) {
                ordered.push(dependency);
            }
        }
        ordered.push(((*name).to_owned(), module));
    }
    Ok(ordered)
}

/// A module says in its section `.modinfo`, among other strings, what it depends on.
fn depends(module: &[u8]) -> String {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return String::new();
    };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn init<'a>(modules: impl Iterator<Item = &'a str>) -> String {
    let modules = modules.collect::<Vec<_>>().join(" ");
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin 2>/dev/null\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         mount -t tmpfs tmpfs /run\n\
         mount -t tmpfs tmpfs /tmp\n\
         mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         for module in {modules}; do insmod /modules/$module; done\n\
         /bin/ip link set lo up\n\
         export PATH=/bin CULVERT_BIN=/bin/culvert CULVERT_POD_BIN=/bin/culvert-pod\n\
         /bin/test-executable --nocapture --test-threads=1\n\
         echo \"culvert-vm: status $?\"\n\
         poweroff -f\n"
    )
}
