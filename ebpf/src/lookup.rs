//! sk_lookup: the server's side of the policy, at the first SYN.

use aya_ebpf::{
    bindings::sk_action::{SK_DROP, SK_PASS},
    programs::SkLookupContext,
};
use aya_log_ebpf::debug;
use culvert_abi::{HBONE_PORT, SocketAddress, port_mode};

use crate::{context::address_of_family, maps::PORTS};

const IPPROTO_TCP: u32 = 6;
/// A namespace's loopback interface is its first (`LOOPBACK_IFINDEX`, linux/net.h).
const LOOPBACK_IFINDEX: u32 = 1;

/// What may come of a lookup.
enum Outcome {
    /// Not TCP, or from within the pod: the agent's own dial among them.
    NotPlaintextFromOutside,
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
        Outcome::NotPlaintextFromOutside | Outcome::Hbone | Outcome::Open => SK_PASS,
        Outcome::Strict => SK_DROP,
    }
}

#[inline(always)]
fn decide(ctx: &SkLookupContext) -> Outcome {
    // SAFETY: the context is valid for as long as the hook runs.
    let (protocol, interface) = unsafe { ((*ctx.lookup).protocol, (*ctx.lookup).ingress_ifindex) };
    if protocol != IPPROTO_TCP || interface == LOOPBACK_IFINDEX {
        return Outcome::NotPlaintextFromOutside;
    }
    let local = local(ctx);
    if local.port == HBONE_PORT {
        return Outcome::Hbone;
    }
    // SAFETY: an entry is one word.
    let mode = unsafe { PORTS.get(local).or_else(|| PORTS.get(SocketAddress::new(local.address, 0))) };
    match mode {
        Some(&port_mode::STRICT) => {
            debug!(ctx, "refused plaintext to port {} from interface {}", local.port, interface);
            Outcome::Strict
        }
        _ => Outcome::Open,
    }
}

#[inline(always)]
fn local(ctx: &SkLookupContext) -> SocketAddress {
    let raw = ctx.lookup;
    // SAFETY: the context is valid for as long as the hook runs.
    unsafe {
        let address = address_of_family((*raw).family, &raw const (*raw).local_ip4, &raw const (*raw).local_ip6);
        SocketAddress::new(address, (*raw).local_port as u16)
    }
}
