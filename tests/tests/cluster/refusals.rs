//! What an agent cannot do, it says in one line: what is wrong, and what to do about it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use culvert::kernel::{Failure, OBJECT, Options, Programs};
use culvert_testbed::{AgentOptions, Family, Machine, Node, PodSpec, cgroup_root, culvert};
use serde_json::Value;

use crate::common::{Cluster, Echo, eventually, one_line};

/// A node, and a place for the files of a test.
struct Bare {
    node: Node,
    machine: Machine,
}

impl Bare {
    fn new() -> Self {
        let mut machine = Machine::new().expect("this machine can be made into a cluster");
        let node = machine.node("a").expect("a node can be made");
        Self { node, machine }
    }

    /// The flags of an agent, each in the place of a default.
    fn flags(&self, own: &[(&str, &str)]) -> Vec<String> {
        let manifests = self.machine.manifests().display().to_string();
        let cgroup = self.node.cgroup_root().display().to_string();
        let defaults = [("node", self.node.name()), ("manifests", &manifests), ("cgroup-root", &cgroup)];
        let kept = defaults.iter().filter(|(name, _)| !own.iter().any(|(other, _)| other == name));
        let flags = kept.chain(own).filter(|(_, value)| !value.is_empty());
        flags.map(|(name, value)| format!("--{name}={value}")).collect()
    }

    /// The one line that an agent ends with.
    fn agent_fails(&self, own: &[(&str, &str)]) -> String {
        let mut agent = self.node.agent_command(culvert());
        one_line(agent.arg("agent").args(self.flags(own)))
    }

    /// The one line that an agent ends with if a shell first does something in a mount namespace of its own.
    fn agent_fails_after(&self, preparation: &str, own: &[(&str, &str)]) -> String {
        let mut agent = self.node.agent_command("unshare");
        agent.args(["-m", "sh", "-c", &format!("{preparation} && exec \"$0\" agent \"$@\"")]);
        one_line(agent.arg(culvert()).args(self.flags(own)))
    }
}

fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
}

#[test]
fn without_root() {
    let bare = Bare::new();
    let mut agent = bare.node.agent_command("setpriv");
    agent.args(["--reuid=65534", "--clear-groups"]).arg(copy_for_all(&bare.machine.directory()));
    let line = one_line(agent.arg("agent").args(bare.flags(&[])));
    assert_says(&line, &["must run as root", "use sudo, or a privileged container"]);
}

/// The agent where everybody may run it.
fn copy_for_all(directory: &Path) -> PathBuf {
    let copy = directory.join("culvert");
    fs::copy(culvert(), &copy).expect("the agent is built");
    for path in [directory, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    copy
}

#[test]
fn without_cgroup_v2() {
    let bare = Bare::new();
    for path in ["/proc", "/tmp", "/nowhere"] {
        let line = bare.agent_fails(&[("cgroup-root", path)]);
        assert_says(&line, &[&format!("--cgroup-root {path} is not a directory of a cgroup v2 hierarchy")]);
    }
    let unmount = format!("umount -l {}", cgroup_root().unwrap().display());
    let line = bare.agent_fails_after(&unmount, &[("cgroup-root", "")]);
    assert_says(&line, &["no cgroup v2", "mount -t cgroup2"]);
}

#[test]
fn without_a_bpffs_that_the_node_shares() {
    let line = Bare::new().agent_fails_after("umount -l /sys/fs/bpf", &[]);
    assert_says(&line, &["would be seen by this container alone", "mount -t bpf bpf /sys/fs/bpf"]);
}

#[test]
fn on_a_kernel_that_is_too_old() {
    let bare = Bare::new();
    let mut agent = bare.node.agent_command("setarch");
    agent.args([std::env::consts::ARCH, "--uname-2.6"]).arg(culvert());
    let line = one_line(agent.arg("agent").args(bare.flags(&[])));
    assert_says(&line, &["the kernel is 2.6.", "culvert needs 6.1 or newer"]);
}

#[test]
fn with_an_object_that_the_verifier_refuses() {
    let broken = with_unknown_instruction(OBJECT, "cgroup/connect4");
    let options = Options { failure: Failure::Closed, log: None };
    let Err(error) = Programs::load_object(&broken, &options) else { panic!("the kernel took it") };
    let line = format!("{:#}", anyhow::Error::from(error));
    assert_says(&line, &["culvert_connect4", "unknown opcode ff", "Invalid argument", "report it"]);
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn with_an_object_that_is_none() {
    let options = Options { failure: Failure::Closed, log: None };
    let Err(error) = Programs::load_object(b"not an ELF file", &options) else {
        panic!("the kernel took it")
    };
    let line = format!("{:#}", anyhow::Error::from(error));
    assert_says(&line, &["the eBPF object was refused"]);
    assert_eq!(line.lines().count(), 1, "{line}");
}

/// An ELF file in one of whose sections the first instruction is one that BPF does not have.
fn with_unknown_instruction(object: &[u8], section: &str) -> Vec<u8> {
    let mut broken = object.to_vec();
    broken[find_section(object, section)] = 0xff;
    broken
}

/// Where a section begins in a 64-bit little-endian ELF file, by its section header table (elf(5)).
fn find_section(object: &[u8], name: &str) -> usize {
    let number = |at: usize, width: usize| {
        object[at..at + width].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
    };
    let (table, entry, count, names) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2), number(0x3e, 2));
    let header = |index| table + index * entry;
    let place = |index| number(header(index) + 0x18, 8);
    let is_named = |&index: &usize| {
        let text = &object[place(names) + number(header(index), 4)..];
        text.split(|&byte| byte == 0).next() == Some(name.as_bytes())
    };
    place((0..count).find(is_named).expect("the object has the section"))
}

