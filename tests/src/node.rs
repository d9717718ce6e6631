//! A node: a cgroup for all that runs on it, and a network namespace that joins its pods and leads to other nodes.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, bail};

use crate::{
    Agent, AgentOptions, Ca, CaOptions, Capture, Family, cgroup, netns,
    place::Place,
    process::culvert,
    remains,
    run::{Run, making},
};

/// A node; as a [`Place`] it is the node's kubelet.
pub struct Node {
    run: Arc<Run>,
    pub(crate) link: Link,
    cgroup: PathBuf,
    kubelet: Place,
}

/// What other nodes have to know of one.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) netns: String,
    /// From one; the third part of its addresses.
    pub(crate) number: u8,
}

impl Node {
    pub(crate) fn create(run: &Arc<Run>, name: &str, number: u8) -> anyhow::Result<Self> {
        let _making = making();
        let name = run.named(name);
        let link = Link { netns: name.clone(), name, number };
        let cgroup = run.cgroup().join(&link.name);
        netns::create(&link.netns)?;
        netns::sysctl(&link.netns, FORWARDING)?;
        netns::batch(Some(&link.netns), &link.own_addresses())?;
        cgroup::create(&cgroup.join("agent"))?;
        let kubelet = Place::settle(link.netns.clone(), cgroup.join("kubelet"))?;
        Ok(Self { run: Arc::clone(run), link, cgroup, kubelet })
    }

    /// Its name, as pods carry it in `spec.nodeName`; no two runs share one.
    pub fn name(&self) -> &str {
        &self.link.name
    }

    /// The cgroup of all that runs on it, which is what its agent attaches to.
    pub fn cgroup_root(&self) -> &Path {
        &self.cgroup
    }

    /// Its address.
    pub fn ip(&self, family: Family) -> IpAddr {
        self.link.ip(family)
    }

    /// Starts an agent on it.
    pub fn agent(&self, options: &AgentOptions) -> anyhow::Result<Agent> {
        Agent::start(&self.run, self, options)
    }

    /// Somewhere else on it than its kubelet and its agent are: a cgroup of that name.
    pub fn place(&self, name: &str) -> anyhow::Result<Place> {
        Place::settle(self.link.netns.clone(), self.cgroup.join(name))
    }

    /// Starts an authority on it, which listens at [`Ca::address`].
    pub fn ca(&self, options: &CaOptions) -> anyhow::Result<Ca> {
        Ca::start(&self.run, self, options)
    }

    /// A command that runs where its agent would.
    pub fn agent_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.kubelet.command_in(&self.cgroup.join("agent"), program)
    }

    /// A command that takes a program, and runs it in a cgroup of the node, in a cgroup namespace whose root is the
    /// node's, with that mounted where cgroup v2 is expected.
    pub(crate) fn nested_command(&self, cgroup: &str) -> Command {
        let mut command = self.kubelet.command_in(&self.cgroup, "unshare");
        let enter = format!(
            "mount -t cgroup2 none /sys/fs/cgroup && echo 0 >/sys/fs/cgroup/{cgroup}/cgroup.procs && exec \"$@\""
        );
        command.args(["--cgroup", "--mount", "--propagation=private", "sh", "-c", &enter, "sh"]);
        command
    }

    /// Records what goes over the wire to another node from here on.
    pub fn capture(&self, other: &Self) -> anyhow::Result<Capture> {
        Capture::start(self, &other.link.device(), other.ip(Family::V4))
    }

    /// Takes away what agents have left in the kernel for this node.
    pub fn detach(&self) -> anyhow::Result<()> {
        let mut detach = self.agent_command(culvert());
        let output =
            detach.args(["detach", "--node", self.name()]).output().context("culvert cannot be started")?;
        if !output.status.success() {
            bail!("culvert detach: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        remains::remove_pins(self.name()).context("pins are left")
    }

    pub(crate) const fn run(&self) -> &Arc<Run> {
        &self.run
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if remains::has_pins(self.name()) {
            // Pins that stay go with the run, which tells.
            let _ = self.detach();
        }
    }
}

impl Deref for Node {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.kubelet
    }
}

const FORWARDING: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/all/forwarding", "1"),
];

impl Link {
    /// The node's own address: of no wire, so that it is there however many wires the node has.
    pub(crate) fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, 200, 0, self.number).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, 200, 0, 0, 0, 0, 0, self.number.into()).into(),
        }
    }

    /// The address of one of its pods.
    pub(crate) fn pod_ip(&self, family: Family, pod: u8) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, self.number, 0, pod).into(),
            Family::V6 => Ipv6Addr::new(0xfd00, self.number.into(), 0, 0, 0, 0, 0, pod.into()).into(),
        }
    }

    /// The device of another node that leads here.
    pub(crate) fn device(&self) -> String {
        format!("node{}", self.number)
    }

    /// Joins two nodes by a wire, each with a route to the other and its pods.
    pub(crate) fn join(&self, other: &Self) -> anyhow::Result<()> {
        let (here, there) = (other.device(), self.device());
        let mut lines = format!("link add {here} type veth peer name {there} netns {}\n", other.netns);
        self.reach(other, &mut lines);
        let mut lines_there = String::new();
        other.reach(self, &mut lines_there);
        netns::batch(Some(&self.netns), &lines)?;
        netns::batch(Some(&other.netns), &lines_there)
    }

    fn own_addresses(&self) -> String {
        format!(
            "addr add {}/32 dev lo\naddr add {}/128 dev lo nodad\n",
            self.ip(Family::V4),
            self.ip(Family::V6)
        )
    }

    /// The wire's own addresses are link-local, by the node's number.
    fn reach(&self, other: &Self, lines: &mut String) {
        let (device, own, peer) = (other.device(), self.number, other.number);
        let (v4, v6) = (self.ip(Family::V4), self.ip(Family::V6));
        let (other_v4, other_v6) = (other.ip(Family::V4), other.ip(Family::V6));
        write!(
            lines,
            "link set {device} addrgenmode none\n\
             link set {device} up\n\
             addr add fe80::{own:x}/64 dev {device} nodad\n\
             route add {other_v4} dev {device} src {v4}\n\
             route add 10.{peer}.0.0/24 via {other_v4} dev {device} src {v4} onlink\n\
             route add {other_v6} via fe80::{peer:x} dev {device} src {v6}\n\
             route add fd00:{peer:x}::/64 via fe80::{peer:x} dev {device} src {v6}\n",
        )
        .expect("writing to a string does not fail");
    }
}
