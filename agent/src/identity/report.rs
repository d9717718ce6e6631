//! What there is to say of identities, for `culvert status`.

use std::time::SystemTime;

use culvert_policy::SpiffeId;

/// One identity that a pod of this node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityReport {
    /// Who it is.
    pub id: SpiffeId,
    /// Until when its certificate holds; none if it has none yet.
    pub not_after: Option<SystemTime>,
    /// When the next certificate is asked for; now while a request is on its way, or has yet to begin.
    pub next_renewal: SystemTime,
    /// Since when a certificate that is due cannot be had.
    pub failing_since: Option<SystemTime>,
    /// Why it cannot be had.
    pub error: Option<String>,
    /// Whether its certificate may be shown now.
    pub held: bool,
}
