//! What somebody sends to have it signed.

use super::*;

/// A request is for one identity, or for none.
pub(crate) fn run(data: &[u8]) -> bool {
    let Ok(pem) = std::str::from_utf8(data) else { return false };
    let [own, other] = ["sleep", "httpbin"].map(|account| SpiffeId::new("cluster.local", "full", account));
    let (signed, for_other) = (key_of(pem, &own), key_of(pem, &other));
    if let (Ok(key), _) | (_, Ok(key)) = (&signed, &for_other) {
        assert_eq!(key.der_bytes().len(), POINT);
        assert!(signed.is_ok() != for_other.is_ok(), "signed for two identities");
    }
    if let Err(fault) = &signed {
        assert!(fault.to_string().len() < MAX_ERROR, "an error repeats what was sent");
    }
    signed.is_ok()
}

/// What is shown of a name, with each character escaped, and the words around it.
const MAX_ERROR: usize = 10 * MAX_SHOWN + 200;
