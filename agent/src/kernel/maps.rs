//! The maps, typed: those that the control thread fills, and those that each worker reads on its own.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use culvert_abi::{
    Agent, Config, FlowKey, MAX_PEERS, MAX_PODS, MAX_PORTS, MAX_SIDECARS, Outcome, Pod, SocketAddress,
    names::maps::{
        self, AGENT, CLIENTS, CONFIG, HEARTBEAT, LOST_EVENTS, ORIGINS, OUTCOMES, PEERS, PODS, PORTS, SIDECARS,
    },
    port_mode,
};
use culvert_policy::Mode;
use rustix::time::{ClockId, clock_gettime};

use super::{
    events::Events,
    inbound::InboundMaps,
    mirror::{Mirror, ignore_missing, is_full, is_there},
    peers::PeerMap,
};
use crate::{
    cluster::{PeerChange, PortModes},
    sys::Taken,
    tunnel,
};

/// A map could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the kernel map {map} cannot be used")]
pub struct MapsError {
    map: &'static str,
    source: MapError,
}

impl MapsError {
    pub(super) fn of(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self { map, source }
    }

    /// Whether the map had no room: nothing else is wrong with it.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }

    pub(super) fn missing(map: &'static str) -> Self {
        let source = MapError::InvalidName { name: map.to_owned() };
        Self { map, source }
    }
}

/// The maps that the control thread owns.
pub struct ControlMaps {
    config: Array<MapData, Config>,
    in_force: Config,
    heartbeat: Array<MapData, u64>,
    agent: Array<MapData, Agent>,
    pods: HashMap<MapData, u64, Pod>,
    captured: BTreeSet<u64>,
    peers: PeerMap,
    ports: Mirror,
    ids: [u32; FILLED.len()],
    origins: MapData,
    clients: MapData,
    inbound: InboundMaps,
    events: Option<MapData>,
    outcomes: PerCpuArray<MapData, u64>,
    lost_events: PerCpuArray<MapData, u64>,
}

