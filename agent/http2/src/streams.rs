//! The streams of a connection.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hasher, RandomState},
};

use crate::{
    StreamId,
    stream::{Half, Stream},
};

/// Those that are not over, and those that are over and with which the owner still keeps something.
#[derive(Debug)]
pub(crate) struct Streams<T> {
    map: HashMap<u32, Stream<T>, Spread>,
    /// How many are not over.
    open: usize,
    /// Those that we reset lately, oldest first: frames for them may be on their way.
    lately: VecDeque<StreamId>,
}

impl<T> Streams<T> {
    pub(crate) fn new() -> Self {
        Self { map: HashMap::with_hasher(Spread::new()), open: 0, lately: VecDeque::new() }
    }

    pub(crate) fn insert(&mut self, id: StreamId, stream: Stream<T>) {
        self.open += 1;
        self.map.insert(id.0, stream);
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream<T>> {
        self.map.get(&id.0)
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream<T>> {
        self.map.get_mut(&id.0)
    }

    /// One that is not over.
    pub(crate) fn get_open(&mut self, id: StreamId) -> Option<&mut Stream<T>> {
        self.get_mut(id).filter(|stream| !stream.is_closed())
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = StreamId> {
        self.map.keys().copied().map(StreamId)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<T>> {
        self.map.values_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) const fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn close_local(&mut self, id: StreamId) {
        self.close(id, |stream| stream.local = Half::Closed);
    }

    pub(crate) fn close_remote(&mut self, id: StreamId) {
        self.close(id, |stream| stream.remote = Half::Closed);
    }

    /// Both ways.
    pub(crate) fn abort(&mut self, id: StreamId) {
        self.close(id, |stream| (stream.local, stream.remote) = (Half::Closed, Half::Closed));
    }

    fn close(&mut self, id: StreamId, half: impl FnOnce(&mut Stream<T>)) {
        let Some(stream) = self.get_open(id) else { return };
        half(stream);
        if stream.is_closed() {
            let kept = stream.kept.is_some();
            self.open -= 1;
            if !kept {
                self.map.remove(&id.0);
            }
        }
    }

    /// What was kept with one that is over.
    pub(crate) fn forget(&mut self, id: StreamId) -> Option<T> {
        if self.get(id)?.is_closed() { self.map.remove(&id.0)?.kept } else { None }
    }

    /// Frames for it may come that we need not answer.
    pub(crate) fn remember_reset(&mut self, id: StreamId) {
        if self.lately.len() == MAX_LATELY {
            self.lately.pop_front();
        }
        self.lately.push_back(id);
    }

    pub(crate) fn was_reset_lately(&self, id: StreamId) -> bool {
        self.lately.contains(&id)
    }

    /// Frees what is not used.
    pub(crate) fn shrink(&mut self) {
        if self.map.is_empty() {
            self.map.shrink_to_fit();
        }
    }
}

/// One that has fallen out of it gets a `RST_STREAM` once more.
const MAX_LATELY: usize = 256;

/// Spreads identifiers, which peers choose, by a secret of the connection.
#[derive(Clone, Copy, Debug)]
struct Spread(u64);

impl Spread {
    fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }
}

impl BuildHasher for Spread {
    type Hasher = Spreading;

    fn build_hasher(&self) -> Spreading {
        Spreading { factor: self.0, hash: 0 }
    }
}

struct Spreading {
    factor: u64,
    hash: u64,
}

impl Hasher for Spreading {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }

    fn write_u32(&mut self, id: u32) {
        // The table looks at both ends of the hash; a product's lower bits depend on few of the identifier's.
        self.hash = (self.hash ^ u64::from(id)).wrapping_mul(self.factor);
        self.hash ^= self.hash >> 32;
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
