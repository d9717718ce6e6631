//! What the kernel tells of plaintext connections.

use crate::SocketAddress;

/// A plaintext connection of an enrolled pod has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// A [`Direction`].
    pub direction: u64,
    /// The cookie of the pod's network namespace.
    pub netns: u64,
    /// The pod's end.
    pub local: SocketAddress,
    /// The other end.
    pub remote: SocketAddress,
    /// Nanoseconds since it was opened.
    pub age: u64,
    /// Bytes that the other end acknowledged, as TCP counts them: a SYN and a FIN are one each.
    pub sent: u64,
    /// Bytes that the pod received, counted likewise.
    pub received: u64,
}

impl Event {
    /// From the bytes of a ring's entry, if they are enough.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<Self>() {
            return None;
        }
        // SAFETY: the bytes are as many as an event has, and an event is made of integers, for which any will do.
        Some(unsafe { core::ptr::read_unaligned(bytes.as_ptr().cast()) })
    }
}

/// Who called.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The pod.
    Outbound = 1,
    /// The other end.
    Inbound = 2,
    /// The kubelet, to see how the pod does.
    Probe = 3,
}
