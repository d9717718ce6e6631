//! What the kernel remembers of a socket, as a map. aya's own type has no room for flags.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type, bpf_sock},
    helpers::generated::bpf_sk_storage_get,
    programs::{SockAddrContext, SockOpsContext},
};
use culvert_abi::Flow;

/// Socket → [`Flow`]. What a listener accepts inherits the listener's, and so the agent's own sockets are known.
#[repr(C)]
pub struct Flows {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const Flow,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; FLAGS],
}

const FLAGS: usize = (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize;

// SAFETY: the fields are there for their types, which the loader reads; nobody follows them.
unsafe impl Sync for Flows {}

/// A hook's context that has a socket.
pub trait HasSocket {
    /// The socket, or null.
    fn socket(&self) -> *mut bpf_sock;
}

impl HasSocket for SockAddrContext {
    #[inline(always)]
    fn socket(&self) -> *mut bpf_sock {
        // SAFETY: the context is valid for as long as the hook runs.
        unsafe { (*self.sock_addr).__bindgen_anon_1.sk }
    }
}

impl HasSocket for SockOpsContext {
    /// Null, or a full socket, by the kernel's own check of this field.
    #[inline(always)]
    fn socket(&self) -> *mut bpf_sock {
        // SAFETY: the context is valid for as long as the hook runs.
        unsafe { (*self.ops).__bindgen_anon_2.sk }
    }
}

impl Flows {
    pub const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// What is remembered of the context's socket.
    #[inline(always)]
    pub fn get(&self, ctx: &impl HasSocket) -> Option<&Flow> {
        let flow = self.storage(ctx, ptr::null_mut(), 0);
        // SAFETY: null, or storage that lives as long as the socket.
        unsafe { flow.as_ref() }
    }

    /// Remembers `flow` of that socket from now on. None: the kernel had no room.
    #[inline(always)]
    pub fn set(&self, ctx: &impl HasSocket, mut flow: Flow) -> Option<()> {
        let stored = self.storage(ctx, &raw mut flow, BPF_SK_STORAGE_GET_F_CREATE.into());
        if stored.is_null() {
            return None;
        }
        // SAFETY: the storage is the context's own socket's, which one hook at a time holds locked.
        unsafe { *stored = flow };
        Some(())
    }

    /// Forgets what was remembered.
    #[inline(always)]
    pub fn clear(&self, ctx: &impl HasSocket) {
        let stored = self.storage(ctx, ptr::null_mut(), 0);
        if !stored.is_null() {
            // SAFETY: as in `set`.
            unsafe { *stored = Flow::default() };
        }
    }

    #[inline(always)]
    fn storage(&self, ctx: &impl HasSocket, value: *mut Flow, flags: u64) -> *mut Flow {
        let sk = ctx.socket();
        if sk.is_null() {
            return ptr::null_mut();
        }
        let map = ptr::from_ref(self).cast_mut();
        // SAFETY: the socket is a full one, and the helper copies out of `value` before it returns.
        unsafe { bpf_sk_storage_get(map.cast(), sk.cast(), value.cast(), flags).cast() }
    }
}
