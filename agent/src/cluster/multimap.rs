//! Several values per key, each once.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// A map from a key to a set of values; a key without values is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Multimap<K: Eq + Hash, V: Ord> {
    sets: HashMap<K, BTreeSet<V>>,
}

impl<K: Eq + Hash, V: Ord> Multimap<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.sets.entry(key).or_default().insert(value);
    }

    pub(super) fn remove(&mut self, key: &K, value: &V) {
        if let Some(set) = self.sets.get_mut(key) {
            set.remove(value);
            if set.is_empty() {
                self.sets.remove(key);
            }
        }
    }

    /// The values of a key, in their order.
    pub(super) fn get<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
        self.sets.get(key).into_iter().flatten()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.sets.keys()
    }
}

impl<K: Eq + Hash, V: Ord> Default for Multimap<K, V> {
    fn default() -> Self {
        Self { sets: HashMap::new() }
    }
}
