//! The kernel's peer map, looked at from outside the agent.

use std::{
    fs,
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd},
};

use anyhow::Context;
use aya::maps::{HashMap, Map, MapData, MapError};
use culvert_abi::{SocketAddress, verdict};
use serde::Deserialize;
use serde_json::Value;

/// The map of one agent, for as long as it is held.
pub(super) struct PeerMap {
    map: HashMap<MapData, SocketAddress, u32>,
    fill: Fill,
    memory: f64,
}

/// What the agent says of it.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Fill {
    id: u32,
    pub(super) entries: u32,
}

impl PeerMap {
    /// Opens the map that an entry of `maps` in the agent's status is about.
    pub(super) fn open(status: &Value) -> anyhow::Result<Self> {
        let fill = Fill::deserialize(status).context("a map in culvert's status")?;
        let data = MapData::from_id(fill.id)?;
        let memory = memory(&data)?;
        Ok(Self { map: Map::HashMap(data).try_into()?, fill, memory })
    }

    pub(super) const fn entries(&self) -> u32 {
        self.fill.entries
    }

    /// The kernel's memory that it took when it was opened, in bytes.
    pub(super) const fn memory(&self) -> f64 {
        self.memory
    }

    /// Whether connections to a pod, at any port, are captured.
    pub(super) fn captures(&self, pod: Ipv4Addr) -> anyhow::Result<bool> {
        match self.map.get(&SocketAddress::new(pod.into(), 0), 0) {
            Ok(word) => Ok(word == verdict::CAPTURE),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(error).context("the peer map cannot be read"),
        }
    }
}

/// As bpf(2) has it in `/proc/PID/fdinfo`.
fn memory(map: &MapData) -> anyhow::Result<f64> {
    let file = map.fd().as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{file}"))?;
    let bytes = info.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
    bytes.context("/proc/PID/fdinfo of a map has no memlock")
}