impl ControlMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapsError> {
        Ok(Self {
            config: typed(ebpf, CONFIG)?,
            in_force: Config::default(),
            heartbeat: typed(ebpf, HEARTBEAT)?,
            agent: typed(ebpf, AGENT)?,
            ids: ids(ebpf)?,
            pods: typed(ebpf, PODS)?,
            captured: BTreeSet::new(),
            peers: PeerMap::new(typed(ebpf, PEERS)?),
            ports: Mirror::new(typed(ebpf, PORTS)?),
            origins: data(ebpf, ORIGINS)?,
            clients: data(ebpf, CLIENTS)?,
            inbound: InboundMaps::take(ebpf)?,
            events: Some(data(ebpf, maps::EVENTS)?),
            outcomes: typed(ebpf, OUTCOMES)?,
            lost_events: typed(ebpf, LOST_EVENTS)?,
        })
    }

    /// Replaces the configuration.
    pub fn configure(&mut self, config: Config) -> Result<(), MapsError> {
        self.in_force = config;
        self.config.set(0, config, 0).map_err(MapsError::of(CONFIG))
    }

    /// A sign of life.
    pub fn beat(&mut self) -> Result<(), MapsError> {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).expect("the time since boot is positive");
        let nanoseconds = u64::try_from(now.tv_nsec).expect("a part of a second is positive");
        self.heartbeat.set(0, seconds * 1_000_000_000 + nanoseconds, 0).map_err(MapsError::of(HEARTBEAT))
    }

    /// Announces the socket whose `connect()` will show the kernel the agent's cgroup.
    pub fn introduce(&mut self, socket_cookie: u64) -> Result<(), MapsError> {
        let agent = Agent { introduction: socket_cookie, cgroup: 0 };
        self.agent.set(0, agent, 0).map_err(MapsError::of(AGENT))
    }

    /// The id of the agent's cgroup, if the kernel saw it.
    pub fn agent_cgroup(&self) -> Result<Option<u64>, MapsError> {
        let agent = self.agent.get(&0, 0).map_err(MapsError::of(AGENT))?;
        Ok((agent.cgroup != 0).then_some(agent.cgroup))
    }

    /// Captures a pod's connections from now on.
    pub fn insert_pod(&mut self, netns: u64, listeners: &[SocketAddr]) -> Result<(), MapsError> {
        let of = |v4: bool| listeners.iter().find(|listener| listener.is_ipv4() == v4).copied();
        let listener = |v4| of(v4).map_or_else(SocketAddress::default, SocketAddress::from);
        let pod = Pod { v4: listener(true), v6: listener(false) };
        self.pods.insert(netns, pod, 0).map_err(MapsError::of(PODS))?;
        self.captured.insert(netns);
        Ok(())
    }

    /// Leaves a pod's connections alone from now on.
    pub fn remove_pod(&mut self, netns: u64) -> Result<(), MapsError> {
        self.captured.remove(&netns);
        ignore_missing(self.pods.remove(&netns)).map_err(MapsError::of(PODS))
    }

    /// Replaces what one pod's ports accept; without modes, they accept what the application does. A listener of the
    /// agent's is closed to the world outside the pod.
    pub fn set_ports(
        &mut self,
        addresses: &[IpAddr],
        modes: Option<&PortModes>,
        listeners: &[SocketAddr],
    ) -> Result<(), MapsError> {
        let mut wanted = BTreeMap::new();
        if let Some(modes) = modes {
            for &address in addresses {
                wanted.insert((address, 0), mode_word(modes.default));
                wanted.extend(modes.ports.iter().map(|(&port, &mode)| ((address, port), mode_word(mode))));
            }
        }
        wanted.extend(listeners.iter().map(|listener| ((listener.ip(), listener.port()), port_mode::CLOSED)));
        self.ports.replace(addresses, wanted).map_err(MapsError::of(PORTS))
    }

    /// The maps that tell connections to the pods apart.
    pub const fn inbound(&mut self) -> &mut InboundMaps {
        &mut self.inbound
    }

    /// Forgets what connections of a pod were about to go where, as nobody will accept them any more.
    pub fn remove_origins(&mut self, netns: u64) -> Result<(), MapsError> {
        let origins = Map::LruHashMap(self.for_workers()?.origins()?);
        let mut origins: HashMap<_, FlowKey, SocketAddress> =
            origins.try_into().map_err(MapsError::of(ORIGINS))?;
        let left: Vec<FlowKey> =
            origins.keys().filter_map(Result::ok).filter(|key| key.netns == netns).collect();
        left.iter().try_for_each(|key| ignore_missing(origins.remove(key))).map_err(MapsError::of(ORIGINS))
    }

    /// Brings the peer map up to date. What does not fit is captured, and decided by the agent; true if that is so.
    pub fn update_peers(&mut self, changes: &[PeerChange]) -> Result<bool, MapsError> {
        self.peers.apply(changes).map_err(MapsError::of(PEERS))?;
        let overflowed = !self.peers.is_complete();
        if overflowed != (self.in_force.capture_unknown != 0) {
            self.configure(Config { capture_unknown: u32::from(overflowed), ..self.in_force })?;
        }
        Ok(overflowed)
    }

    /// How full the maps are that the agent fills.
    pub fn fill(&self) -> Vec<MapFill> {
        let entries = [self.captured.len(), self.peers.len(), self.ports.len(), self.inbound.sidecars()];
        let maps = FILLED.iter().zip(self.ids).zip(entries);
        maps.map(|((&(name, capacity), id), entries)| MapFill { name, id, entries, capacity }).collect()
    }

    /// What became of every `connect()` so far.
    pub fn outcomes(&self) -> Result<Vec<(Outcome, u64)>, MapsError> {
        Outcome::ALL
            .iter()
            .map(|&outcome| Ok((outcome, sum(&self.outcomes, outcome as u32, OUTCOMES)?)))
            .collect()
    }

    /// How many events found no room.
    pub fn lost_events(&self) -> Result<u64, MapsError> {
        sum(&self.lost_events, 0, LOST_EVENTS)
    }

    /// The ring of plaintext connections; the first caller gets it.
    pub fn events(&mut self) -> Option<Result<Events, MapsError>> {
        let data = self.events.take()?;
        Some(Events::new(data).map_err(MapsError::of(maps::EVENTS)))
    }

    /// What a worker opens the maps of a connection's path by.
    pub fn for_workers(&self) -> Result<WorkerMapIds, MapsError> {
        Ok(WorkerMapIds { origins: id(&self.origins, ORIGINS)?, clients: id(&self.clients, CLIENTS)? })
    }
}

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// The map.
    pub name: &'static str,
    /// The kernel's id of it.
    pub id: u32,
    /// How many entries it has.
    pub entries: usize,
    /// How many it can have.
    pub capacity: usize,
}

