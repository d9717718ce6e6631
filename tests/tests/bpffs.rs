//! A node without the BPF file system: its agent, in a container, mounts it for the node or does not start.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use culvert_testbed::{Machine, culvert};

/// The node: a mount namespace without that file system, whose first process is this script. What `mount` does in the
/// container's namespace, a runtime does for a volume.
const NODE: &str = r#"
set -eu
umount --all --types bpf
mount --make-rshared /
unshare --mount --propagation unchanged sh -euc "$CONTAINER"
cd /sys/fs/bpf/culvert/"$NAME"/links && ls
"#;

/// Serves until it says that it is ready, and is killed: what it leaves must not depend on how it ends.
const CONTAINER: &str = r#"
mount --bind /sys/fs/bpf /sys/fs/bpf
mount --make-"$PROPAGATION" /sys/fs/bpf
echo $$ > "$CGROUP"/cgroup.procs
mkfifo "$FILES"/log
"$CULVERT" agent --node "$NAME" --manifests "$MANIFESTS" --cgroup-root "$CGROUP" > "$FILES"/log &
grep --max-count 1 --quiet ready "$FILES"/log
kill -s KILL $!
"#;

fn on_a_node(propagation: &str) -> Output {
    let mut machine = Machine::new().unwrap();
    let node = machine.node("a").unwrap();
    machine.publish().unwrap();
    let files = machine.directory().join("container");
    fs::create_dir(&files).unwrap();
    let mut script = Command::new("timeout");
    script.args(["30", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    script.args(["--propagation", "private", "sh", "-c", NODE]);
    script.env("CONTAINER", CONTAINER).env("PROPAGATION", propagation).env("NAME", node.name());
    script.env("CGROUP", node.cgroup_root()).env("FILES", &files).env("CULVERT", culvert());
    script.env("MANIFESTS", machine.manifests());
    script.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn what_an_agent_pins_outlives_its_container() {
    let output = on_a_node("shared");
    let told = String::from_utf8_lossy(&output.stderr);
    let pinned = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(pinned.lines().any(|name| name == "culvert_connect4"), "{pinned}{told}");
}

#[test]
fn an_agent_whose_pins_would_end_with_its_container_does_not_start() {
    let output = on_a_node("private");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(told.contains("give its volume the mount propagation Bidirectional"), "{told}");
}
