//! Who a workload is, and how it proves it: SPIFFE ids, certificates and their rotation, rustls configurations.
//!
//! An [`Authority`] signs. [`Identities`] holds one [`Workload`] per service account and renews its certificate. A
//! workload hands out rustls configurations that always show its newest certificate and accept nobody outside the
//! mesh. What comes out of a finished handshake is a [`VerifiedPeer`]; what comes out of a failed one is a
//! [`tls_reason`].

mod authority;
mod certificate;
mod clock;
mod fault;
mod identities;
pub mod istio_ca;
mod peer;
mod renewal;
mod tls;
mod verifier;
mod workload;

#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityError, RootFault};
pub(crate) use authority::{NewRoot, Signer, only_certificate};
pub use certificate::{Certificate, IssueError, Issuer};
pub use clock::{Clock, SystemClock};
pub use fault::{tls_detail, tls_fault, tls_reason};
pub use identities::Identities;
pub use peer::{LeafFault, VerifiedPeer};
pub(crate) use tls::authority_config;
pub use tls::server_name;
pub use verifier::{PeerFault, Trust};
pub use workload::Workload;
