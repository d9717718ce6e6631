//! The maps by which the kernel tells connections to a pod apart: a sidecar's, the kubelet's, the agent's own.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, TcpListener},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, SkStorage, SockHash},
};
use culvert_abi::{
    Address, Flow, FlowKind, Kubelet,
    names::maps::{DOORS, FLOWS, KUBELET, SIDECARS},
};

use super::{
    maps::{MapsError, typed},
    mirror::{ignore_missing, is_full},
};
use crate::cluster::SidecarChange;

/// The maps.
pub struct InboundMaps {
    sidecars: HashMap<MapData, Address, u32>,
    /// How many are in the map.
    known: usize,
    /// Sidecars that found no room.
    missing: BTreeSet<IpAddr>,
    doors: SockHash<MapData, Address>,
    kubelet: Array<MapData, Kubelet>,
    flows: SkStorage<MapData, Flow>,
    /// The same map, for who asks the kernel for sockets.
    flows_file: OwnedFd,
}

impl InboundMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapsError> {
        let flows_file = duplicate(ebpf, FLOWS)?;
        Ok(Self {
            sidecars: typed(ebpf, SIDECARS)?,
            known: 0,
            missing: BTreeSet::new(),
            doors: typed(ebpf, DOORS)?,
            kubelet: typed(ebpf, KUBELET)?,
            flows: typed(ebpf, FLOWS)?,
            flows_file,
        })
    }

    /// Who speaks sidecar mTLS; true if not all of them have found room.
    pub fn update_sidecars(&mut self, changes: &[SidecarChange]) -> Result<bool, MapsError> {
        for change in changes.iter().filter(|change| !change.is_sidecar) {
            if !self.missing.remove(&change.address) {
                let removed = ignore_missing(self.sidecars.remove(&change.address.into()));
                removed.map_err(MapsError::of(SIDECARS))?;
                self.known = self.known.saturating_sub(1);
            }
        }
        self.missing.extend(changes.iter().filter(|change| change.is_sidecar).map(|change| change.address));
        while let Some(&address) = self.missing.first() {
            match self.sidecars.insert(Address::from(address), 1, 0) {
                Err(error) if is_full(&error) => return Ok(true),
                other => other.map_err(MapsError::of(SIDECARS))?,
            }
            self.missing.remove(&address);
            self.known += 1;
        }
        Ok(false)
    }

    /// How many addresses of sidecars are in the map.
    pub(super) const fn sidecars(&self) -> usize {
        self.known
    }

    /// From now on what sidecars send to an address of a pod goes to this listener in the pod.
    pub fn open_door(&mut self, address: IpAddr, listener: &TcpListener) -> Result<(), MapsError> {
        self.doors.insert(Address::from(address), listener.as_raw_fd(), 0).map_err(MapsError::of(DOORS))
    }

    /// Takes that back. The kernel does so by itself where the listener is closed.
    pub fn close_door(&mut self, address: IpAddr) -> Result<(), MapsError> {
        ignore_missing(self.doors.remove(&address.into())).map_err(MapsError::of(DOORS))
    }

    /// Makes a listener, and all that it accepts, known as the agent's own.
    pub fn own(&mut self, listener: &TcpListener) -> Result<(), MapsError> {
        let flow = Flow { kind: FlowKind::Agent as u32, ..Flow::default() };
        self.flows.insert(listener, flow, 0).map_err(MapsError::of(FLOWS))
    }

    /// The map of what the kernel remembers of sockets.
    pub fn flows(&self) -> io::Result<OwnedFd> {
        self.flows_file.try_clone()
    }

    /// Who the kubelet is.
    pub fn set_kubelet(&mut self, kubelet: Kubelet) -> Result<(), MapsError> {
        self.kubelet.set(0, kubelet, 0).map_err(MapsError::of(KUBELET))
    }
}

fn duplicate(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, MapsError> {
    let Some(Map::SkStorage(map)) = ebpf.map(name) else { return Err(MapsError::missing(name)) };
    let file = map.fd().as_fd().try_clone_to_owned();
    file.map_err(|error| MapsError::of(name)(MapError::IoError(error)))
}
