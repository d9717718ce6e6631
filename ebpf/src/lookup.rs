//! sk_lookup: the server's side of the policy, at the first SYN.

use aya_ebpf::{
    bindings::sk_action::{SK_DROP, SK_PASS},
    programs::SkLookupContext,
};
use aya_log_ebpf::debug;
use culvert_abi::{Ends, HBONE_PORT, SocketAddress, port_mode};

use crate::{
    context::address_of_family,
    maps::{DOORS, PORTS, PROBES, SIDECARS, config},
};

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
    /// The port is `STRICT`, and the kubelet calls.
    Probe,
    /// A sidecar's, handed to the agent's listener for them, which asks for a certificate.
    Steered,
    /// A sidecar's, and the agent has no listener there: it is gone, or has yet to come.
    NoDoor,
    /// The port is `STRICT`.
    Strict,
    /// The port is one of the agent's own.
    Closed,
}

/// The hook. `SK_DROP` answers a SYN with a RST at once.
pub fn lookup(ctx: &SkLookupContext) -> u32 {
    match decide(ctx) {
        Outcome::NotTcp
        | Outcome::FromInside
        | Outcome::Hbone
        | Outcome::Open
        | Outcome::Probe
        | Outcome::Steered => SK_PASS,
        Outcome::NoDoor if config().fail_open == 1 => SK_PASS,
        Outcome::NoDoor | Outcome::Strict | Outcome::Closed => SK_DROP,
    }
}

#[inline(always)]
fn decide(ctx: &SkLookupContext) -> Outcome {
    // SAFETY: the context is valid for as long as the hook runs.
    if unsafe { (*ctx.lookup).protocol } != IPPROTO_TCP {
        return Outcome::NotTcp;
    }
    let ends = ends(ctx);
    if is_from_inside(&ends) {
        return Outcome::FromInside;
    }
    let local = ends.destination;
    if local.port == HBONE_PORT {
        return Outcome::Hbone;
    }
    // SAFETY: an entry is one word.
    let mode = unsafe { PORTS.get(local).or_else(|| PORTS.get(SocketAddress::new(local.address, 0))) };
    match mode {
        Some(&port_mode::STRICT) => strict(ctx, &ends),
        Some(&port_mode::PERMISSIVE) if is_sidecar(&ends) => {
            if steer(ctx, &ends) {
                Outcome::Steered
            } else {
                Outcome::NoDoor
            }
        }
        Some(&port_mode::CLOSED) => Outcome::Closed,
        _ => Outcome::Open,
    }
}

#[inline(always)]
fn strict(ctx: &SkLookupContext, ends: &Ends) -> Outcome {
    if is_sidecar(ends) && steer(ctx, ends) {
        return Outcome::Steered;
    }
    // SAFETY: an entry is one word.
    if unsafe { PROBES.get(ends) }.is_some() {
        return Outcome::Probe;
    }
    debug!(ctx, "refused plaintext to port {}", ends.destination.port);
    Outcome::Strict
}

/// Who connects to an address of the same namespace has that address as its source. The ingress interface does not
/// tell: for such a connection the kernel names the interface that the address is configured on, not the loopback.
/// A stranger who forges the source never sees the answer, and so never has a connection.
#[inline(always)]
fn is_from_inside(ends: &Ends) -> bool {
    let remote = ends.source.address;
    remote == ends.destination.address || remote.is_loopback()
}

#[inline(always)]
fn is_sidecar(ends: &Ends) -> bool {
    // SAFETY: an entry is one word.
    unsafe { SIDECARS.get(ends.source.address) }.is_some()
}

#[inline(always)]
fn steer(ctx: &SkLookupContext, ends: &Ends) -> bool {
    DOORS.redirect_sk_lookup(ctx, ends.destination.address, 0).is_ok()
}

#[inline(always)]
fn ends(ctx: &SkLookupContext) -> Ends {
    let raw = ctx.lookup;
    // SAFETY: the context is valid for as long as the hook runs.
    unsafe {
        let family = (*raw).family;
        let remote = address_of_family(family, &raw const (*raw).remote_ip4, &raw const (*raw).remote_ip6);
        let local = address_of_family(family, &raw const (*raw).local_ip4, &raw const (*raw).local_ip6);
        Ends {
            // Unlike the local port, this one is in network order (linux/bpf.h, bpf_sk_lookup).
            source: SocketAddress::new(remote, u16::from_be((*raw).remote_port)),
            destination: SocketAddress::new(local, (*raw).local_port as u16),
        }
    }
}
