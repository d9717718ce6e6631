//! sockops: files the origin of a captured connection, keeps what waits in the kernel for the agent small, and tells of
//! those connections that the kernel left alone when they end.

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE,
    },
    helpers::generated::{bpf_getsockopt, bpf_ktime_get_ns, bpf_setsockopt},
    programs::SockOpsContext,
};
use culvert_abi::{
    Direction, Ends, Event, Flow, FlowKey, FlowKind, HBONE_PORT, Pod, SocketAddress, UNPACED, UNSENT_MARK,
};

use crate::{
    context::{address_of_family, netns_cookie},
    maps::{CLIENTS, EVENTS, FLOWS, LOST_EVENTS, ORIGINS, PODS, PROBES, count},
};

const UNUSED: u32 = 1;

/// The hook. Nothing is decided here, so there is one return value.
pub fn sockops(ctx: &SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(ctx),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => opened(ctx, Direction::Outbound),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => opened(ctx, Direction::Inbound),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == BPF_TCP_CLOSE => closed(ctx),
        _ => {}
    }
    UNUSED
}

/// The SYN is about to leave: the agent accepts after it, and finds the origin filed; a pod's `sk_lookup` sees it
/// after it, and finds the probe.
#[inline(always)]
fn connecting(ctx: &SockOpsContext) {
    let Some(flow) = FLOWS.get(ctx) else { return };
    // A full map evicts the oldest entry. The agent refuses a connection whose origin it does not find, and a `STRICT`
    // port a probe that is not on file.
    if flow.kind == FlowKind::Captured as u32 {
        fit_within_pod(ctx);
        let _ = ORIGINS.insert(FlowKey::new(netns_cookie(ctx), local(ctx)), flow.origin, 0);
    } else if flow.kind == FlowKind::Probe as u32 && PROBES.insert(called(ctx), 1, 0).is_ok() {
        tell_end(ctx);
    }
}

#[inline(always)]
fn opened(ctx: &SockOpsContext, direction: Direction) {
    let netns = netns_cookie(ctx);
    // SAFETY: the agent replaces entries whole.
    let Some(pod) = (unsafe { PODS.get(netns) }) else { return };
    // SAFETY: the agent writes an entry before the connection exists and removes it after.
    if direction == Direction::Inbound && unsafe { CLIENTS.get(FlowKey::new(netns, remote(ctx))) }.is_some() {
        return fit_within_pod(ctx);
    }
    if !is_plaintext(ctx, pod, direction) {
        return;
    }
    // SAFETY: an entry is one word.
    let probed = direction == Direction::Inbound && unsafe { PROBES.get(calling(ctx)) }.is_some();
    let direction = if probed { Direction::Probe } else { direction };
    // SAFETY: the helper takes nothing.
    let since = unsafe { bpf_ktime_get_ns() };
    let kind = match direction {
        Direction::Outbound => FlowKind::PlaintextOutbound,
        Direction::Inbound => FlowKind::PlaintextInbound,
        Direction::Probe => FlowKind::Probed,
    };
    if FLOWS.set(ctx, Flow { since, kind: kind as u32, origin: SocketAddress::default() }).is_some() {
        tell_end(ctx);
    }
}

/// Fits an application's socket to the way to the agent.
#[inline(always)]
fn fit_within_pod(ctx: &SockOpsContext) {
    limit_unsent(ctx);
    let mut name = *UNPACED;
    // SAFETY: the helper takes the hook's own context, and a name of so many bytes.
    unsafe {
        let (socket, length) = (ctx.ops.cast(), name.len() as i32);
        bpf_setsockopt(socket, SOL_TCP, TCP_CONGESTION, (&raw mut name).cast(), length);
    }
}