/// The maps that the agent fills, and the room that is in them.
const FILLED: [(&str, usize); 4] =
    [(PODS, MAX_PODS), (PEERS, MAX_PEERS), (PORTS, MAX_PORTS), (SIDECARS, MAX_SIDECARS)];

/// To be asked before the maps are taken.
fn ids(ebpf: &Ebpf) -> Result<[u32; FILLED.len()], MapsError> {
    let mut ids = [0; FILLED.len()];
    for (id_of_map, (name, _)) in ids.iter_mut().zip(FILLED) {
        let Some(Map::HashMap(map)) = ebpf.map(name) else { return Err(MapsError::missing(name)) };
        *id_of_map = id(map, name)?;
    }
    Ok(ids)
}

fn id(data: &MapData, name: &'static str) -> Result<u32, MapsError> {
    Ok(data.info().map_err(MapsError::of(name))?.id())
}

const fn mode_word(mode: Mode) -> u32 {
    match mode {
        Mode::Strict => port_mode::STRICT,
        Mode::Permissive => port_mode::PERMISSIVE,
        Mode::Disable => port_mode::OPEN,
    }
}

fn sum(counters: &PerCpuArray<MapData, u64>, index: u32, map: &'static str) -> Result<u64, MapsError> {
    Ok(counters.get(&index, 0).map_err(MapsError::of(map))?.iter().sum())
}

fn data(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, MapsError> {
    match ebpf.take_map(name) {
        Some(Map::HashMap(data) | Map::LruHashMap(data) | Map::RingBuf(data)) => Ok(data),
        _ => Err(MapsError::missing(name)),
    }
}

pub(super) fn typed<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, MapsError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or_else(|| MapsError::missing(name))?;
    map.try_into().map_err(MapsError::of(name))
}

/// The maps of a connection's path, by their ids.
#[derive(Clone, Copy, Debug)]
pub struct WorkerMapIds {
    origins: u32,
    clients: u32,
}

impl WorkerMapIds {
    fn origins(self) -> Result<MapData, MapsError> {
        MapData::from_id(self.origins).map_err(MapsError::of(ORIGINS))
    }

    /// Opens them.
    pub fn open(self) -> Result<WorkerMaps, MapsError> {
        let clients = Map::HashMap(MapData::from_id(self.clients).map_err(MapsError::of(CLIENTS))?);
        Ok(WorkerMaps {
            origins: Taken::new(self.origins()?).map_err(MapsError::of(ORIGINS))?,
            clients: RefCell::new(clients.try_into().map_err(MapsError::of(CLIENTS))?),
        })
    }
}

/// How an entry may be written (bpf(2), `BPF_MAP_UPDATE_ELEM`).
const BPF_ANY: u64 = 0;
const BPF_NOEXIST: u64 = 1;

/// The maps of a connection's path, as one worker holds them.
pub struct WorkerMaps {
    origins: Taken<FlowKey, SocketAddress>,
    /// aya asks for a unique reference where the kernel asks for none.
    clients: RefCell<HashMap<MapData, FlowKey, SocketAddress>>,
}

impl tunnel::Kernel for WorkerMaps {
    fn take_origin(&self, netns: u64, source: SocketAddr) -> Option<SocketAddr> {
        self.origins.take(&FlowKey::new(netns, source.into())).ok().map(SocketAddr::from)
    }

    fn announce_client(&self, netns: u64, agent: SocketAddr, client: SocketAddr) -> io::Result<bool> {
        let (key, client) = (FlowKey::new(netns, agent.into()), SocketAddress::from(client));
        let mut clients = self.clients.borrow_mut();
        let announced = match clients.insert(key, client, BPF_NOEXIST) {
            Err(error) if is_there(&error) => clients.insert(key, client, BPF_ANY).map(|()| true),
            inserted => inserted.map(|()| false),
        };
        announced.map_err(|error| io::Error::other(MapsError::of(CLIENTS)(error)))
    }

    fn withdraw_client(&self, netns: u64, agent: SocketAddr) {
        let _ = self.clients.borrow_mut().remove(&FlowKey::new(netns, agent.into()));
    }
}