#[test]
fn with_the_hbone_port_taken_inside_a_pod() {
    let mut machine = Machine::new().unwrap();
    let node = machine.node("a").unwrap();
    let taken = machine.pod(&node, PodSpec::new("full", "taken").enrolled()).unwrap();
    let _other = machine.pod(&node, PodSpec::new("full", "other").enrolled()).unwrap();
    machine.publish().unwrap();
    let listener = taken.listen(taken.address(Family::V6, 15008)).unwrap();
    let agent = node.agent(&AgentOptions::default()).unwrap();
    agent.wait_ready().unwrap();
    let line = agent.wait_for(|line| line["level"] == "WARN" && line["pod"] == "full/taken").unwrap();
    let address = taken.ip(Family::V6).to_string();
    assert_says(line["because"].as_str().unwrap(), &["port 15008 is taken inside the pod", &address]);
    assert_eq!(enrolled(&agent.lines()), ["full/other"]);
    drop(listener);
    agent.wait_for(|line| line["message"] == "enrolled" && line["pod"] == "full/taken").unwrap();
    assert_eq!(warnings(&agent.lines()).len(), 1, "each reason is told once");
}

fn enrolled(lines: &[culvert_testbed::Line]) -> Vec<&str> {
    let enrolled = lines.iter().filter(|line| line.json["message"] == "enrolled");
    enrolled.filter_map(|line| line.json["pod"].as_str()).collect()
}

fn warnings(lines: &[culvert_testbed::Line]) -> Vec<&Value> {
    lines.iter().map(|line| &line.json).filter(|line| line["level"] == "WARN").collect()
}

#[test]
fn with_a_pod_that_went_away() {
    let mut machine = Machine::new().unwrap();
    let node = machine.node("a").unwrap();
    let gone = machine.pod(&node, PodSpec::new("full", "gone").enrolled()).unwrap();
    let _other = machine.pod(&node, PodSpec::new("full", "other").enrolled()).unwrap();
    machine.publish().unwrap();
    drop(gone);
    let agent = node.agent(&AgentOptions::default()).unwrap();
    agent.wait_ready().unwrap();
    let lines = agent.lines();
    let told: Vec<_> = lines.iter().filter(|line| line.json["pod"] == "full/gone").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0].json["level"], &told[0].json["message"]),
        (&"INFO".into(), &"not enrolled yet".into())
    );
    assert_says(told[0].json["because"].as_str().unwrap(), &["no cgroup below", "carries the pod's UID yet"]);
    assert_eq!(enrolled(&lines), ["full/other"]);
}

