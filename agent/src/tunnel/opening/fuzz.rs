//! The first bytes of a connection.

use super::*;

/// More bytes never change an answer, and after as many as are looked at there is one.
pub(crate) fn run(data: &[u8]) -> bool {
    let data = &data[..data.len().min(LARGEST)];
    let answer = classify(data);
    for length in (0..data.len()).rev().step_by(data.len() / CUTS + 1) {
        let before = classify(&data[..length]);
        assert!(before.is_none() || before == answer, "{before:?} after {length} bytes, then {answer:?}");
    }
    assert!(answer.is_some() || data.len() < LARGEST);
    answer == Some(Opening::Mesh)
}

/// Each hello is parsed anew, so not every length has its turn.
const CUTS: usize = 16;
