//! The dynamic table (RFC 7541, section 2.3.2).

use std::collections::VecDeque;

use super::FIELD_OVERHEAD;

/// What the peer had us remember, newest first.
#[derive(Debug)]
pub(super) struct Dynamic {
    entries: VecDeque<Entry>,
    /// As section 4.1 counts.
    size: usize,
    max: usize,
}

#[derive(Debug)]
struct Entry {
    /// Name, then value.
    bytes: Box<[u8]>,
    name: usize,
}

impl Dynamic {
    pub(super) const fn new(max: usize) -> Self {
        Self { entries: VecDeque::new(), size: 0, max }
    }

    /// The entry at a place, counted from 0.
    pub(super) fn get(&self, place: usize) -> Option<(&[u8], &[u8])> {
        self.entries.get(place).map(|entry| entry.bytes.split_at(entry.name))
    }

    /// An entry larger than the whole table empties it (section 4.4).
    pub(super) fn insert(&mut self, field: &[u8], name: usize) {
        let size = field.len() + FIELD_OVERHEAD;
        self.evict(self.max.saturating_sub(size));
        if size <= self.max {
            self.size += size;
            self.entries.push_front(Entry { bytes: field.into(), name });
        }
    }

    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(max);
    }

    fn evict(&mut self, down_to: usize) {
        while self.size > down_to
            && let Some(entry) = self.entries.pop_back()
        {
            self.size -= entry.bytes.len() + FIELD_OVERHEAD;
        }
    }

    #[cfg(test)]
    pub(super) const fn size(&self) -> usize {
        self.size
    }
}
