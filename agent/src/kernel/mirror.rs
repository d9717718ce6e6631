//! A kernel map from addresses to words, and what was last written into it: only differences reach the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use aya::maps::{HashMap, MapData, MapError};
use culvert_abi::SocketAddress;

/// An address, and a port of it; 0 is each port that has no entry of its own.
pub(super) type Key = (IpAddr, u16);

/// A map in the kernel.
pub(super) trait Words {
    /// Adds or replaces.
    fn insert(&mut self, key: Key, word: u32) -> Result<(), MapError>;
    /// Takes out; a key that is not there is no error.
    fn remove(&mut self, key: Key) -> Result<(), MapError>;
}

impl Words for HashMap<MapData, SocketAddress, u32> {
    fn insert(&mut self, (address, port): Key, word: u32) -> Result<(), MapError> {
        Self::insert(self, SocketAddress::new(address.into(), port), word, 0)
    }

    fn remove(&mut self, (address, port): Key) -> Result<(), MapError> {
        ignore_missing(Self::remove(self, &SocketAddress::new(address.into(), port)))
    }
}

/// The map and what is in it.
pub(super) struct Mirror<M = HashMap<MapData, SocketAddress, u32>> {
    map: M,
    written: BTreeMap<Key, u32>,
}

impl<M: Words> Mirror<M> {
    pub(super) const fn new(map: M) -> Self {
        Self { map, written: BTreeMap::new() }
    }

    #[cfg(test)]
    pub(super) const fn map(&self) -> &M {
        &self.map
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.written.len()
    }

    /// Makes the entries of these addresses those of `wanted`. Where the map is full, what is there is still brought up
    /// to date, and nothing goes on saying what it no longer should; the error comes after that.
    pub(super) fn replace(
        &mut self,
        addresses: &[IpAddr],
        wanted: BTreeMap<Key, u32>,
    ) -> Result<(), MapError> {
        let written =
            addresses.iter().flat_map(|&address| self.written.range((address, 0)..=(address, u16::MAX)));
        let gone: BTreeSet<Key> =
            written.map(|(key, _)| *key).filter(|key| !wanted.contains_key(key)).collect();
        gone.into_iter().try_for_each(|key| self.remove(key))?;
        let mut full = Ok(());
        for (key, word) in wanted {
            match self.insert(key, word) {
                Err(error) if is_full(&error) => full = Err(error),
                other => other?,
            }
        }
        full
    }

    /// Adds or replaces an entry. Where there is no room, there is no entry.
    pub(super) fn insert(&mut self, key: Key, word: u32) -> Result<(), MapError> {
        if self.written.get(&key) == Some(&word) {
            return Ok(());
        }
        match self.map.insert(key, word) {
            Ok(()) => {
                self.written.insert(key, word);
                Ok(())
            }
            Err(error) => {
                self.remove(key)?;
                Err(error)
            }
        }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: Key) -> Result<(), MapError> {
        if self.written.contains_key(&key) {
            self.map.remove(key)?;
            self.written.remove(&key);
        }
        Ok(())
    }
}

/// Whether the kernel had no room.
pub(super) fn is_full(error: &MapError) -> bool {
    matches!(raw_os_error(error), Some(libc::E2BIG | libc::ENOSPC | libc::ENOMEM))
}

/// Whether there is an entry already, where only a new one was wanted.
pub(super) fn is_there(error: &MapError) -> bool {
    raw_os_error(error) == Some(libc::EEXIST)
}

/// Takes the absence of what was to be removed for success.
pub(super) fn ignore_missing(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        // aya passes on what bpf(2) says of a key that is not there.
        Err(error) if raw_os_error(&error) == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn raw_os_error(error: &MapError) -> Option<i32> {
    match error {
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        MapError::IoError(error) => error.raw_os_error(),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::{io, net::Ipv4Addr};

    use super::*;

    /// A map with room for two.
    #[derive(Default)]
    pub(crate) struct Small(pub(crate) BTreeMap<Key, u32>);

    impl Words for Small {
        fn insert(&mut self, key: Key, word: u32) -> Result<(), MapError> {
            if self.0.len() == 2 && !self.0.contains_key(&key) {
                return Err(MapError::IoError(io::Error::from_raw_os_error(libc::E2BIG)));
            }
            self.0.insert(key, word);
            Ok(())
        }

        fn remove(&mut self, key: Key) -> Result<(), MapError> {
            self.0.remove(&key);
            Ok(())
        }
    }

    pub(crate) fn key(last: u8) -> Key {
        (Ipv4Addr::new(10, 0, 0, last).into(), 0)
    }

    pub(crate) fn words(entries: &[(u8, u32)]) -> BTreeMap<Key, u32> {
        entries.iter().map(|&(last, word)| (key(last), word)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{Small, key, words},
        *,
    };

    #[test]
    fn a_full_map_still_says_the_new_of_what_it_holds() {
        let mut mirror = Mirror::new(Small::default());
        let addresses = [1, 2, 9].map(|last| key(last).0);
        mirror.replace(&addresses, words(&[(2, 0), (9, 0)])).unwrap();
        let error = mirror.replace(&addresses, words(&[(1, 1), (2, 1), (9, 1)])).unwrap_err();
        assert!(is_full(&error));
        assert_eq!(mirror.map.0, words(&[(2, 1), (9, 1)]));
    }

    #[test]
    fn other_addresses_stay() {
        let mut mirror = Mirror::new(Small::default());
        mirror.replace(&[key(1).0, key(2).0], words(&[(1, 1), (2, 1)])).unwrap();
        mirror.replace(&[key(1).0], BTreeMap::new()).unwrap();
        assert_eq!(mirror.map.0, words(&[(2, 1)]));
    }
}
