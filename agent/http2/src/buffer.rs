//! Bytes that wait.

/// A growable buffer: filled from `room()` and `commit()`, taken from the front with `consume()`. Its memory is
/// initialised once, when it grows, and not again for each use.
#[derive(Debug, Default)]
pub struct Buffer {
    /// All of it is initialised.
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// One that holds nothing and owns no memory.
    pub const fn new() -> Self {
        Self { memory: Vec::new(), start: 0, end: 0 }
    }

    /// What waits.
    pub fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// What waits, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.end]
    }

    /// How many bytes wait.
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes of memory that it owns.
    pub const fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// The free part behind what waits, grown to at least so many bytes. Its content is arbitrary.
    pub fn room(&mut self, at_least: usize) -> &mut [u8] {
        if self.memory.len() - self.end < at_least {
            self.make_room(at_least);
        }
        &mut self.memory[self.end..]
    }

    #[cold]
    fn make_room(&mut self, at_least: usize) {
        self.memory.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.len());
        let needed = self.end + at_least;
        if self.memory.len() < needed {
            self.memory.resize(needed.max(2 * self.memory.len()), 0);
        }
    }

    /// The first bytes of the room now wait too.
    ///
    /// # Panics
    /// Where the room is smaller.
    pub fn commit(&mut self, bytes: usize) {
        assert!(bytes <= self.memory.len() - self.end, "more was committed than there is room");
        self.end += bytes;
    }

    /// Takes so many bytes from the front.
    ///
    /// # Panics
    /// Where fewer wait.
    pub fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "more was consumed than waits");
        self.start += bytes;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes everything. The memory stays.
    pub const fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Appends a copy.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Gives the memory away, and forgets what waited.
    pub fn take(&mut self) -> Vec<u8> {
        self.clear();
        std::mem::take(&mut self.memory)
    }

    /// Takes memory as its room, all that is initialised of it. Kept only where nothing waits and it is more than the
    /// buffer has.
    pub fn replace(&mut self, memory: Vec<u8>) {
        if self.is_empty() && memory.len() > self.memory.len() {
            self.memory = memory;
            self.clear();
        }
    }

    /// Frees the memory where nothing waits.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut buffer = Buffer::new();
        buffer.extend(b"hello");
        buffer.consume(2);
        buffer.room(100)[..3].copy_from_slice(b"abc");
        buffer.commit(3);
        assert_eq!(buffer.filled(), b"lloabc");
        buffer.consume(6);
        assert!(buffer.is_empty());
    }

    #[test]
    fn memory_is_used_again_before_it_grows() {
        let mut buffer = Buffer::new();
        buffer.extend(&[1; 64]);
        buffer.consume(60);
        assert_eq!(buffer.room(60).len(), 60);
        assert_eq!((buffer.capacity(), buffer.filled()), (64, &[1; 4][..]));
    }

    #[test]
    fn memory_can_be_lent_and_given_back() {
        let mut buffer = Buffer::new();
        buffer.extend(&[1; 64]);
        let memory = buffer.take();
        assert_eq!((memory.len(), buffer.capacity(), buffer.len()), (64, 0, 0));
        buffer.replace(memory);
        assert_eq!((buffer.capacity(), buffer.len()), (64, 0));
        buffer.extend(b"x");
        buffer.release();
        assert_eq!(buffer.capacity(), 64);
        buffer.clear();
        buffer.release();
        assert_eq!(buffer.capacity(), 0);
    }
}
