//! The buffer that all connections of a worker read into, so that an idle connection owns none.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// How much is read at once at first, and at most.
pub(super) const SMALLEST: usize = 16 * 1024;
pub(super) const LARGEST: usize = 256 * 1024;

thread_local! {
    static ARENA: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Lets `read` append to an empty buffer with room for at least `size` bytes, and takes out what it appended.
pub(super) fn fill<R>(size: usize, read: impl FnOnce(&mut BytesMut) -> R) -> (R, Bytes) {
    ARENA.with_borrow_mut(|arena| {
        if arena.capacity() < size {
            arena.reserve(LARGEST);
        }
        let result = read(arena);
        (result, take(arena))
    })
}

/// What is small is copied: a few bytes that wait for a slow reader must not keep a whole block alive.
fn take(arena: &mut BytesMut) -> Bytes {
    if arena.len() > COPIED {
        return arena.split().freeze();
    }
    let small = Bytes::copy_from_slice(arena);
    arena.clear();
    small
}

const COPIED: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_apart() {
        let sizes = [1, COPIED, COPIED + 1, SMALLEST, LARGEST, 3];
        let chunks: Vec<Bytes> = (0u8..)
            .zip(sizes)
            .map(|(byte, size)| fill(size, |buffer| buffer.extend(std::iter::repeat_n(byte, size))).1)
            .collect();
        for ((byte, size), chunk) in (0u8..).zip(sizes).zip(chunks) {
            assert_eq!(chunk, vec![byte; size]);
        }
    }
}
