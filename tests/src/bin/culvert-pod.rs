//! `culvert-pod pause NETNS CGROUP` and `culvert-pod enter NETNS CGROUP COMMAND…`: see [`culvert_testbed::helper`].

use std::{env, ffi::OsString, path::Path, process::ExitCode};

use culvert_testbed::helper;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let [verb, netns, cgroup, command @ ..] = arguments.as_slice() else {
        return failed("usage: culvert-pod pause|enter NETNS CGROUP [COMMAND…]");
    };
    let (netns, cgroup) = (Path::new(netns), Path::new(cgroup));
    let outcome = match verb.to_str() {
        Some("pause") => helper::pause(netns, cgroup),
        Some("enter") => Err(helper::enter(netns, cgroup, command)),
        _ => return failed("expected `pause` or `enter`"),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

#[expect(clippy::print_stderr, reason = "a program's errors go to its stderr")]
fn failed(message: &str) -> ExitCode {
    eprintln!("culvert-pod: {message}");
    ExitCode::FAILURE
}
