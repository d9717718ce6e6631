//! Who a workload is, and how it proves it: SPIFFE ids, certificates and their rotation, rustls configurations.
//!
//! An [`Issuer`] has certificates signed: the [`Authority`] inside this process, or one elsewhere by a [`CaClient`].
//! [`Identities`] holds one [`Workload`] per service account, gets its certificates and renews them. A workload hands out
//! rustls configurations that always show its newest certificate and accept nobody whom [`Trust`] does not cover. What
//! comes out of a finished handshake is a [`VerifiedPeer`]; what comes out of a failed one is a [`tls_reason`].

mod authority;
mod breaker;
mod ca_client;
mod certificate;
mod clock;
mod complaints;
mod failing;
mod fault;
mod identities;
mod issuer;
pub mod istio_ca;
mod key;
mod origination;
mod pause;
mod peer;
mod renewal;
mod report;
mod requests;
mod roots;
mod roots_file;
mod rotation;
mod tls;
mod trust;
mod verifier;
mod workload;

#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityError, RootFault};
pub(crate) use authority::{NewRoot, Signer, only_certificate};
pub use ca_client::{AnswerFault, CaAddress, CaAddressError, CaClient, CaError};
pub use certificate::Certificate;
pub(crate) use certificate::certified_key;
pub use clock::{Clock, SystemClock};
pub(crate) use failing::with_sources;
pub use fault::{tls_detail, tls_fault, tls_reason};
pub use identities::Identities;
pub use issuer::{IssueError, IssueFault, Issuer};
pub(crate) use key::Key;
pub use origination::{OriginationFault, Originator};
pub use pause::{Spread, system_spread};
pub use peer::{LeafFault, VerifiedPeer};
pub use report::IdentityReport;
pub use roots::{RootReport, Roots};
pub use tls::server_name;
pub(crate) use tls::{ALPN_SIDECAR, authority_config};
pub use trust::Trust;
pub use verifier::PeerFault;
pub use workload::Workload;
