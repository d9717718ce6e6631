//! When roots come, sign and go: a state machine without a clock and without a cluster.
//!
//! A root is made, published, and marked as announced once it is; it signs when it has been announced for the overlap,
//! until a newer one does; it is trusted until it expires, and no certificate outlives its root. So both roots are
//! trusted from before the newer one signs until after the last certificate of the older one has expired. Steps depend
//! on the stored roots and on the time only: replicas come to the same decision.

use std::time::{Duration, SystemTime};

/// What there is to know of one stored root. They are ordered by age, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// When it expires.
    pub(super) not_after: SystemTime,
    /// Since when everybody can learn of it.
    pub(super) announced: Option<SystemTime>,
}

/// By which times roots follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// How long a new root is announced before it signs.
    pub(super) overlap: Duration,
    /// How long the certificates live that roots sign.
    pub(super) leaf_lifetime: Duration,
}

/// The next thing to write, one conditional write each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Forget the roots that have expired.
    Retire,
    /// Make a root.
    Create,
    /// Publish the roots, and mark those as announced that are not.
    Announce,
    /// Nothing for now.
    Hold,
}

impl Schedule {
    /// What is to be done at `now`.
    pub(super) fn next(self, roots: &[Term], now: SystemTime) -> Step {
        if roots.iter().any(|root| root.expired(now)) {
            return Step::Retire;
        }
        if roots.last().is_none_or(|newest| self.successor_due(newest) <= now) {
            return Step::Create;
        }
        if roots.iter().any(|root| root.announced.is_none()) {
            return Step::Announce;
        }
        Step::Hold
    }

    /// Which root signs at `now`: the newest that has been announced for long enough. If there is none, as with the
    /// first root of all, the oldest that is announced.
    pub(super) fn signing(self, roots: &[Term], now: SystemTime) -> Option<usize> {
        let announced_before = |then: SystemTime| {
            move |root: &Term| !root.expired(now) && root.announced.is_some_and(|since| since <= then)
        };
        let ready =
            now.checked_sub(self.overlap).and_then(|then| roots.iter().rposition(announced_before(then)));
        ready.or_else(|| roots.iter().position(|root| !root.expired(now) && root.announced.is_some()))
    }

    /// Early enough for an overlap, for the last certificate to expire, and for another overlap in which the API
    /// server may be away.
    fn successor_due(self, root: &Term) -> SystemTime {
        let lead = self.leaf_lifetime + 2 * self.overlap;
        root.not_after.checked_sub(lead).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Term {
    pub(super) fn expired(&self, now: SystemTime) -> bool {
        self.not_after <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const SCHEDULE: Schedule = Schedule { overlap: HOUR, leaf_lifetime: Duration::from_hours(2) };
    const ROOT_LIFETIME: Duration = Duration::from_hours(10);

    fn at(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(1_000_000 + hours)
    }

    fn root(not_after: u64, announced: impl Into<Option<u64>>) -> Term {
        Term { not_after: at(not_after), announced: announced.into().map(at) }
    }

    #[test]
    fn the_first_root_signs_as_soon_as_it_is_announced() {
        assert_eq!(SCHEDULE.next(&[], at(0)), Step::Create);
        let made = [root(10, None)];
        assert_eq!(SCHEDULE.next(&made, at(0)), Step::Announce);
        assert_eq!(SCHEDULE.signing(&made, at(0)), None);
        let announced = [root(10, 0)];
        assert_eq!(SCHEDULE.next(&announced, at(0)), Step::Hold);
        assert_eq!(SCHEDULE.signing(&announced, at(0)), Some(0));
    }

    #[test]
    fn a_successor_is_made_in_time_and_signs_after_the_overlap() {
        let alone = [root(10, 0)];
        assert_eq!(SCHEDULE.next(&alone, at(5)), Step::Hold);
        assert_eq!(SCHEDULE.next(&alone, at(6)), Step::Create);
        let both = [root(10, 0), root(16, 6)];
        assert_eq!(SCHEDULE.signing(&both, at(6)), Some(0));
        assert_eq!(SCHEDULE.signing(&both, at(7)), Some(1));
        assert_eq!(SCHEDULE.next(&both, at(9)), Step::Hold);
        assert_eq!(SCHEDULE.next(&both, at(10)), Step::Retire);
    }

    #[test]
    fn a_root_that_is_not_announced_never_signs() {
        assert_eq!(SCHEDULE.signing(&[root(10, 0), root(16, None)], at(9)), Some(0));
        assert_eq!(SCHEDULE.signing(&[root(10, 0), root(16, None)], at(10)), None);
    }

    #[test]
    fn after_a_long_absence_there_is_one_new_root() {
        let expired = [root(10, 0), root(16, 6)];
        assert_eq!(SCHEDULE.next(&expired, at(50)), Step::Retire);
        assert_eq!(SCHEDULE.next(&[], at(50)), Step::Create);
    }

    /// A cluster with two replicas that look at any times, and are away at others.
    struct Cluster {
        roots: Vec<Term>,
        /// Each signed certificate: its root, and when it expires.
        signed: Vec<(Term, SystemTime)>,
    }

    impl Cluster {
        fn look(&mut self, now: SystemTime) {
            loop {
                match SCHEDULE.next(&self.roots, now) {
                    Step::Retire => self.roots.retain(|root| root.not_after > now),
                    Step::Create => self.roots.push(Term { not_after: now + ROOT_LIFETIME, announced: None }),
                    Step::Announce => {
                        for root in &mut self.roots {
                            root.announced.get_or_insert(now);
                        }
                    }
                    Step::Hold => return,
                }
            }
        }

        fn sign(&mut self, now: SystemTime) {
            if let Some(signing) = SCHEDULE.signing(&self.roots, now) {
                let root = self.roots[signing];
                self.signed.push((root, root.not_after.min(now + SCHEDULE.leaf_lifetime)));
            }
        }
    }

    proptest! {
        #[test]
        fn every_certificate_that_holds_is_of_a_trusted_root(
            waits in proptest::collection::vec((1u64..300, any::<bool>()), 1..200),
        ) {
            let mut cluster = Cluster { roots: vec![], signed: vec![] };
            let mut now = at(0);
            for (minutes, api_server_is_there) in waits {
                now += Duration::from_mins(minutes);
                if api_server_is_there {
                    cluster.look(now);
                }
                cluster.sign(now);
                prop_assert!(cluster.roots.len() <= 2, "{:?}", cluster.roots);
                cluster.signed.retain(|(_, not_after)| *not_after > now);
                for (root, _) in &cluster.signed {
                    prop_assert!(cluster.roots.contains(root), "{root:?} is no longer trusted");
                }
            }
        }

        #[test]
        fn a_root_signs_before_its_overlap_only_if_no_other_can(
            minutes in proptest::collection::vec(1u64..60, 1..500),
        ) {
            let mut cluster = Cluster { roots: vec![], signed: vec![] };
            let mut now = at(0);
            for minutes in minutes {
                now += Duration::from_mins(minutes);
                cluster.look(now);
                let signing = cluster.roots[SCHEDULE.signing(&cluster.roots, now).unwrap()];
                let young = signing.announced.unwrap() + SCHEDULE.overlap > now;
                prop_assert!(!young || cluster.roots[0] == signing);
                prop_assert!(signing.not_after >= now + SCHEDULE.leaf_lifetime, "certificates are cut short");
            }
        }
    }
}
