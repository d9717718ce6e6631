//! Several values per key, each once.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    hash::Hash,
};

/// A map from a key to a set of values; a key without values is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Multimap<K: Eq + Hash, V: Ord> {
    sets: HashMap<K, Set<V>>,
}

/// Most keys have one value, which needs no set.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Set<V: Ord> {
    One(V),
    /// Two or more.
    More(BTreeSet<V>),
}

impl<K: Eq + Hash, V: Ord> Multimap<K, V> {
    pub(super) fn insert(&mut self, key: K, value: V) {
        let set = match self.sets.remove(&key) {
            None => Set::One(value),
            Some(set) => set.with(value),
        };
        self.sets.insert(key, set);
    }

    pub(super) fn remove(&mut self, key: K, value: &V) {
        if let Entry::Occupied(mut entry) = self.sets.entry(key) {
            match entry.get_mut() {
                Set::One(one) if one == value => drop(entry.remove()),
                Set::One(_) => {}
                Set::More(set) => {
                    set.remove(value);
                    if set.len() == 1
                        && let Some(last) = set.pop_first()
                    {
                        entry.insert(Set::One(last));
                    }
                }
            }
        }
    }

    /// The values of a key, in their order.
    pub(super) fn get<'a>(&'a self, key: &K) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
        let (one, more) = match self.sets.get(key) {
            None => (None, None),
            Some(Set::One(one)) => (Some(one), None),
            Some(Set::More(set)) => (None, Some(set)),
        };
        one.into_iter().chain(more.into_iter().flatten())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.sets.keys()
    }
}

impl<V: Ord> Set<V> {
    fn with(self, value: V) -> Self {
        match self {
            Self::One(one) if one == value => Self::One(one),
            Self::One(one) => Self::More(BTreeSet::from([one, value])),
            Self::More(mut set) => {
                set.insert(value);
                Self::More(set)
            }
        }
    }
}

impl<K: Eq + Hash, V: Ord> Default for Multimap<K, V> {
    fn default() -> Self {
        Self { sets: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_was_put_in_and_not_taken_out(
            steps in proptest::collection::vec((any::<bool>(), 0_u8..3, 0_u8..4), 0..40)
        ) {
            let mut map = Multimap::default();
            let mut expected: HashMap<u8, BTreeSet<u8>> = HashMap::new();
            for (insert, key, value) in steps {
                if insert {
                    map.insert(key, value);
                    expected.entry(key).or_default().insert(value);
                } else {
                    map.remove(key, &value);
                    expected.entry(key).or_default().remove(&value);
                }
                expected.retain(|_, values| !values.is_empty());
            }
            for key in 0..3 {
                let values: BTreeSet<u8> = map.get(&key).copied().collect();
                prop_assert_eq!(&values, &expected.get(&key).cloned().unwrap_or_default());
            }
            prop_assert_eq!(map.keys().count(), expected.len());
        }
    }
}
