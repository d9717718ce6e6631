//! What the kernel's programs and the agent share: map keys and values, names, limits.
//!
//! Every type is `repr(C)`, made of integers only and without padding, so that the kernel may hash a key by its
//! bytes and the agent may read a value that the kernel wrote. Addresses are in network order, IPv4 ones in their
//! mapped form (RFC 4291, section 2.5.5.2); ports are in host order.
#![no_std]

mod address;
mod event;
pub mod names;
mod outcome;

pub use address::{Address, FlowKey, SocketAddress};
pub use event::{Direction, Event};
pub use outcome::Outcome;

/// The port on which every agent accepts HBONE inside its pods (Istio's `HBoneOverMTLS` port).
pub const HBONE_PORT: u16 = 15008;

/// How many enrolled pods one node can have. The kubelet's own default is 110.
pub const MAX_PODS: usize = 4096;
/// How many destinations the peer map holds; what does not fit is captured, and decided by the agent.
pub const MAX_PEERS: usize = 524_288;
/// How many ports of enrolled pods can have a mode of their own.
pub const MAX_PORTS: usize = 65_536;
/// How many connections can be between their SYN and the agent's accept.
pub const MAX_ORIGINS: usize = 65_536;
/// How many connections the agents can have open to applications of this node.
pub const MAX_CLIENTS: usize = 262_144;
/// How many addresses can be known to speak sidecar mTLS. One that does not fit is a peer that speaks plaintext.
pub const MAX_SIDECARS: usize = 524_288;
/// How many listeners for sidecars there can be: one for each address of an enrolled pod.
pub const MAX_DOORS: usize = 2 * MAX_PODS;
/// How many connections of the kubelet to enrolled pods can be open.
pub const MAX_PROBES: usize = 16_384;
/// Bytes of the ring that tells of plaintext connections: some 1,500 that ended since the agent last looked. The agent
/// has it in its memory twice, one behind the other.
pub const EVENT_RING_BYTES: usize = 1 << 17;

/// How many bytes an application may have the kernel keep for the agent before the agent's socket has room for them
/// (`TCP_NOTSENT_LOWAT`). Together with a short queue at the agent it took a fifth off the CPU time per byte, as they are
/// still in the cache when they are read; half and twice as much were no better.
pub const UNSENT_MARK: u32 = 64 * 1024;

/// The congestion control between an application and the agent: the one that each kernel has, and that does not pace. On
/// a node with BBR it made one stream a tenth faster.
pub const UNPACED: &[u8; 4] = b"reno";

/// How the agent is configured, as far as the kernel has to know. Written once, before the programs are attached,
/// but for `capture_unknown`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Nanoseconds without a heartbeat after which the agent counts as gone.
    pub stale_after: u64,
    /// 1: what cannot be captured passes in plaintext. 0: it is refused.
    pub fail_open: u32,
    /// 1: a destination that is not in the peer map goes to the agent, because the map did not hold them all.
    pub capture_unknown: u32,
}

/// How the kernel knows the agent's own sockets: by the cgroup they are opened from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// The cookie of the socket whose `connect()` shows the agent's cgroup. The agent writes it.
    pub introduction: u64,
    /// The id of the cgroup. The kernel writes it, once.
    pub cgroup: u64,
}

/// Who the kubelet is, whose probes reach `STRICT` ports. All zero where that is not known.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kubelet {
    /// The id of its cgroup.
    pub cgroup: u64,
    /// The cookie of the node's own network namespace.
    pub netns: u64,
}

/// A connection by both of its ends, as the network sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Who called.
    pub source: SocketAddress,
    /// Who was called.
    pub destination: SocketAddress,
}

/// An enrolled pod, by the cookie of its network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its IPv4 address and the port of its listener; all zero where there is none.
    pub v4: SocketAddress,
    /// Its IPv6 address and the port of its listener; all zero where there is none.
    pub v6: SocketAddress,
}

/// What the kernel remembers of one socket, as long as it lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// When it was established, in nanoseconds since boot; 0 where nobody will ask.
    pub since: u64,
    /// A [`FlowKind`].
    pub kind: u32,
    /// The address the application asked for, where the flow is captured.
    pub origin: SocketAddress,
}

/// Whose a socket is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKind {
    /// An application's, sent to the agent.
    Captured = 1,
    /// The agent's own, inside a pod.
    Agent = 2,
    /// An application's, which called and was left alone.
    PlaintextOutbound = 3,
    /// An application's, which was called and is left alone.
    PlaintextInbound = 4,
    /// The kubelet's, on its way to an enrolled pod of this node.
    Probe = 5,
    /// An application's, which the kubelet called.
    Probed = 6,
}

/// The verdict of the peer map.
pub mod verdict {
    /// Leave the connection alone.
    pub const PASS: u32 = 0;
    /// Send it to the agent.
    pub const CAPTURE: u32 = 1;
}

/// What a pod's port does with a plaintext connection from outside the pod.
pub mod port_mode {
    /// It reaches the application, whoever sent it: `DISABLE`.
    pub const OPEN: u32 = 0;
    /// `STRICT`: it finds no socket, unless it is a sidecar's, which goes to the agent, or the kubelet's.
    pub const STRICT: u32 = 1;
    /// `PERMISSIVE`: it reaches the application, unless it is a sidecar's, which goes to the agent.
    pub const PERMISSIVE: u32 = 2;
    /// A port of the agent's own: it finds no socket.
    pub const CLOSED: u32 = 3;
}

const _: () = {
    assert!(size_of::<SocketAddress>() == 20);
    assert!(size_of::<FlowKey>() == 32);
    assert!(size_of::<Config>() == 16);
    assert!(size_of::<Agent>() == 16);
    assert!(size_of::<Kubelet>() == 16);
    assert!(size_of::<Ends>() == 40);
    assert!(size_of::<Pod>() == 40);
    assert!(size_of::<Flow>() == 32);
    assert!(size_of::<Event>() == 80);
};

#[cfg(feature = "user")]
mod user {
    use super::{Address, Agent, Config, Ends, Event, Flow, FlowKey, Kubelet, Pod, SocketAddress};

    macro_rules! plain_data {
        ($($type:ty),+) => {
            // SAFETY: each is `repr(C)`, made of integers only and, by the size checks above, without padding.
            $(unsafe impl aya::Pod for $type {})+
        };
    }

    plain_data!(Address, Agent, Config, Ends, Event, Flow, FlowKey, Kubelet, Pod, SocketAddress);
}
