//! The system calls that no safe crate offers.
#![expect(unsafe_code, reason = "this module is where the agent's unsafe code lives")]

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use tokio::io::{Interest, unix::AsyncFd};

/// The cookie of the network namespace that a socket belongs to (`SO_NETNS_COOKIE`, Linux 5.14): unique on this
/// machine until it restarts, and what `bpf_get_netns_cookie` returns.
pub(crate) fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).expect("eight fits");
    // SAFETY: `cookie` and `length` live across the call, and `length` is the size of what `cookie` points to.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the choice of a port to `connect` when this socket is bound to an address only
/// (`IP_BIND_ADDRESS_NO_PORT`, Linux 4.2; for IPv6 sockets as well).
pub(crate) fn bind_address_no_port(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).expect("four fits");
    // SAFETY: `on` lives across the call, and `length` is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tells when there is something to read from a file that another value reads.
pub(crate) fn readiness(of: impl AsFd) -> io::Result<AsyncFd<OwnedFd>> {
    let duplicate = of.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is valid, the result owns it, and it is neither replaced nor closed before.
    Ok(unsafe { AsyncFd::register_with_interest(duplicate, Interest::READABLE) }?)
}

/// Takes a program off its hook by the link that is pinned at `path` (`BPF_LINK_DETACH`, Linux 5.9). When this returns
/// the program runs no more; a link that is only let go of is detached by the kernel a while later.
pub(crate) fn detach_pinned_link(path: &Path) -> io::Result<()> {
    let link = pinned(path)?;
    // The file descriptor is all that the command takes (linux/bpf.h, `union bpf_attr`, `link_detach`).
    // SAFETY: the command reads one word, and the descriptor is open across the call.
    unsafe { bpf(BPF_LINK_DETACH, &link.as_raw_fd()) }.map(drop)
}

/// The object that is pinned at `path` (`BPF_OBJ_GET`).
fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // linux/bpf.h, `union bpf_attr`: the address of the path in 64 bits, a descriptor and flags that are not used.
    let attributes = [path.as_ptr().addr() as u64, 0];
    // SAFETY: the path is terminated, and lives across the call.
    let object = unsafe { bpf(BPF_OBJ_GET, &attributes) }?;
    // SAFETY: the kernel has just made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(object) })
}

/// linux/bpf.h, `enum bpf_cmd`.
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_DETACH: libc::c_long = 34;

/// # Safety
///
/// `attributes` has to be as the command expects the beginning of `union bpf_attr`, with pointers that hold.
unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the kernel reads no more than it is told, and takes what is missing for zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(RawFd::try_from(result).expect("a descriptor is small"))
    }
}
