//! Network namespaces, made and furnished with `ip`.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, bail};
use rustix::{
    mount::{UnmountFlags, unmount},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// Where `ip netns` keeps its names.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// The file that holds a namespace.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes a namespace with its loopback device up.
pub(crate) fn create(name: &str) -> anyhow::Result<()> {
    batch(None, &format!("netns add {name}\n"))?;
    batch(Some(name), "link set lo up\n")
}

/// Removes a namespace; the kernel undoes its devices.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    let path = path(name);
    // Somebody else, cleaning up after the same run, may have been here first.
    let _ = unmount(&path, UnmountFlags::DETACH);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Runs lines of `ip` in a namespace.
pub(crate) fn batch(netns: Option<&str>, lines: &str) -> anyhow::Result<()> {
    let mut ip = Command::new("ip");
    ip.args(netns.iter().flat_map(|name| ["-n", name])).args(["-batch", "-"]);
    feed(&mut ip, lines)
        .with_context(|| format!("ip in {} did not take\n{lines}", netns.unwrap_or("the host")))
}

/// Runs a command with `input` on its standard input.
pub(crate) fn feed(command: &mut Command, input: &str) -> anyhow::Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    child.stdin.take().expect("it is piped").write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Sets kernel parameters of a namespace; names as below `/proc/sys/net`.
pub(crate) fn sysctl(netns: &str, parameters: &[(&str, &str)]) -> anyhow::Result<()> {
    within(netns, || {
        parameters
            .iter()
            .try_for_each(|(name, value)| fs::write(Path::new("/proc/sys/net").join(name), value))
    })
    .with_context(|| format!("kernel parameters of {netns} cannot be set"))
}

/// Runs `work` on a thread of its own inside a namespace.
pub(crate) fn within(netns: &str, work: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| enter(&path(netns)).and_then(|()| work()));
        inside.join().expect("work in a namespace does not panic")
    })
}

/// Moves the calling thread for good.
pub(crate) fn enter(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
}
