//! A certificate as a peer might show it.

use super::*;

/// The identity that is read is written in it, letter by letter.
pub(crate) fn run(data: &[u8]) -> bool {
    let Ok(id) = workload_of(&CertificateDer::from(data)) else { return false };
    let written = id.to_string();
    assert!(data.windows(written.len()).any(|window| window == written.as_bytes()), "{written}");
    true
}
