//! What strangers begin a tunnel with: records, or what is none.

use super::*;

/// Every byte is handed on once, a record as a whole, and nothing before its header can be read.
pub(crate) fn run(data: &[u8]) -> bool {
    let mut rest = data;
    while let Some(length) = next(rest) {
        assert!((HEADER..=rest.len()).contains(&length), "{length} of {} bytes", rest.len());
        assert!((0..HEADER).all(|short| next(&rest[..short]).is_none()), "{rest:?}");
        assert!((HEADER..length).all(|cut| next(&rest[..cut]) != Some(length)), "{rest:?}");
        rest = &rest[length..];
    }
    matches!(data, [CHANGE_CIPHER_SPEC..=DATA, MAJOR, ..]) && rest.is_empty()
}
