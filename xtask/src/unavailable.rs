//! What a machine lacks and no command here installs.

/// Something has to be installed by hand.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be done on this machine: {}", .missing.join("; "))]
pub(crate) struct Unavailable {
    /// What was asked for.
    pub(crate) what: &'static str,
    /// What is missing for it, each with what to do about it.
    pub(crate) missing: Vec<String>,
}

impl Unavailable {
    /// The exit status: `EX_UNAVAILABLE`, sysexits.h.
    pub(crate) const STATUS: u8 = 69;

    /// An error if anything is missing.
    pub(crate) fn unless_empty(what: &'static str, missing: Vec<String>) -> Result<(), Self> {
        if missing.is_empty() { Ok(()) } else { Err(Self { what, missing }) }
    }
}
