//! A socket as the kernel describes it.

use super::*;

/// By what is read of it the kernel can be asked to close it, and no other.
pub(crate) fn run(data: &[u8]) -> bool {
    let Ok(Some(socket)) = socket(data) else { return false };
    assert_eq!((socket.family, &socket.id[..]), (data[0], &data[4..4 + ID]));
    assert!(!matches!(socket.local.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()));
    assert_eq!(socket.is_request(), socket.state == State::Request);
    true
}
