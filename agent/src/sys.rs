//! The system calls that no safe crate offers.
#![expect(unsafe_code, reason = "this module is where the agent's unsafe code lives")]

use std::{
    ffi::CString,
    fs, io,
    marker::PhantomData,
    mem::MaybeUninit,
    ops::Range,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    ptr,
    time::Duration,
};

use aya::{
    Pod,
    maps::{MapData, MapError},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::memory::unwritten;

/// The cookie of the network namespace that a socket belongs to (`SO_NETNS_COOKIE`, Linux 5.14): unique on this
/// machine until it restarts, and what `bpf_get_netns_cookie` returns.
pub(crate) fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: the option is a number of eight bytes.
    unsafe { option(socket, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE) }
}

/// The shortest time that a TCP connection's bytes took there and their acknowledgement back (`TCP_INFO`), within the
/// last minutes (`net.ipv4.tcp_min_rtt_wlen`).
pub(crate) fn min_rtt(connection: impl AsFd) -> io::Result<Duration> {
    // SAFETY: the option is a structure of numbers. Kernels fill as much of it as they know.
    let info: libc::tcp_info = unsafe { option(connection, libc::SOL_TCP, libc::TCP_INFO) }?;
    Ok(Duration::from_micros(info.tcpi_min_rtt.into()))
}

/// A socket's option.
///
/// # Safety
/// Whatever bytes the option has, and zeroes behind them, must be a `T`.
unsafe fn option<T>(socket: impl AsFd, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: `value` and `length` live across the call, and `length` is the size of what `value` is.
    let result =
        unsafe { libc::getsockopt(descriptor, level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if result == 0 {
        // SAFETY: by the caller's promise.
        Ok(unsafe { value.assume_init() })
    } else {
        Err(io::Error::last_os_error())
    }
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

/// Opens a link that is pinned in a BPF file system (`BPF_OBJ_GET`).
pub(crate) fn open_pinned_link(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the command takes the address of a terminated path, which lives across the call.
    let descriptor = unsafe { bpf(BPF_OBJ_GET, &(path.as_ptr().addr() as u64)) }?;
    // SAFETY: the kernel has just made it for this call, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Detaches a link, whoever else holds it (`BPF_LINK_DETACH`, Linux 5.9). When this returns, its program runs no more.
pub(crate) fn detach_link(link: impl AsFd) -> io::Result<()> {
    // SAFETY: the command takes a descriptor, which is open across the call.
    unsafe { bpf(BPF_LINK_DETACH, &link.as_fd().as_raw_fd()) }.map(drop)
}

/// A hash map of the kernel's, of which entries are taken out by one system call.
pub(crate) struct Taken<K, V> {
    map: MapData,
    types: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> Taken<K, V> {
    /// A map whose keys and values are of these types.
    pub(crate) fn new(map: MapData) -> Result<Self, MapError> {
        let info = map.info()?;
        let (key_size, value_size) = (info.key_size() as usize, info.value_size() as usize);
        if key_size != size_of::<K>() {
            return Err(MapError::InvalidKeySize { size: size_of::<K>(), expected: key_size });
        }
        if value_size != size_of::<V>() {
            return Err(MapError::InvalidValueSize { size: size_of::<V>(), expected: value_size });
        }
        Ok(Self { map, types: PhantomData })
    }

    /// Looks an entry up and deletes it (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`, for hash maps since Linux 5.14).
    pub(crate) fn take(&self, key: &K) -> io::Result<V> {
        let mut value = MaybeUninit::<V>::uninit();
        let element = Element {
            map: u64::try_from(self.map.fd().as_fd().as_raw_fd()).map_err(io::Error::other)?,
            key: ptr::from_ref(key).addr() as u64,
            value: value.as_mut_ptr().addr() as u64,
            flags: 0,
        };
        // SAFETY: key and value live across the call, and are as long as the map's, by `new`.
        unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &element) }?;
        // SAFETY: the kernel has written all of it, and plain data may have any bytes.
        Ok(unsafe { value.assume_init() })
    }
}

/// What `union bpf_attr` begins with for commands on an element. The map's number has 32 bits, and 32 of padding follow,
/// which makes 64 on the little-endian machines that the programs are built for.
#[repr(C)]
struct Element {
    map: u64,
    key: u64,
    value: u64,
    flags: u64,
}

/// Gives what the heap has free back to the kernel: glibc keeps it otherwise.
pub(crate) fn trim_heap() {
    // SAFETY: it takes no reference, and leaves what is allocated alone.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the pages of the program and its libraries (`MADV_DONTNEED`). Those that are needed again come back from
/// the page cache as they are.
pub(crate) fn let_go_of_code() -> io::Result<()> {
    for Range { start, end } in unwritten(&fs::read_to_string("/proc/self/smaps")?) {
        let address = ptr::without_provenance_mut(start);
        // SAFETY: no page of the mapping differs from its file, and none can: it may not be written.
        if unsafe { libc::madvise(address, end - start, libc::MADV_DONTNEED) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Numbers of `enum bpf_cmd` (include/uapi/linux/bpf.h).
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const BPF_LINK_DETACH: libc::c_int = 34;

/// Only the first member of `union bpf_attr` is given; the kernel takes the others for zero.
///
/// # Safety
///
/// `first` has to be what the command expects there, and an address in it has to hold across the call.
unsafe fn bpf<T>(command: libc::c_int, first: &T) -> io::Result<RawFd> {
    // SAFETY: `first` lives across the call, and the kernel reads no more of it than its size.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *first, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        RawFd::try_from(result).map_err(io::Error::other)
    }
}

/// Tells when a file that another value holds is ready, such as to be read.
pub(crate) fn readiness(of: impl AsFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    let duplicate = of.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is valid, the result owns it, and it is neither replaced nor closed before.
    Ok(unsafe { AsyncFd::register_with_interest(duplicate, interest) }?)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_knows_its_way_from_the_handshake_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let way = min_rtt(&client).unwrap();
        assert!(!way.is_zero() && way < Duration::from_mins(1), "{way:?}");
    }
}
