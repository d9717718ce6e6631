//! sk_lookup: the server's side of the policy, at the first SYN.

use aya_ebpf::{
    bindings::sk_action::{SK_DROP, SK_PASS},
    programs::SkLookupContext,
};
use aya_log_ebpf::debug;
use culvert_abi::{Address, HBONE_PORT, SocketAddress, port_mode};

use crate::{context::address_of_family, maps::PORTS};

const IPPROTO_TCP: u32 = 6;

/// What may come of a lookup.
enum Outcome {
    /// Not TCP.
    NotTcp,
    /// The pod calls itself, or the agent dials the application.
    FromInside,
    /// For the agent's HBONE listener, which asks for a certificate.
    Hbone,
    /// The port's mode accepts plaintext.
    Open,
    /// The port is `STRICT`.
    Strict,
}

/// The hook. `SK_DROP` answers a SYN with a RST at once.
pub fn lookup(ctx: &SkLookupContext) -> u32 {
    match decide(ctx) {
        Outcome::NotTcp | Outcome::FromInside | Outcome::Hbone | Outcome::Open => SK_PASS,
        Outcome::Strict => SK_DROP,
    }
}

#[inline(always)]
fn decide(ctx: &SkLookupContext) -> Outcome {
    // SAFETY: the context is valid for as long as the hook runs.
    if unsafe { (*ctx.lookup).protocol } != IPPROTO_TCP {
        return Outcome::NotTcp;
    }
    let local = local(ctx);
    if is_from_inside(ctx, local.address) {
        return Outcome::FromInside;
    }
    if local.port == HBONE_PORT {
        return Outcome::Hbone;
    }
    // SAFETY: an entry is one word.
    let mode = unsafe { PORTS.get(local).or_else(|| PORTS.get(SocketAddress::new(local.address, 0))) };
    match mode {
        Some(&port_mode::STRICT) => {
            debug!(ctx, "refused plaintext to port {}", local.port);
            Outcome::Strict
        }
        _ => Outcome::Open,
    }
}

/// Who connects to an address of the same namespace has that address as its source. The ingress interface does not
/// tell: for such a connection the kernel names the interface that the address is configured on, not the loopback.
/// A stranger who forges the source never sees the answer, and so never has a connection.
#[inline(always)]
fn is_from_inside(ctx: &SkLookupContext, local: Address) -> bool {
    let raw = ctx.lookup;
    // SAFETY: the context is valid for as long as the hook runs.
    let remote = unsafe {
        address_of_family((*raw).family, &raw const (*raw).remote_ip4, &raw const (*raw).remote_ip6)
    };
    remote == local || remote.is_loopback()
}

#[inline(always)]
fn local(ctx: &SkLookupContext) -> SocketAddress {
    let raw = ctx.lookup;
    // SAFETY: the context is valid for as long as the hook runs.
    unsafe {
        let address =
            address_of_family((*raw).family, &raw const (*raw).local_ip4, &raw const (*raw).local_ip6);
        SocketAddress::new(address, (*raw).local_port as u16)
    }
}
