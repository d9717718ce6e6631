//! The maps. Their names are listed in `culvert_abi::names::maps`.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SockHash},
    macros::btf_map,
};
use culvert_abi::{
    Address, Agent, Config, EVENT_RING_BYTES, Ends, Event, FlowKey, Kubelet, MAX_CLIENTS, MAX_DOORS,
    MAX_ORIGINS, MAX_PEERS, MAX_PODS, MAX_PORTS, MAX_PROBES, MAX_SIDECARS, Outcome, Pod, SocketAddress,
};

use crate::flows::Flows;

/// Most nodes use a small part of the larger maps.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;

#[btf_map]
pub static CONFIG: Array<Config, 1> = Array::new();

#[btf_map]
pub static HEARTBEAT: Array<u64, 1> = Array::new();

#[btf_map]
pub static AGENT: Array<Agent, 1> = Array::new();

#[btf_map]
pub static PODS: HashMap<u64, Pod, MAX_PODS, ON_DEMAND> = HashMap::new();

#[btf_map]
pub static PEERS: HashMap<SocketAddress, u32, MAX_PEERS, ON_DEMAND> = HashMap::new();

#[btf_map]
pub static PORTS: HashMap<SocketAddress, u32, MAX_PORTS, ON_DEMAND> = HashMap::new();

#[btf_map]
pub static SIDECARS: HashMap<Address, u32, MAX_SIDECARS, ON_DEMAND> = HashMap::new();

#[btf_map]
pub static DOORS: SockHash<Address, MAX_DOORS> = SockHash::new();

#[btf_map]
pub static KUBELET: Array<Kubelet, 1> = Array::new();

#[btf_map]
pub static PROBES: LruHashMap<Ends, u32, MAX_PROBES> = LruHashMap::new();

#[btf_map]
pub static ORIGINS: LruHashMap<FlowKey, SocketAddress, MAX_ORIGINS> = LruHashMap::new();

#[btf_map]
pub static CLIENTS: HashMap<FlowKey, SocketAddress, MAX_CLIENTS, ON_DEMAND> = HashMap::new();

#[btf_map]
pub static FLOWS: Flows = Flows::new();

#[btf_map]
pub static EVENTS: RingBuf<Event, EVENT_RING_BYTES> = RingBuf::new();

#[btf_map]
pub static LOST_EVENTS: PerCpuArray<u64, 1> = PerCpuArray::new();

#[btf_map]
pub static OUTCOMES: PerCpuArray<u64, { Outcome::ALL.len() }> = PerCpuArray::new();

/// How the agent is configured.
#[inline(always)]
pub fn config() -> Config {
    CONFIG.get(0).copied().unwrap_or_default()
}

/// Adds one to a counter of this CPU.
#[inline(always)]
pub fn count<const N: usize>(counters: &PerCpuArray<u64, N>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the slot is this CPU's, and a hook is not interrupted by itself.
        unsafe { *counter += 1 };
    }
}
