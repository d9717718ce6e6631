//! A pod: what it is in the cluster's eyes, and a namespace and cgroup that make it real.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;

use crate::{
    Family, Node, cgroup, netns,
    node::Link,
    place::Place,
    run::{Run, making},
};

/// What a pod is to be.
#[derive(Clone, Debug)]
pub struct PodSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) service_account: String,
    pub(crate) driver: CgroupDriver,
}

/// Who names a pod's cgroups, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupDriver {
    /// `kubepods/burstable/pod<UID>/<container>`.
    #[default]
    Cgroupfs,
    /// `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<UID>.slice/cri-containerd-<container>.scope`.
    Systemd,
    /// As [`Self::Systemd`], below the `kubelet.slice` that kind's kubelet has as its root.
    Kind,
}

impl PodSpec {
    /// A pod that is not enrolled, of the service account that bears its name.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            service_account: name.to_owned(),
            driver: CgroupDriver::default(),
        }
    }

    /// Wishes to be enrolled.
    #[must_use]
    pub fn enrolled(self) -> Self {
        self.label("culvert.io/capture", "enabled")
    }

    /// Carries a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Carries an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Runs as a service account.
    #[must_use]
    pub fn service_account(mut self, name: &str) -> Self {
        name.clone_into(&mut self.service_account);
        self
    }

    /// Has its cgroups named by a driver.
    #[must_use]
    pub const fn driver(mut self, driver: CgroupDriver) -> Self {
        self.driver = driver;
        self
    }
}

/// A pod that runs; dropped, it ends, though the manifests name it until [`Machine::delete`](crate::Machine::delete).
pub struct Pod {
    name: String,
    uid: String,
    ips: [IpAddr; 2],
    /// On its node; the last part of its addresses.
    pub(crate) number: u8,
    cgroup: PathBuf,
    link: Link,
    place: Place,
    run: Arc<Run>,
}

/// A pod that is bound to a node and has no sandbox yet.
#[derive(Clone)]
pub struct Expected {
    pub(crate) spec: PodSpec,
    pub(crate) uid: String,
    pub(crate) number: u8,
    pub(crate) ips: [IpAddr; 2],
}

impl Expected {
    pub(crate) fn new(node: &Node, spec: PodSpec, number: u8) -> anyhow::Result<Self> {
        let ips = Family::ALL.map(|family| node.link.pod_ip(family, number));
        Ok(Self { spec, uid: random_uuid()?, number, ips })
    }

    /// `namespace/name`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.spec.namespace, self.spec.name)
    }
}

impl Pod {
    /// Makes the sandbox of a pod that is expected.
    pub(crate) fn create(node: &Node, expected: &Expected) -> anyhow::Result<Self> {
        let _making = making();
        let (spec, link) = (&expected.spec, node.link.clone());
        let (pod, container) = spec.driver.cgroups(&expected.uid, &container_id()?);
        let cgroup = node.cgroup_root().join(pod);
        let place = sandbox(&link, expected.number, cgroup.join(container))?;
        let name = format!("{}/{}", spec.namespace, spec.name);
        let (uid, ips) = (expected.uid.clone(), expected.ips);
        Ok(Self { name, uid, ips, number: expected.number, cgroup, link, place, run: Arc::clone(node.run()) })
    }

    /// Ends the sandbox and all that runs in it, whatever the manifests say.
    pub fn end(&mut self) -> anyhow::Result<()> {
        cgroup::remove(&self.cgroup)?;
        // A namespace that somebody holds open keeps its devices.
        netns::batch(Some(&self.link.netns), &format!("link delete {}\n", device(self.number)))?;
        Ok(netns::remove(self.place.netns())?)
    }

    /// Ends the sandbox and makes another, at the same address.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let _making = making();
        self.end()?;
        self.place = sandbox(&self.link, self.number, self.cgroup.join(container_id()?))?;
        Ok(())
    }

    /// `namespace/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its UID.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Its address.
    pub const fn ip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.ips[0],
            Family::V6 => self.ips[1],
        }
    }

    /// Its address, with a port.
    pub const fn address(&self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(family), port)
    }

    pub(crate) const fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Where its applications run.
    pub const fn place(&self) -> &Place {
        &self.place
    }
}

impl Deref for Pod {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // What cannot be removed now goes with the run, which tells.
        let _ = cgroup::remove(&self.cgroup);
        let _ = netns::remove(self.place.netns());
    }
}

impl CgroupDriver {
    /// The pod's cgroup below that of the node, and the container's below that.
    fn cgroups(self, uid: &str, container: &str) -> (PathBuf, String) {
        match self {
            Self::Cgroupfs => {
                (Path::new("kubepods/burstable").join(format!("pod{uid}")), container.to_owned())
            }
            Self::Systemd => {
                let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
                let pod = Path::new("kubepods.slice/kubepods-burstable.slice").join(slice);
                (pod, format!("cri-containerd-{container}.scope"))
            }
            Self::Kind => {
                let slice = format!("kubelet-kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
                let above = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice";
                (Path::new(above).join(slice), format!("cri-containerd-{container}.scope"))
            }
        }
    }
}

/// A network namespace that is joined to the node, and a first process in it.
fn sandbox(node: &Link, number: u8, cgroup: PathBuf) -> anyhow::Result<Place> {
    let netns = format!("{}-{number}", node.name);
    netns::create(&netns)?;
    connect_to_node(node, &netns, number)?;
    Place::settle(netns, cgroup)
}

/// As point-to-point CNI plugins do it: the pod knows a gateway, which is every host-side device of the node.
fn connect_to_node(node: &Link, netns: &str, number: u8) -> anyhow::Result<()> {
    let device = device(number);
    let (v4, v6) = (node.pod_ip(Family::V4, number), node.pod_ip(Family::V6, number));
    let (node_v4, node_v6) = (node.ip(Family::V4), node.ip(Family::V6));
    netns::batch(
        Some(&node.netns),
        &format!(
            "link add {device} type veth peer name eth0 netns {netns}\n\
             link set {device} addrgenmode none\n\
             link set {device} up\n\
             addr add {GATEWAY_V4}/32 dev {device}\n\
             addr add {GATEWAY_V6}/64 dev {device} nodad\n\
             route add {v4} dev {device} src {node_v4}\n\
             route add {v6} dev {device} src {node_v6}\n"
        ),
    )?;
    netns::batch(
        Some(netns),
        &format!(
            "link set eth0 addrgenmode none\n\
             link set eth0 up\n\
             addr add {v4}/32 dev eth0\n\
             addr add {v6}/128 dev eth0 nodad\n\
             route add {GATEWAY_V4} dev eth0 scope link\n\
             route add default via {GATEWAY_V4} dev eth0\n\
             route add default via {GATEWAY_V6} dev eth0\n"
        ),
    )
}

/// The node's end of a pod's link.
fn device(number: u8) -> String {
    format!("pod{number}")
}

const GATEWAY_V4: &str = "169.254.1.1";
const GATEWAY_V6: &str = "fe80::1";

/// A UUID that nobody else has.
pub(crate) fn random_uuid() -> anyhow::Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("the kernel makes no UUID")?;
    Ok(uuid.trim().to_owned())
}

/// 64 hexadecimal digits, as containerd's are.
fn container_id() -> anyhow::Result<String> {
    Ok(format!("{}{}", random_uuid()?, random_uuid()?).replace('-', ""))
}
