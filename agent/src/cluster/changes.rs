//! What has changed since somebody last looked, so that they need not look at everything.

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use culvert_policy::HostPattern;

use super::host::HostRef;

/// What an answer may be about that is another one now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    /// Who is at an address, or under which names.
    Address(IpAddr),
    /// Whether an address serves a host.
    Endpoint(HostRef, IpAddr),
    /// A host, with all of its addresses and endpoints.
    Host(HostRef),
    /// Each host that is called like this.
    Hosts(HostPattern),
    /// Each workload of a namespace.
    Namespace(Arc<str>),
}

/// The latest changes, in their order. Whoever is too far behind has to look at everything.
#[derive(Debug, Default)]
pub(super) struct Journal {
    changes: VecDeque<Change>,
    /// How many there have ever been.
    end: u64,
}

/// How many changes are kept: beyond some thousands it is as cheap to look at everything.
const CAPACITY: usize = 16_384;

impl Journal {
    /// Where the next change will stand.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// The changes from a place on; none where they are no longer known.
    pub(super) fn since(&self, place: u64) -> Option<impl Iterator<Item = &Change>> {
        let missed = usize::try_from(self.end.checked_sub(place)?).ok()?;
        let known = self.changes.len().checked_sub(missed)?;
        Some(self.changes.range(known..))
    }

    pub(super) fn note(&mut self, change: Change) {
        if self.changes.len() == CAPACITY {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        self.end += 1;
    }

    /// Everything has changed.
    pub(super) fn forget(&mut self) {
        self.changes.clear();
        self.end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: usize) -> Change {
        Change::Namespace(number.to_string().into())
    }

    #[test]
    fn who_looks_again_sees_what_is_new() {
        let mut journal = Journal::default();
        let place = journal.end();
        assert_eq!(journal.since(place).map(Iterator::count), Some(0));
        journal.note(change(1));
        journal.note(change(2));
        assert_eq!(journal.since(place).unwrap().collect::<Vec<_>>(), [&change(1), &change(2)]);
        assert_eq!(journal.since(place + 1).unwrap().collect::<Vec<_>>(), [&change(2)]);
    }

    #[test]
    fn who_is_too_far_behind_is_told_so() {
        let mut journal = Journal::default();
        (0..=CAPACITY).for_each(|number| journal.note(change(number)));
        assert!(journal.since(0).is_none());
        assert_eq!(journal.since(1).map(Iterator::count), Some(CAPACITY));
        let place = journal.end();
        journal.forget();
        assert!(journal.since(place).is_none());
        assert_eq!(journal.since(place + 1).map(Iterator::count), Some(0));
    }
}
