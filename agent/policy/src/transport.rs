//! The words of a decision.

use std::fmt;

/// A `PeerAuthentication` mode, resolved for one workload and container port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Only mTLS is accepted.
    Strict,
    /// mTLS and plaintext are accepted.
    #[default]
    Permissive,
    /// TLS is not terminated: bytes reach the application as they are.
    Disable,
}

/// What a peer can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerStatus {
    /// Plaintext only.
    None,
    /// Istio sidecar mTLS, on the application's own port.
    Sidecar,
    /// HTTP/2 CONNECT over mTLS, on port 15008.
    Hbone,
    /// Outside the mesh.
    External,
}

/// How one connection is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// As the application wrote it.
    Plaintext,
    /// HBONE, to the peer's port 15008.
    Hbone,
    /// Istio sidecar mTLS, to the peer's application port.
    Sidecar,
    /// TLS by a `DestinationRule`, with nothing of the mesh's.
    Tls,
}

macro_rules! words {
    ($type:ty { $($variant:path => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word for it in logs, metrics and the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $($variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Mode { Self::Strict => "STRICT", Self::Permissive => "PERMISSIVE", Self::Disable => "DISABLE" });
words!(PeerStatus {
    Self::None => "none",
    Self::Sidecar => "sidecar",
    Self::Hbone => "hbone",
    Self::External => "external",
});
words!(Transport {
    Self::Plaintext => "plaintext",
    Self::Hbone => "hbone",
    Self::Sidecar => "sidecar",
    Self::Tls => "tls",
});
