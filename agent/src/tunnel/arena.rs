//! The buffer that all connections of a worker read into, so that an idle connection owns none.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use culvert_http2::Buffer;

/// How much is read at once at first, and at most.
pub(super) const SMALLEST: usize = 16 * 1024;
pub(super) const LARGEST: usize = 256 * 1024;

/// What a tunnel reads, or sends, at once: enough for system calls to weigh little, and little enough to stay in a core's
/// cache. Sealed it has to fit two packets, which the kernel fills with as many segments as 64 KiB take with their headers
/// (linux `tcp_xmit_size_goal`): 65,160 bytes where they are of 1,448, 62,636 where they are of 8,948. What is left over
/// takes a packet of its own, and a small one costs both nodes what a full one does.
pub(super) const AT_ONCE: usize = 120 * 1024;
/// A block holds that, sealed, and the beginning of a record besides.
const BLOCK: usize = AT_ONCE + 24 * 1024;
/// Blocks that are kept for the next one: a flow has one to read and two to send.
const KEPT: usize = 3;

thread_local! {
    static BLOCKS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
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

/// Lends a block. What stands in it is of no meaning.
pub(super) fn lend() -> Vec<u8> {
    BLOCKS.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BLOCK])
}

/// Takes a block back; what is none is freed.
pub(super) fn give_back(block: Vec<u8>) {
    BLOCKS.with_borrow_mut(|blocks| {
        if block.len() == BLOCK && blocks.len() < KEPT {
            blocks.push(block);
        }
    });
}

/// Gives a buffer a block to grow in, unless it has one.
pub(super) fn equip(buffer: &mut Buffer) {
    if buffer.capacity() < BLOCK {
        let held = buffer.filled().to_vec();
        drop(buffer.take());
        buffer.replace(lend());
        buffer.extend(&held);
    }
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
