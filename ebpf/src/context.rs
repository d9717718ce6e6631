//! What a hook reads from and writes to its context, with the differences between the address families in one place.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_netns_cookie, programs::SockAddrContext};
use culvert_abi::{Address, SocketAddress};

/// The family of the socket that a hook runs for. An IPv6 socket may carry IPv4 in mapped addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// `AF_INET`, linux/socket.h.
pub const AF_INET: u32 = 2;

/// An address that a context has in two places, of which the family says which holds. Both are read before the
/// choice: a load whose place depends on a choice is one that the verifier refuses.
///
/// # Safety
///
/// `v4` and `v6` point to an IPv4 and an IPv6 address in a context that is valid now.
#[inline(always)]
pub unsafe fn address_of_family(family: u32, v4: *const u32, v6: *const [u32; 4]) -> Address {
    let words = v6.cast::<u32>();
    // SAFETY: by the caller's promise. Volatile reads stay one load of one field each.
    let (v4, v6) = unsafe { (v4.read_volatile(), [0, 1, 2, 3].map(|i| words.add(i).read_volatile())) };
    if family == AF_INET { Address::from_v4(v4) } else { Address(v6) }
}

/// The cookie of the network namespace that the context's socket belongs to.
#[inline(always)]
pub fn netns_cookie(ctx: &impl EbpfContext) -> u64 {
    // SAFETY: the helper takes the hook's own context.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

/// The address that a `connect()`, `getpeername()` or `getsockname()` is about.
#[inline(always)]
pub fn user_address(ctx: &SockAddrContext, family: Family) -> SocketAddress {
    // SAFETY: the context is valid for as long as the hook runs. The reads are volatile so that each stays one
    // load of one field, which is all that the verifier accepts.
    unsafe {
        let raw = ctx.sock_addr;
        let port = u16::from_be((&raw const (*raw).user_port).read_volatile() as u16);
        let address = match family {
            Family::V4 => Address::from_v4((&raw const (*raw).user_ip4).read_volatile()),
            Family::V6 => {
                let words = &raw const (*raw).user_ip6;
                Address([0, 1, 2, 3].map(|i| (words.cast::<u32>()).add(i).read_volatile()))
            }
        };
        SocketAddress::new(address, port)
    }
}

/// Replaces it. An address that does not fit the socket's family changes nothing.
#[inline(always)]
pub fn set_user_address(ctx: &SockAddrContext, family: Family, to: SocketAddress) {
    if family == Family::V4 && !to.address.is_v4() {
        return;
    }
    let [w0, w1, w2, w3] = to.address.0;
    // SAFETY: as in `user_address`; these fields are writable in each hook that calls this.
    unsafe {
        let raw = ctx.sock_addr;
        if family == Family::V4 {
            (&raw mut (*raw).user_ip4).write_volatile(w3);
        } else {
            let words = (&raw mut (*raw).user_ip6).cast::<u32>();
            words.write_volatile(w0);
            words.add(1).write_volatile(w1);
            words.add(2).write_volatile(w2);
            words.add(3).write_volatile(w3);
        }
        (&raw mut (*raw).user_port).write_volatile(u32::from(to.port.to_be()));
    }
}
