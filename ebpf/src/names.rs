//! cgroup/getpeername and getsockname: each application sees the addresses that it would see without an agent.

use aya_ebpf::programs::SockAddrContext;
use culvert_abi::{FlowKey, FlowKind, SocketAddress};

use crate::{
    context::{Family, netns_cookie, set_user_address, user_address},
    maps::{CLIENTS, FLOWS, PODS},
};

/// The only value that these hooks may return (Linux v5.8, commit 1b66d253610c).
const PROCEED: i32 = 1;

/// getpeername, and what `accept()` returns: the address that a client asked for, or the client that the agent
/// stands for.
#[inline(always)]
pub fn peer(ctx: &SockAddrContext, family: Family) -> i32 {
    if let Some(origin) = captured(ctx) {
        set_user_address(ctx, family, origin);
    } else if let Some(client) = client_behind(ctx, family) {
        set_user_address(ctx, family, client);
    }
    PROCEED
}

/// getsockname: a captured socket has the pod's address, which is what the server is shown, also where it was bound
/// to another one before.
#[inline(always)]
pub fn own(ctx: &SockAddrContext, family: Family) -> i32 {
    if let Some(origin) = captured(ctx) {
        // SAFETY: the agent replaces entries whole.
        let pod = unsafe { PODS.get(netns_cookie(ctx)) };
        if let Some(listener) = pod.and_then(|pod| pod.listener_for(origin.address)) {
            let port = user_address(ctx, family).port;
            set_user_address(ctx, family, SocketAddress::new(listener.address, port));
        }
    }
    PROCEED
}

#[inline(always)]
fn captured(ctx: &SockAddrContext) -> Option<SocketAddress> {
    let flow = FLOWS.get(ctx)?;
    (flow.kind == FlowKind::Captured as u32).then_some(flow.origin)
}

#[inline(always)]
fn client_behind(ctx: &SockAddrContext, family: Family) -> Option<SocketAddress> {
    let key = FlowKey::new(netns_cookie(ctx), user_address(ctx, family));
    // SAFETY: the agent writes an entry before the connection exists and removes it after.
    unsafe { CLIENTS.get(key).copied() }
}
