//! The maps. Their names are listed in `culvert_abi::names::maps`.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    macros::btf_map,
};
use culvert_abi::{
    Agent, Config, EVENT_RING_BYTES, Event, Flow, FlowKey, MAX_CLIENTS, MAX_ORIGINS, MAX_PEERS, MAX_PODS,
    MAX_PORTS, Outcome, Pod, SocketAddress,
};

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
pub static ORIGINS: LruHashMap<FlowKey, SocketAddress, MAX_ORIGINS> = LruHashMap::new();

#[btf_map]
pub static CLIENTS: HashMap<FlowKey, SocketAddress, MAX_CLIENTS, ON_DEMAND> = HashMap::new();

#[btf_map]
pub static FLOWS: SkStorage<Flow> = SkStorage::new();

#[btf_map]
pub static EVENTS: RingBuf<Event, EVENT_RING_BYTES> = RingBuf::new();

#[btf_map]
pub static LOST_EVENTS: PerCpuArray<u64, 1> = PerCpuArray::new();

#[btf_map]
pub static OUTCOMES: PerCpuArray<u64, { Outcome::ALL.len() }> = PerCpuArray::new();

/// Adds one to a counter of this CPU.
#[inline(always)]
pub fn count<const N: usize>(counters: &PerCpuArray<u64, N>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: the slot is this CPU's, and a hook is not interrupted by itself.
        unsafe { *counter += 1 };
    }
}
