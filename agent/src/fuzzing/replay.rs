//! Each seed of a corpus, as it is and changed in ways that are the same in each run.

use std::{collections::BTreeSet, fs, path::PathBuf};

use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// Feeds a target its corpus, of which it has to accept something and refuse something, and then changes of it.
pub(super) fn corpus(name: &str, target: fn(&[u8]) -> bool) {
    let seeds = seeds(name);
    let accepted = seeds.iter().filter(|seed| target(seed)).count();
    assert!((1..seeds.len()).contains(&accepted), "{accepted} of {} seeds are accepted", seeds.len());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let changed = (any::<Index>(), vec(Change::any(), 1..5)).prop_map(|(seed, changes)| {
        changes.iter().fold(seed.get(&seeds).clone(), |bytes, change| change.of(bytes))
    });
    let run = TestRunner::new_with_rng(config, rng).run(&changed, |bytes| {
        target(&bytes);
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A second of the slowest target.
const CASES: u32 = 6000;

/// What is done to a seed.
#[derive(Clone, Debug)]
enum Change {
    Byte(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index),
    /// A part of it, once more at another place, so that PEM stays PEM and JSON's words stay words.
    Copy(Index, usize, Index),
    Remove(Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<Index>;
        prop_oneof![
            4 => (at(), any::<u8>()).prop_map(|(place, byte)| Self::Byte(place, byte)),
            2 => (at(), vec(any::<u8>(), 1..8)).prop_map(|(place, bytes)| Self::Insert(place, bytes)),
            1 => at().prop_map(Self::Cut),
            4 => (at(), 1_usize..64, at()).prop_map(|(from, length, to)| Self::Copy(from, length, to)),
            2 => (at(), 1_usize..64).prop_map(|(place, length)| Self::Remove(place, length)),
        ]
    }

    fn of(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len();
        let place = |index: &Index| index.index(end + 1);
        match self {
            Self::Byte(index, byte) => {
                bytes.iter_mut().skip(place(index)).take(1).for_each(|old| *old = *byte);
            }
            Self::Insert(index, new) => drop(bytes.splice(place(index)..place(index), new.iter().copied())),
            Self::Cut(index) => bytes.truncate(place(index)),
            Self::Copy(from, length, to) => {
                let part = bytes[place(from)..end.min(place(from) + length)].to_vec();
                let replaced = place(to)..end.min(place(to) + part.len());
                bytes.splice(replaced, part);
            }
            Self::Remove(index, length) => drop(bytes.drain(place(index)..end.min(place(index) + length))),
        }
        bytes
    }
}

/// The names of those that there are.
pub(super) fn corpora() -> BTreeSet<String> {
    let entries = fs::read_dir(directory()).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// In the order of their names.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory().join(name)).unwrap().map(Result::unwrap);
    let paths: BTreeSet<_> = entries.map(|entry| entry.path()).collect();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus")
}
