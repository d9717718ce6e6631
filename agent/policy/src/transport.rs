//! The words of a decision.

use crate::words::words;

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

words!(Mode { Strict => "STRICT", Permissive => "PERMISSIVE", Disable => "DISABLE" });
words!(PeerStatus { None => "none", Sidecar => "sidecar", Hbone => "hbone", External => "external" });
words!(Transport { Plaintext => "plaintext", Hbone => "hbone", Sidecar => "sidecar", Tls => "tls" });
