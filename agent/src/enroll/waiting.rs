//! A pod that wishes to be enrolled and is not, yet: why, and when it is tried again.

use std::time::{Duration, Instant, SystemTime};

use super::{EnrolError, wake::Wake};
use crate::cluster::LocalPod;

/// How soon a pod is tried again at first. A sandbox takes far longer to make, and an application to start in it.
const SOONEST: Duration = Duration::from_millis(20);
/// How late, at the most.
const LATEST: Duration = Duration::from_secs(1);

/// A pod that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// As it was when it was tried.
    wish: LocalPod,
    pub(super) because: String,
    /// Whether this is how a pod that starts or ends looks for a while.
    pub(super) transient: bool,
    pub(super) since: SystemTime,
    /// Since when it waits for this reason.
    changed: Instant,
    tried: Instant,
    wake: Option<Wake>,
}

impl Waiting {
    /// A pod that was tried now. `last` is how it waited before, if it did.
    pub(super) fn new(wish: LocalPod, error: &EnrolError, now: Instant, last: Option<Self>) -> Self {
        let (because, transient) = (error.to_string(), error.is_expected_for_a_while());
        let since = last.as_ref().map_or_else(SystemTime::now, |last| last.since);
        let changed = last.filter(|last| last.because == because).map_or(now, |last| last.changed);
        Self { wish, because, transient, since, changed, tried: now, wake: None }
    }

    /// Has it tried again as soon as this happens.
    pub(super) fn until(mut self, wake: Option<Wake>) -> Self {
        self.wake = wake;
        self
    }

    /// When it is tried again, if the cluster says the same of it then.
    pub(super) fn next(&self) -> Instant {
        let has_fired = self.wake.as_ref().is_some_and(Wake::has_fired);
        self.tried + if has_fired { SOONEST } else { delay(self.tried - self.changed) }
    }

    /// Whether it is time.
    pub(super) fn is_due(&self, wish: &LocalPod, now: Instant) -> bool {
        self.next() <= now || self.wish != *wish
    }
}

/// What has just begun is looked at often, and what has lasted, seldom.
fn delay(lasted: Duration) -> Duration {
    (lasted / 100).clamp(SOONEST, LATEST)
}

#[cfg(test)]
mod tests {
    use culvert_policy::SpiffeId;

    use super::*;
    use crate::{cluster::PodRef, enroll::SandboxError};

    fn wish() -> LocalPod {
        LocalPod {
            pod: PodRef::new("full", "sleep"),
            uid: "1".into(),
            identity: SpiffeId::new("cluster.local", "full", "sleep"),
            addresses: Vec::new(),
        }
    }

    /// Tried again and again for one reason, for that long.
    fn tried_for(lasted: Duration) -> (Waiting, Instant) {
        let begin = Instant::now();
        let first = Waiting::new(wish(), &EnrolError::NoAddress, begin, None);
        let now = begin + lasted;
        (Waiting::new(wish(), &EnrolError::NoAddress, now, Some(first)), now)
    }

    #[test]
    fn it_is_tried_often_at_first_and_seldom_later() {
        for (lasted, expected) in [(0, 20), (1, 20), (5, 50), (60, 600), (3600, 1000)] {
            let (waiting, now) = tried_for(Duration::from_secs(lasted));
            assert_eq!(waiting.next() - now, Duration::from_millis(expected), "after {lasted} s");
        }
    }

    #[test]
    fn another_reason_is_a_new_beginning() {
        let (last, now) = tried_for(Duration::from_hours(1));
        let since = last.since;
        let waiting = Waiting::new(wish(), &SandboxError::Gone.into(), now, Some(last));
        assert_eq!(waiting.next() - now, SOONEST);
        assert_eq!(waiting.since, since, "it waits since then all the same");
    }

    #[test]
    fn what_the_cluster_says_anew_is_tried_at_once() {
        let (waiting, now) = tried_for(Duration::from_hours(1));
        assert!(!waiting.is_due(&wish(), now));
        let addresses = vec![std::net::Ipv4Addr::new(10, 0, 0, 7).into()];
        assert!(waiting.is_due(&LocalPod { addresses, ..wish() }, now));
    }
}
