//! A file of root certificates.

use super::*;

/// Each that is taken is one to trust, and can be shown to people.
pub(crate) fn run(data: &[u8]) -> bool {
    let Ok(roots) = Roots::from_pem(data) else { return false };
    assert!((1..=MAX_ROOTS).contains(&roots.anchors.len()));
    assert_eq!(roots.report().len(), roots.anchors.len());
    true
}
