//! Binaries, and waiting for processes.

use std::{
    env, io,
    path::PathBuf,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

/// The agent's binary.
pub fn culvert() -> PathBuf {
    binary("CULVERT_BIN", "culvert")
}

/// The binary that lives in pods.
pub(crate) fn culvert_pod() -> PathBuf {
    binary("CULVERT_POD_BIN", "culvert-pod")
}

/// Test executables lie in `deps`, beside which cargo puts the binaries.
fn binary(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return path.into();
    }
    let executable = env::current_exe().expect("the kernel knows this executable");
    let beside = executable
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    beside.unwrap_or_else(|| name.into())
}

/// Waits until a process has ended; none if it has not by then.
pub fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let process = pidfd_open(id(child), PidfdFlags::empty())?;
    if let Some(left) = timeout(deadline) {
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left))?;
    }
    child.try_wait()
}

/// Sends a signal to a process that has not been waited for yet.
pub(crate) fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    Ok(kill_process(id(child), signal)?)
}

fn id(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// The time left, as the kernel takes it; none if there is none.
pub(crate) fn timeout(deadline: Instant) -> Option<Timespec> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left == Duration::ZERO { None } else { left.try_into().ok() }
}
