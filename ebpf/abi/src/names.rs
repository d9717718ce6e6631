//! The names of programs and maps in the object: the only place where they stand as text for the agent.

/// Programs by what they are attached to.
pub mod programs {
    /// cgroup/connect4.
    pub const CONNECT4: &str = "culvert_connect4";
    /// cgroup/connect6.
    pub const CONNECT6: &str = "culvert_connect6";
    /// cgroup/getpeername4.
    pub const GETPEERNAME4: &str = "culvert_peername4";
    /// cgroup/getpeername6.
    pub const GETPEERNAME6: &str = "culvert_peername6";
    /// cgroup/getsockname4.
    pub const GETSOCKNAME4: &str = "culvert_sockname4";
    /// cgroup/getsockname6.
    pub const GETSOCKNAME6: &str = "culvert_sockname6";
    /// sockops, on the same cgroup.
    pub const SOCKOPS: &str = "culvert_sockops";
    /// sk_lookup, on each enrolled pod's network namespace.
    pub const SK_LOOKUP: &str = "culvert_lookup";

    /// All of them.
    pub const ALL: &[&str] =
        &[CONNECT4, CONNECT6, GETPEERNAME4, GETPEERNAME6, GETSOCKNAME4, GETSOCKNAME6, SOCKOPS, SK_LOOKUP];
}

/// Maps by what they hold.
pub mod maps {
    /// One [`Config`](crate::Config).
    pub const CONFIG: &str = "CONFIG";
    /// One `u64`: the time of the agent's last sign of life, in nanoseconds since boot (`CLOCK_MONOTONIC`).
    pub const HEARTBEAT: &str = "HEARTBEAT";
    /// One [`Agent`](crate::Agent).
    pub const AGENT: &str = "AGENT";
    /// Namespace cookie → [`Pod`](crate::Pod).
    pub const PODS: &str = "PODS";
    /// [`SocketAddress`](crate::SocketAddress) → a [`verdict`](crate::verdict).
    pub const PEERS: &str = "PEERS";
    /// [`SocketAddress`](crate::SocketAddress) of an enrolled pod → a [`port_mode`](crate::port_mode).
    pub const PORTS: &str = "PORTS";
    /// [`Address`](crate::Address) of a peer that speaks sidecar mTLS → 1.
    pub const SIDECARS: &str = "SIDECARS";
    /// [`Address`](crate::Address) of an enrolled pod → the agent's listener there for sidecars.
    pub const DOORS: &str = "DOORS";
    /// One [`Kubelet`](crate::Kubelet).
    pub const KUBELET: &str = "KUBELET";
    /// [`Ends`](crate::Ends) of a connection of the kubelet to an enrolled pod of this node → 1.
    pub const PROBES: &str = "PROBES";
    /// [`FlowKey`](crate::FlowKey) of a captured socket → the address it asked for.
    pub const ORIGINS: &str = "ORIGINS";
    /// [`FlowKey`](crate::FlowKey) of the agent's socket towards an application → the client it stands for.
    pub const CLIENTS: &str = "CLIENTS";
    /// Socket → [`Flow`](crate::Flow).
    pub const FLOWS: &str = "FLOWS";
    /// A ring of [`Event`](crate::Event).
    pub const EVENTS: &str = "EVENTS";
    /// Events that found no room in the ring.
    pub const LOST_EVENTS: &str = "LOST_EVENTS";
    /// [`Outcome`](crate::Outcome) → how often.
    pub const OUTCOMES: &str = "OUTCOMES";

    /// All of them.
    pub const ALL: &[&str] = &[
        CONFIG,
        HEARTBEAT,
        AGENT,
        PODS,
        PEERS,
        PORTS,
        SIDECARS,
        DOORS,
        KUBELET,
        PROBES,
        ORIGINS,
        CLIENTS,
        FLOWS,
        EVENTS,
        LOST_EVENTS,
        OUTCOMES,
    ];
}
