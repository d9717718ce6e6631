//! What Culvert decides, as pure functions: which transport a client uses towards an endpoint, what a
//! server accepts on a port, and why. Nothing here knows a socket, a clock or an API server.

mod admission;
mod choice;
mod destination_rule;
mod destination_rules;
mod host;
mod labels;
mod meta;
mod origination;
mod peer;
mod peer_authentication;
mod peer_authentications;
mod port_modes;
mod reason;
mod ruling;
mod spiffe;
#[cfg(test)]
mod testing;
mod transport;
mod words;

pub use admission::{Admission, admit_hbone, admit_plaintext, admit_sidecar};
pub use choice::{Choice, Question, choose};
pub use destination_rule::{ClientTls, DestinationRule, ExportTo, Subset, TrafficPolicy, UnknownTlsMode};
pub use destination_rules::{Demand, DestinationRules, HostRules};
pub use host::{HostPattern, HostPatternError};
pub use labels::{Label, Labels, selects};
pub use meta::Meta;
pub use origination::{ClientFiles, Origination, ServerProof, TlsSettings};
pub use peer::{CAPTURED, MEANINGFUL, announced_status, capture_wish, is_captured, workload_entry_status};
pub use peer_authentication::{
    ModeSetting, PeerAuthentication, PeerAuthenticationError, PeerAuthenticationSpec, UnknownMode,
};
pub use peer_authentications::PeerAuthentications;
pub use port_modes::PortModes;
pub use reason::Reason;
pub use ruling::{Ruling, Scope};
pub use spiffe::{SpiffeId, SpiffeIdError};
pub use transport::{Mode, PeerStatus, Transport};
pub use words::UnknownWord;
