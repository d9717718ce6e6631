//! A datagram of the kernel's.

use super::*;

/// What is handed on lies one behind the other in what was read.
pub(crate) fn run(data: &[u8]) -> bool {
    let (mut bodies, mut attributes) = (0, 0);
    let read = take_messages(data, &mut |kind, body| {
        assert!(kind != DONE && kind != ERROR);
        bodies += HEADER + body.len();
        attributes += Attributes(body).map(|(_, value)| ATTRIBUTE + value.len()).sum::<usize>();
        Ok(())
    });
    assert!(attributes <= bodies && bodies <= data.len());
    read.is_ok()
}
