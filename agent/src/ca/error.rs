//! Why the authority does not serve.

use std::{io, net::SocketAddr};

use super::{OptionsFault, StoreError};

/// The authority cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The settings contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsFault),
    /// The roots cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address is not to be had.
    #[error("cannot listen on {address}: give another address or port")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}
