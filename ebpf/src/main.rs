//! Culvert's kernel programs: one module a hook. `ARCHITECTURE.md` tells how they work together.
#![no_std]
#![no_main]

mod connect;
mod context;
mod flows;
mod lookup;
mod maps;
mod names;
mod sockops;

use aya_ebpf::{
    macros::{cgroup_sock_addr, sk_lookup, sock_ops},
    programs::{SkLookupContext, SockAddrContext, SockOpsContext},
};

use crate::context::Family;

#[cgroup_sock_addr(connect4)]
fn culvert_connect4(ctx: SockAddrContext) -> i32 {
    connect::connect(&ctx, Family::V4)
}

#[cgroup_sock_addr(connect6)]
fn culvert_connect6(ctx: SockAddrContext) -> i32 {
    connect::connect(&ctx, Family::V6)
}

#[cgroup_sock_addr(getpeername4)]
fn culvert_peername4(ctx: SockAddrContext) -> i32 {
    names::peer(&ctx, Family::V4)
}

#[cgroup_sock_addr(getpeername6)]
fn culvert_peername6(ctx: SockAddrContext) -> i32 {
    names::peer(&ctx, Family::V6)
}

#[cgroup_sock_addr(getsockname4)]
fn culvert_sockname4(ctx: SockAddrContext) -> i32 {
    names::own(&ctx, Family::V4)
}

#[cgroup_sock_addr(getsockname6)]
fn culvert_sockname6(ctx: SockAddrContext) -> i32 {
    names::own(&ctx, Family::V6)
}

#[sock_ops]
fn culvert_sockops(ctx: SockOpsContext) -> u32 {
    sockops::sockops(&ctx)
}

#[sk_lookup]
fn culvert_lookup(ctx: SkLookupContext) -> u32 {
    lookup::lookup(&ctx)
}

/// The kernel lends its clock (`bpf_ktime_get_ns`) to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
