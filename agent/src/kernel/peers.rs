//! The peer map: what does not fit waits until there is room.

use std::collections::BTreeMap;

use aya::maps::{HashMap, MapData, MapError};
use culvert_abi::{SocketAddress, verdict};

use super::mirror::{Key, Mirror, Words, is_full};
use crate::cluster::{Destination, KernelVerdict, PeerChange};

/// The peer map.
pub(super) struct PeerMap<M = HashMap<MapData, SocketAddress, u32>> {
    mirror: Mirror<M>,
    /// What found no room.
    missing: BTreeMap<Key, u32>,
}

impl<M: Words> PeerMap<M> {
    pub(super) const fn new(map: M) -> Self {
        Self { mirror: Mirror::new(map), missing: BTreeMap::new() }
    }

    /// How many entries the kernel has.
    pub(super) fn len(&self) -> usize {
        self.mirror.len()
    }

    /// Whether the kernel has all that there are.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Tells the kernel: first what makes room.
    pub(super) fn apply(&mut self, changes: &[PeerChange]) -> Result<(), MapError> {
        for PeerChange { destination, verdict } in changes {
            let key = key(*destination);
            self.missing.remove(&key);
            if verdict.is_none() {
                self.mirror.remove(key)?;
            }
        }
        for PeerChange { destination, verdict } in changes {
            if let Some(verdict) = verdict {
                self.insert(key(*destination), word(*verdict))?;
            }
        }
        self.fill()
    }

    fn insert(&mut self, key: Key, word: u32) -> Result<(), MapError> {
        match self.mirror.insert(key, word) {
            Err(error) if is_full(&error) => {
                self.missing.insert(key, word);
                Ok(())
            }
            other => other,
        }
    }

    fn fill(&mut self) -> Result<(), MapError> {
        while let Some((key, word)) = self.missing.pop_first() {
            self.insert(key, word)?;
            if self.missing.contains_key(&key) {
                break;
            }
        }
        Ok(())
    }
}

fn key(destination: Destination) -> Key {
    (destination.address, destination.port.unwrap_or(0))
}

const fn word(verdict: KernelVerdict) -> u32 {
    match verdict {
        KernelVerdict::Pass => verdict::PASS,
        KernelVerdict::Capture => verdict::CAPTURE,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::mirror::testing::{Small, key, words},
        *,
    };

    const CAPTURE: u32 = verdict::CAPTURE;

    fn changes(entries: &[(u8, Option<KernelVerdict>)]) -> Vec<PeerChange> {
        let change = |&(last, verdict): &(u8, _)| PeerChange {
            destination: Destination { address: key(last).0, port: None },
            verdict,
        };
        entries.iter().map(change).collect()
    }

    fn map_of(entries: &[u8]) -> PeerMap<Small> {
        let mut map = PeerMap::new(Small::default());
        let captured: Vec<_> = entries.iter().map(|&last| (last, Some(KernelVerdict::Capture))).collect();
        map.apply(&changes(&captured)).unwrap();
        map
    }

    #[test]
    fn what_found_no_room_is_written_once_there_is_some() {
        let mut map = map_of(&[1, 2, 3]);
        assert!(!map.is_complete());
        assert_eq!(map.mirror.map().0, words(&[(1, CAPTURE), (2, CAPTURE)]));
        map.apply(&changes(&[(1, None)])).unwrap();
        assert!(map.is_complete());
        assert_eq!(map.mirror.map().0, words(&[(2, CAPTURE), (3, CAPTURE)]));
    }

    #[test]
    fn what_left_while_it_waited_is_not_written() {
        let mut map = map_of(&[1, 2, 3]);
        map.apply(&changes(&[(3, None)])).unwrap();
        map.apply(&changes(&[(1, None)])).unwrap();
        assert!(map.is_complete());
        assert_eq!(map.mirror.map().0, words(&[(2, CAPTURE)]));
    }

    #[test]
    fn what_leaves_makes_room_for_what_comes_at_the_same_time() {
        let mut map = map_of(&[2, 3]);
        map.apply(&changes(&[(1, Some(KernelVerdict::Capture)), (3, None)])).unwrap();
        assert!(map.is_complete());
        assert_eq!(map.mirror.map().0, words(&[(1, CAPTURE), (2, CAPTURE)]));
    }
}