/// Within a pod a segment is 64 KiB, and a sender gets room for twenty of them at the least, with BBR for thirty (linux
/// `tcp_sndbuf_expand`): a thousand captured uploads held 1.8 GB, so that the kernel ran out (`tcp_mem`), dropped what
/// the loopback carries, and had them wait for timers, one run for 97 s. An application that has chosen a mark keeps it.
#[inline(always)]
fn limit_unsent(ctx: &SockOpsContext) {
    let (socket, length) = (ctx.ops.cast(), size_of::<u32>() as i32);
    let (mut chosen, mut mark) = (0u32, UNSENT_MARK);
    // SAFETY: the helpers take the hook's own context, and a place for one word each.
    unsafe {
        let known = bpf_getsockopt(socket, SOL_TCP, TCP_NOTSENT_LOWAT, (&raw mut chosen).cast(), length) == 0;
        if known && chosen == 0 {
            bpf_setsockopt(socket, SOL_TCP, TCP_NOTSENT_LOWAT, (&raw mut mark).cast(), length);
        }
    }
}

/// linux/tcp.h.
const SOL_TCP: i32 = 6;
const TCP_CONGESTION: i32 = 13;
const TCP_NOTSENT_LOWAT: i32 = 25;

/// Has the kernel call when the connection ends.
#[inline(always)]
fn tell_end(ctx: &SockOpsContext) {
    let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
}

/// Whether the connection crosses the pod's border without the agent's doing.
#[inline(always)]
fn is_plaintext(ctx: &SockOpsContext, pod: &Pod, direction: Direction) -> bool {
    let (local, remote) = (local(ctx), remote(ctx));
    if remote.address.is_loopback() {
        return false;
    }
    if pod.owns(remote.address) || FLOWS.get(ctx).is_some_and(|flow| flow.kind != 0) {
        return false;
    }
    direction == Direction::Outbound || local.port != HBONE_PORT
}

#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let Some(flow) = FLOWS.get(ctx) else { return };
    if flow.kind == FlowKind::PlaintextOutbound as u32 {
        tell(ctx, Direction::Outbound, flow.since);
    } else if flow.kind == FlowKind::PlaintextInbound as u32 {
        tell(ctx, Direction::Inbound, flow.since);
    } else if flow.kind == FlowKind::Probed as u32 {
        tell(ctx, Direction::Probe, flow.since);
    } else if flow.kind == FlowKind::Probe as u32 {
        // Whoever has the port next is not the kubelet.
        let _ = PROBES.remove(called(ctx));
    }
}

#[inline(always)]
fn tell(ctx: &SockOpsContext, direction: Direction, since: u64) {
    let Some(mut slot) = EVENTS.reserve(0) else {
        return count(&LOST_EVENTS, 0);
    };
    // SAFETY: the helper takes nothing; the context is valid for as long as the hook runs.
    let (now, sent, received) =
        unsafe { (bpf_ktime_get_ns(), (*ctx.ops).bytes_acked, (*ctx.ops).bytes_received) };
    slot.write(Event {
        direction: direction as u64,
        netns: netns_cookie(ctx),
        local: local(ctx),
        remote: remote(ctx),
        age: now.saturating_sub(since),
        sent,
        received,
    });
    slot.submit(0);
}

/// The connection that the context's socket makes.
#[inline(always)]
fn called(ctx: &SockOpsContext) -> Ends {
    Ends { source: local(ctx), destination: remote(ctx) }
}

/// The connection that was made to the context's socket.
#[inline(always)]
fn calling(ctx: &SockOpsContext) -> Ends {
    Ends { source: remote(ctx), destination: local(ctx) }
}

#[inline(always)]
fn local(ctx: &SockOpsContext) -> SocketAddress {
    let ops = ctx.ops;
    // SAFETY: the context is valid for as long as the hook runs.
    let address =
        unsafe { address_of_family(ctx.family(), &raw const (*ops).local_ip4, &raw const (*ops).local_ip6) };
    SocketAddress::new(address, ctx.local_port() as u16)
}

#[inline(always)]
fn remote(ctx: &SockOpsContext) -> SocketAddress {
    let ops = ctx.ops;
    // SAFETY: the context is valid for as long as the hook runs.
    let address = unsafe {
        address_of_family(ctx.family(), &raw const (*ops).remote_ip4, &raw const (*ops).remote_ip6)
    };
    // Unlike the local port, this one is in network order, in the upper half of a word (linux/bpf.h, bpf_sock_ops).
    SocketAddress::new(address, u32::from_be(ctx.remote_port()) as u16)
}
