//! The modes of one workload's ports.

use std::collections::BTreeMap;

use crate::Mode;

/// The mode of each container port of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortModes {
    /// Of each port that is not listed.
    pub default: Mode,
    /// Of ports that differ from it.
    pub ports: BTreeMap<u16, Mode>,
}

impl PortModes {
    /// The same mode on each port.
    pub const fn all(mode: Mode) -> Self {
        Self { default: mode, ports: BTreeMap::new() }
    }

    /// The mode of one container port.
    pub fn mode(&self, port: u16) -> Mode {
        self.ports.get(&port).copied().unwrap_or(self.default)
    }
}
