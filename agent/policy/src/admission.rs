//! What a server accepts on one container port.

use crate::{Mode, Reason};

/// Whether a connection is accepted, and why (not).
pub type Admission = Result<Reason, Reason>;

/// An authenticated stream over HBONE.
pub const fn admit_hbone(mode: Mode) -> Admission {
    match mode {
        Mode::Strict | Mode::Permissive => Ok(Reason::PeerHbone),
        Mode::Disable => Err(Reason::ModeDisable),
    }
}

/// An authenticated stream over sidecar mTLS. Under `DISABLE` nobody terminates TLS, so there is none: what looks
/// like it is plaintext to us.
pub const fn admit_sidecar(mode: Mode) -> Admission {
    match mode {
        Mode::Strict | Mode::Permissive => Ok(Reason::PeerSidecar),
        Mode::Disable => Err(Reason::ModeDisable),
    }
}

/// Anything that is not mTLS.
pub const fn admit_plaintext(mode: Mode) -> Admission {
    match mode {
        Mode::Strict => Err(Reason::ModeStrict),
        Mode::Permissive => Ok(Reason::ModePermissive),
        Mode::Disable => Ok(Reason::ModeDisable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_accepts_what_the_table_says() {
        for (mode, mtls, plaintext) in
            [(Mode::Strict, true, false), (Mode::Permissive, true, true), (Mode::Disable, false, true)]
        {
            assert_eq!(admit_hbone(mode).is_ok(), mtls, "HBONE, {mode}");
            assert_eq!(admit_sidecar(mode).is_ok(), mtls, "sidecar, {mode}");
            assert_eq!(admit_plaintext(mode).is_ok(), plaintext, "plaintext, {mode}");
        }
    }
}
