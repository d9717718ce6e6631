//! cgroup/connect4 and connect6: leave a connection alone, send it to the agent, or refuse it.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_cgroup_id, bpf_get_socket_cookie, bpf_ktime_get_ns},
    programs::SockAddrContext,
};
use aya_log_ebpf::debug;
use culvert_abi::{Address, Flow, FlowKind, Outcome, Pod, SocketAddress, verdict};

use crate::{
    context::{Family, netns_cookie, set_user_address, user_address},
    maps::{AGENT, FLOWS, HEARTBEAT, KUBELET, OUTCOMES, PEERS, PODS, PORTS, config, count},
};

const REFUSE: i32 = 0;
const PROCEED: i32 = 1;

const SOCK_STREAM: u32 = 1;
const IPPROTO_TCP: u32 = 6;
/// A Multipath TCP socket starts as a TCP connection, through this hook.
const IPPROTO_MPTCP: u32 = 262;

/// The hook. What is certain passes or goes to the agent; what is uncertain does as `fail_open` says.
#[inline(always)]
pub fn connect(ctx: &SockAddrContext, family: Family) -> i32 {
    let outcome = decide(ctx, family);
    count(&OUTCOMES, outcome as u32);
    match outcome {
        Outcome::NotTcp
        | Outcome::NotEnrolled
        | Outcome::Agent
        | Outcome::SelfCall
        | Outcome::UnknownPeer
        | Outcome::PeerPlaintext
        | Outcome::Captured => PROCEED,
        Outcome::AgentGone | Outcome::NoListener | Outcome::NoRoom => if_failing(),
    }
}

#[inline(always)]
fn decide(ctx: &SockAddrContext, family: Family) -> Outcome {
    if !is_tcp(ctx) {
        return introduce(ctx);
    }
    let netns = netns_cookie(ctx);
    // SAFETY: the agent replaces entries whole; a torn read of one is another state that it went through.
    let Some(pod) = (unsafe { PODS.get(netns) }) else {
        if is_kubelet(netns) {
            probe(ctx, user_address(ctx, family).address);
        }
        return Outcome::NotEnrolled;
    };
    let target = user_address(ctx, family);
    if is_agent() {
        return agent(ctx, pod, target);
    }
    let outcome = classify(pod, target);
    if outcome == Outcome::Captured {
        return capture(ctx, family, pod, target);
    }
    // A socket that was captured once and connects anew elsewhere must not go on naming its first destination.
    FLOWS.clear(ctx);
    outcome
}

/// The agent's own. Nobody asks whose a connection is that stays inside the pod, such as to its application.
#[inline(always)]
fn agent(ctx: &SockAddrContext, pod: &Pod, target: SocketAddress) -> Outcome {
    if pod.owns(target.address) || remember(ctx, FlowKind::Agent, SocketAddress::default()).is_some() {
        Outcome::Agent
    } else {
        Outcome::NoRoom
    }
}

/// The kubelet calls. Where it calls a pod of this node, the SYN will be known by its tuple. No room: a `STRICT` port
/// refuses it.
#[inline(always)]
fn probe(ctx: &SockAddrContext, target: Address) {
    // SAFETY: an entry is one word.
    if unsafe { PORTS.get(SocketAddress::new(target, 0)) }.is_some() {
        let _ = remember(ctx, FlowKind::Probe, SocketAddress::default());
    }
}

#[inline(always)]
fn classify(pod: &Pod, target: SocketAddress) -> Outcome {
    let address = target.address;
    if address.is_loopback() || address.is_unspecified() || pod.owns(address) {
        return Outcome::SelfCall;
    }
    // SAFETY: an entry is one word.
    let peer = unsafe { PEERS.get(target).or_else(|| PEERS.get(SocketAddress::new(address, 0))) };
    match peer {
        Some(&verdict::PASS) => Outcome::PeerPlaintext,
        Some(_) => Outcome::Captured,
        None if config().capture_unknown != 0 => Outcome::Captured,
        None => Outcome::UnknownPeer,
    }
}

#[inline(always)]
fn capture(ctx: &SockAddrContext, family: Family, pod: &Pod, target: SocketAddress) -> Outcome {
    if is_agent_gone() {
        return Outcome::AgentGone;
    }
    let Some(listener) = pod.listener_for(target.address) else {
        return Outcome::NoListener;
    };
    if remember(ctx, FlowKind::Captured, target).is_none() {
        return Outcome::NoRoom;
    }
    set_user_address(ctx, family, listener);
    debug!(ctx, "captured a connection to port {}", target.port);
    Outcome::Captured
}

#[inline(always)]
fn remember(ctx: &SockAddrContext, kind: FlowKind, origin: SocketAddress) -> Option<()> {
    FLOWS.set(ctx, Flow { since: 0, kind: kind as u32, origin })
}

#[inline(always)]
fn is_tcp(ctx: &SockAddrContext) -> bool {
    // SAFETY: the context is valid for as long as the hook runs.
    let (kind, protocol) = unsafe { ((*ctx.sock_addr).type_, (*ctx.sock_addr).protocol) };
    kind == SOCK_STREAM && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP)
}

/// The agent cannot know its own cgroup's id where cgroup namespaces hide it. So it connects a UDP socket whose
/// cookie it has announced, and the kernel notes from where.
#[inline(always)]
fn introduce(ctx: &SockAddrContext) -> Outcome {
    if let Some(agent) = AGENT.get_ptr_mut(0) {
        // SAFETY: the array has one slot; only the socket with the announced cookie comes to write it.
        unsafe {
            if (*agent).introduction != 0 && (*agent).introduction == bpf_get_socket_cookie(ctx.as_ptr()) {
                (*agent).cgroup = bpf_get_current_cgroup_id();
            }
        }
    }
    Outcome::NotTcp
}

#[inline(always)]
fn is_agent() -> bool {
    // SAFETY: the helper takes nothing.
    AGENT
        .get(0)
        .is_some_and(|agent| agent.cgroup != 0 && agent.cgroup == unsafe { bpf_get_current_cgroup_id() })
}

/// The node's own namespace alone would not tell: all of the node's programs are in it, and pods on its network.
#[inline(always)]
fn is_kubelet(netns: u64) -> bool {
    // SAFETY: the helper takes nothing.
    KUBELET.get(0).is_some_and(|kubelet| {
        kubelet.cgroup != 0
            && kubelet.netns == netns
            && kubelet.cgroup == unsafe { bpf_get_current_cgroup_id() }
    })
}

#[inline(always)]
fn is_agent_gone() -> bool {
    let last = HEARTBEAT.get(0).copied().unwrap_or(0);
    // SAFETY: the helper takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    // The beat may be newer than `now`: another CPU writes it.
    now.saturating_sub(last) > config().stale_after
}

#[inline(always)]
fn if_failing() -> i32 {
    if config().fail_open == 1 { PROCEED } else { REFUSE }
}
