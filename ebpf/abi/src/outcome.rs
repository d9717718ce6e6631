//! What became of a `connect()`, and how often: the index into the counters.

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])+ $variant:ident => $word:literal,)+) => {
        /// What the kernel made of one `connect()`.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Outcome {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Outcome {
            /// Every outcome, in the order of the counters.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word for it in logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

outcomes! {
    /// Passed: not a TCP socket.
    NotTcp => "not_tcp",
    /// Passed: the caller's namespace is no enrolled pod's.
    NotEnrolled => "not_enrolled",
    /// Passed: the caller is the agent.
    Agent => "agent",
    /// Passed: the pod calls itself.
    SelfCall => "self_call",
    /// Passed: the peer map does not know the destination.
    UnknownPeer => "unknown_peer",
    /// Passed: the peer map says so.
    PeerPlaintext => "peer_plaintext",
    /// Sent to the agent.
    Captured => "captured",
    /// As `fail_open` says: the agent's heartbeat is stale.
    AgentGone => "agent_gone",
    /// As `fail_open` says: the pod has no listener for this address family.
    NoListener => "no_listener",
    /// As `fail_open` says: the kernel had no room to remember the origin.
    NoRoom => "no_room",
}
