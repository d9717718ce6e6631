//! What Culvert decides, as pure functions: which transport a client uses towards an endpoint, what a
//! server accepts on a port, and why. Nothing here knows a socket, a clock or an API server.

mod reason;
mod spiffe;
mod transport;

pub use reason::Reason;
pub use spiffe::{SpiffeId, SpiffeIdError};
pub use transport::{Mode, PeerStatus, Transport};
