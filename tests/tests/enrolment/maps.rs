//! What is in the maps of a running agent.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
};

use aya::maps::{HashMap, Map, MapData, MapInfo};
use culvert_abi::{FlowKey, Pod as PodEntry, SocketAddress, names::maps};
use culvert_testbed::{Agent, Family, Pod};

/// Addresses that nobody has (RFC 2544, appendix C.2.2).
const BENCHMARKS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// The maps of one agent: others have maps of the same names.
pub(crate) struct Maps(BTreeMap<String, u32>);

type Keyed<K, V> = HashMap<MapData, K, V>;

impl Maps {
    /// Those that its process holds open (proc(5), `fdinfo`).
    pub(crate) fn of(agent: &Agent) -> Self {
        let directory = format!("/proc/{}/fdinfo", agent.process());
        let files = fs::read_dir(directory).unwrap().flatten();
        let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        let ids = texts.filter_map(|text| {
            text.lines().find_map(|line| line.strip_prefix("map_id:")?.trim().parse().ok())
        });
        Self(ids.map(|id| (MapInfo::from_id(id).unwrap().name_as_str().unwrap().to_owned(), id)).collect())
    }

    /// Network namespaces whose connections are captured, and where to.
    pub(crate) fn pods(&self) -> BTreeMap<u64, PodEntry> {
        self.open(maps::PODS).iter().map(Result::unwrap).collect()
    }

    /// What the ports of an address accept; port 0 is all others.
    pub(crate) fn ports(&self, address: IpAddr) -> BTreeMap<u16, u32> {
        self.words(maps::PORTS, address)
    }

    /// What becomes of connections to an address; port 0 is all others.
    pub(crate) fn peers(&self, address: IpAddr) -> BTreeMap<u16, u32> {
        self.words(maps::PEERS, address)
    }

    /// Connections that are about to be accepted by the agent.
    pub(crate) fn origins(&self) -> Vec<FlowKey> {
        self.open::<FlowKey, SocketAddress>(maps::ORIGINS).keys().map(Result::unwrap).collect()
    }

    /// As the kernel does when a SYN leaves.
    pub(crate) fn file_origin(&self, key: FlowKey, origin: SocketAddress) {
        self.open::<FlowKey, SocketAddress>(maps::ORIGINS).insert(key, origin, 0).unwrap();
    }

    /// Connections of the agent to applications.
    pub(crate) fn clients(&self) -> Vec<FlowKey> {
        self.open::<FlowKey, SocketAddress>(maps::CLIENTS).keys().map(Result::unwrap).collect()
    }

    /// The network namespace by which a pod is captured.
    pub(crate) fn netns_of(&self, pod: &Pod) -> Option<u64> {
        let address = pod.ip(Family::V4).into();
        self.pods().into_iter().find(|(_, entry)| entry.v4.address == address).map(|(netns, _)| netns)
    }

    /// Leaves no room for another entry in the map of `pods` or `ports`, until what it returns is called.
    pub(crate) fn fill(&self, name: &str) -> Box<dyn FnOnce() + '_> {
        match name {
            "pods" => self.fill_pods(),
            "ports" => self.fill_ports(),
            _ => panic!("no map of that name is filled"),
        }
    }

    fn fill_pods(&self) -> Box<dyn FnOnce() + '_> {
        // No namespace has such a cookie: they count from 1.
        self.fill_up(maps::PODS, (0..).map(|number| (u64::MAX - number, PodEntry::default())))
    }

    fn fill_ports(&self) -> Box<dyn FnOnce() + '_> {
        let hosts = (0u32..).map(|number| Ipv4Addr::from_bits(u32::from(BENCHMARKS) + number));
        self.fill_up(maps::PORTS, hosts.map(|host| (SocketAddress::new(IpAddr::from(host).into(), 0), 0u32)))
    }

    fn fill_up<K: aya::Pod, V: aya::Pod>(
        &self,
        name: &'static str,
        entries: impl Iterator<Item = (K, V)>,
    ) -> Box<dyn FnOnce() + '_> {
        let mut map = self.open::<K, V>(name);
        let fits = |(key, value): (K, V)| map.insert(key, value, 0).ok().map(|()| key);
        let added: Vec<K> = entries.map_while(fits).collect();
        Box::new(move || added.iter().for_each(|key| map.remove(key).unwrap()))
    }

    fn words(&self, name: &str, address: IpAddr) -> BTreeMap<u16, u32> {
        let entries = self.open::<SocketAddress, u32>(name);
        let own = entries.iter().map(Result::unwrap).filter(|(key, _)| key.address == address.into());
        own.map(|(key, word)| (key.port, word)).collect()
    }

    fn open<K: aya::Pod, V: aya::Pod>(&self, name: &str) -> Keyed<K, V> {
        let data = MapData::from_id(self.0[name]).unwrap();
        // Either kind is asked in the same way.
        HashMap::try_from(Map::HashMap(data)).unwrap()
    }
}
