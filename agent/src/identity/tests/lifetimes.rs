//! Whatever lifetime an authority gives, it is not asked in a hot loop, and a certificate that holds is kept.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use futures::future::{BoxFuture, ready};

use super::mesh::{DAY, TRUST_DOMAIN, TestClock, id};
use crate::identity::{Authority, Certificate, Clock, Identities, IssueError, Issuer, Trust};

const HOUR: Duration = Duration::from_hours(1);

/// From when to when a certificate holds, in seconds from its issue.
type Validity = (i64, i64);

const A_DAY: Validity = (-120, 86_400);
/// No connection can be made with these.
const USELESS: [Validity; 7] =
    [(0, 0), (-120, 0), (-120, 1), (-7200, -3600), (3600, 7200), (3600, 0), (-86_400 * 365 * 80, -1)];

/// Gives certificates of odd validities.
#[derive(Debug)]
struct Odd {
    authority: Authority,
    given: Arc<Given>,
}

#[derive(Debug)]
struct Given {
    validity: Mutex<Validity>,
    count: AtomicUsize,
}

impl Issuer for Odd {
    fn issue<'a>(
        &'a self,
        id: &'a SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Certificate, IssueError>> {
        self.given.count.fetch_add(1, Ordering::Relaxed);
        let (from, to) = *self.given.validity.lock().unwrap();
        let certificate = self.authority.issue(id, lifetime, now).map(|issued| Certificate {
            not_before: after(now, from),
            not_after: after(now, to),
            ..issued
        });
        Box::pin(ready(certificate))
    }

    fn trust(&self) -> Arc<Trust> {
        self.authority.trust()
    }
}

fn after(now: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { now - by } else { now + by }
}

/// One node, whose chance always says: as soon as may be.
struct Node {
    clock: Arc<TestClock>,
    identities: Identities,
    given: Arc<Given>,
}

impl Node {
    fn new(validity: Validity) -> Self {
        let clock = TestClock::new();
        let given = Arc::new(Given { validity: Mutex::new(validity), count: AtomicUsize::new(0) });
        let issuer = Odd { authority: Authority::in_memory(TRUST_DOMAIN).unwrap(), given: given.clone() };
        let identities = Identities::with_clock(issuer, DAY, clock.clone(), || -1.0);
        Self { clock, identities, given }
    }

    fn set(&self, validity: Validity) {
        *self.given.validity.lock().unwrap() = validity;
    }

    /// How often the authority is asked meanwhile.
    fn pass(&self, time: Duration) -> usize {
        let before = self.given.count.load(Ordering::Relaxed);
        self.identities.rotate_until(self.clock.now() + time, |nap| self.clock.advance(nap));
        self.given.count.load(Ordering::Relaxed) - before
    }
}

#[test]
fn no_validity_makes_a_hot_loop() {
    let others = [((-120, 2), 3600), ((-120, 10), 800), (A_DAY, 1), ((-120, 7900 * 365 * 86_400), 1)];
    for (validity, most) in USELESS.map(|validity| (validity, 36)).into_iter().chain(others) {
        let node = Node::new(validity);
        let _held = node.identities.workload(&id("sleep"));
        let asked = node.pass(HOUR);
        assert!((1..=most).contains(&asked), "{validity:?}: asked {asked} times within an hour");
    }
}

#[test]
fn a_certificate_that_is_of_no_use_takes_the_place_of_none() {
    for useless in USELESS {
        let node = Node::new(A_DAY);
        let held = node.identities.workload(&id("sleep"));
        node.pass(HOUR);
        let first = held.valid_certificate().unwrap();
        node.set(useless);
        assert!(node.pass(12 * HOUR) > 0);
        assert!(Arc::ptr_eq(&first, &held.valid_certificate().unwrap()), "{useless:?}");
        let report = node.identities.report().remove(0);
        assert!(report.held && report.error.unwrap().contains("expected a certificate for"));
        node.set(A_DAY);
        node.pass(HOUR / 10);
        assert!(!Arc::ptr_eq(&first, &held.valid_certificate().unwrap()), "{useless:?}");
        assert_eq!(node.identities.report().remove(0).error, None);
    }
}

#[test]
fn whoever_never_got_one_of_use_has_none() {
    for useless in USELESS {
        let node = Node::new(useless);
        let held = node.identities.workload(&id("sleep"));
        node.pass(HOUR);
        assert!(held.certificate().is_none(), "{useless:?}");
    }
}
