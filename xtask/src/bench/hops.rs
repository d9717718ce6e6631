//! The way of a service's connections where clients have to dial what carries them.

use std::net::SocketAddr;

/// From one stop to the next.
pub(super) struct Hops {
    /// Where clients dial what carries them.
    pub(super) client: SocketAddr,
    /// Where it hands them to its like in the server's pod.
    pub(super) server: SocketAddr,
    /// Where the application listens.
    pub(super) application: SocketAddr,
}