#[test]
fn with_a_pod_on_the_nodes_network() {
    let bare = Bare::new();
    let pod = format!(
        "apiVersion: v1\nkind: Pod\n\
         metadata: {{ namespace: full, name: host, uid: 1-2-3, labels: {{ culvert.io/capture: enabled }} }}\n\
         spec: {{ nodeName: {}, hostNetwork: true, containers: [{{ name: main, image: none }}] }}\n\
         status: {{ phase: Running, podIP: 10.200.0.1, podIPs: [{{ ip: 10.200.0.1 }}] }}\n",
        bare.node.name()
    );
    bare.machine.apply("host", &pod).unwrap();
    let agent = bare.node.agent(&AgentOptions::default()).unwrap();
    agent.wait_ready().unwrap();
    let warned = |line: &Value| line["level"] == "WARN" && line["pod"] == "full/host";
    let line = agent.wait_for(warned).unwrap();
    assert_says(line["because"].as_str().unwrap(), &["hostNetwork: true"]);

    // Whatever else changes, it is told once.
    bare.machine.apply("other", &pod.replace("name: host", "name: other")).unwrap();
    agent.wait_for(|line| line["level"] == "WARN" && line["pod"] == "full/other").unwrap();
    assert_eq!(agent.lines().iter().filter(|line| warned(&line.json)).count(), 1);
}

#[test]
fn with_a_ca_directory_of_no_use() {
    let bare = Bare::new();
    let directory = bare.machine.directory();
    let file = directory.join("file");
    fs::write(&file, "").unwrap();
    let path = |path: &Path| path.display().to_string();
    let line = bare.agent_fails(&[("ca-dir", &path(&file))]);
    assert_says(&line, &[&path(&file), "cannot create", "name another"]);

    let ca = directory.join("authority");
    fs::create_dir_all(ca.join("ca.key")).unwrap();
    let line = bare.agent_fails(&[("ca-dir", &path(&ca))]);
    assert_says(&line, &[&path(&ca.join("ca.key"))]);

    fs::remove_dir(ca.join("ca.key")).unwrap();
    fs::write(ca.join("ca.key"), "nonsense").unwrap();
    let line = bare.agent_fails(&[("ca-dir", &path(&ca))]);
    assert_says(&line, &["is open to others", "chmod go-rwx"]);

    fs::set_permissions(ca.join("ca.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let line = bare.agent_fails(&[("ca-dir", &path(&ca))]);
    assert_says(&line, &["expected one private key in PEM", "put it right"]);
}

#[test]
fn with_a_manifest_directory_that_is_not_there() {
    let line = Bare::new().agent_fails(&[("manifests", "/nowhere/manifests")]);
    assert_says(&line, &["cannot read the manifest directory /nowhere/manifests", "has to exist"]);
}

#[test]
fn with_malformed_flags_all_mistakes_are_told() {
    let bare = Bare::new();
    let mut agent = bare.node.agent_command(culvert());
    agent.args(["agent", "--failure=maybe", "--workers=0", "--drain=soon", "--no-such=1", "stray"]);
    let Output { status, stdout, stderr } = agent.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.len()), (Some(64), 0), "{stderr}");
    for part in ["--failure", "--workers", "--drain", "--no-such", "\"stray\"", "--ca-address", "--help"] {
        assert_eq!(stderr.lines().filter(|line| line.contains(part)).count(), 1, "{part} in {stderr}");
    }
    assert!(stderr.lines().all(|line| line.starts_with("culvert: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 7, "{stderr}");
}

#[test]
fn nothing_stays_of_an_agent_that_could_not_start() {
    let cluster = Cluster::start();
    let _echo = Echo::start(&cluster.server, &[80]);
    let mut failing = cluster.b.agent(&AgentOptions::default().flag("ca-dir", "/proc/nowhere")).unwrap();
    assert_eq!(failing.wait().unwrap().code(), Some(1));
    for family in Family::ALL {
        eventually("service as ever", || cluster.call(&cluster.client, family, 80).ok());
    }
}
