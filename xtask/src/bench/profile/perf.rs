//! perf around another program: it watches an agent for as long as that runs.

use std::{path::Path, process::Command};

use super::calls;

/// Samples a process, with its stacks.
pub(super) fn record(process: u32, file: &Path, inner: &Command) -> Command {
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "--freq", HERTZ]);
    // Our own code has no frame pointers, but says how to unwind it without.
    perf.args(["--call-graph", "dwarf,16384"]);
    perf.args(["--pid", &process.to_string(), "--output"]).arg(file);
    around(perf, inner)
}

/// Not in step with what happens every millisecond.
const HERTZ: &str = "497";

/// Counts a process' system calls.
pub(super) fn count(process: u32, file: &Path, inner: &Command) -> Command {
    let mut perf = Command::new("perf");
    perf.args(["stat", "--field-separator", calls::SEPARATOR, "--event", &calls::events().join(",")]);
    perf.args(["--pid", &process.to_string(), "--output"]).arg(file);
    around(perf, inner)
}

/// The stacks of a recording, as text.
pub(super) fn script(recording: &Path) -> Command {
    let mut perf = Command::new("perf");
    perf.args(["script", "--no-inline", "--input"]).arg(recording);
    perf
}

fn around(mut perf: Command, inner: &Command) -> Command {
    perf.arg("--").arg(inner.get_program()).args(inner.get_args());
    perf
}
