//! A cluster on one machine: nodes and pods made of network namespaces and cgroups, with real sockets in them.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use culvert_testbed::{AgentOptions, Family, Machine, PodSpec};
//!
//! let mut machine = Machine::new()?;
//! let (a, b) = (machine.node("a")?, machine.node("b")?);
//! let client = machine.pod(&a, PodSpec::new("full", "sleep").enrolled())?;
//! let server = machine.pod(&b, PodSpec::new("full", "httpbin").enrolled())?;
//! machine.publish()?;
//! let agents = [a.agent(&AgentOptions::default())?, b.agent(&AgentOptions::default())?];
//! agents.iter().try_for_each(|agent| agent.wait_ready())?;
//!
//! let listener = server.listen(server.address(Family::V6, 80))?;
//! let stream = client.connect(server.address(Family::V6, 80))?;
//! # drop((listener, stream)); Ok(()) }
//! ```
//! A [`Machine`] and all that was made for it are gone when the last value that belongs to it is dropped, when the
//! process is asked to end, and at the latest when the next machine is made.

mod agent;
pub mod apiserver;
mod ca;
mod capture;
pub mod cases;
mod cgroup;
pub mod chart;
pub mod conversation;
pub mod crowd;
mod daemon;
pub mod envoy;
pub mod helper;
mod kube_proxy;
mod log;
mod loss;
mod machine;
mod manifests;
mod mesh;
mod netns;
mod node;
mod pair;
mod panicked;
mod pattern;
mod place;
mod pod;
mod process;
mod protocol;
mod publish;
mod remains;
mod run;
mod service;
pub mod sidecar;
mod skip;
mod sockets;
mod status;
pub mod tls;
mod traffic;
mod volume;
pub mod walkthrough;

pub use agent::{Agent, AgentOptions};
pub use ca::{Ca, CaOptions};
pub use capture::Capture;
pub use cgroup::root as cgroup_root;
pub use daemon::Daemon;
pub use envoy::Envoy;
pub use log::Line;
pub use loss::Loss;
pub use machine::Machine;
pub use mesh::{Credentials, Mesh};
pub use node::Node;
pub use pair::Pair;
pub use pattern::pattern;
pub use place::Place;
pub use pod::{CgroupDriver, Expected, Pod, PodSpec};
pub use process::{culvert, wait_until};
pub use service::{Service, ServiceSpec};
pub use sidecar::Sidecar;
pub use skip::skip;
pub use sockets::SocketSpec;
pub use status::StatusAnswer;
pub use traffic::{Stream, Traffic};
pub use volume::Volume;

use std::time::Duration;

/// How long anything is waited for before that is a failure. Long enough for two busy cores; it decides nothing else.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Which of its two addresses something is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, for tests that hold for either.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}
