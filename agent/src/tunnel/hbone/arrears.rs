//! Waiting for a peer that is behind. What others say meanwhile would wait there, too, and longer than in their queues.

use std::time::{Duration, Instant};

/// How long a stream that has its turn has been without credit, and whether it pays to wait for it.
#[derive(Default)]
pub(super) struct Arrears {
    since: Option<Instant>,
    /// Until then nobody is waited for.
    refrains: Option<Instant>,
    is_near: Option<bool>,
}

/// A peer that keeps up hands a stream's window on in less: at 10 Gbit/s, 1 MiB takes 0.8 ms. Who is not read at all
/// gets no credit however long he is waited for; after that nobody is for so many times as long.
const LONGEST: Duration = Duration::from_millis(1);
const REST: u32 = 20;
/// Where the way itself takes longer, there and back, it is full of what others say, and waiting would leave it empty.
const NEAR: Duration = Duration::from_micros(250);

impl Arrears {
    /// A stream that has its turn has credit, or none.
    pub(super) fn note(&mut self, has_credit: bool) {
        if has_credit {
            self.settle();
        } else {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Others have their turn now.
    pub(super) const fn settle(&mut self) {
        self.since = None;
    }

    /// Until when to wait; none where it does not pay. How long the way to the peer takes is asked for once.
    pub(super) fn worth_waiting_until(&mut self, way: impl FnOnce() -> Duration) -> Option<Instant> {
        let end = self.since? + LONGEST;
        let now = Instant::now();
        self.refrains.take_if(|end| *end <= now);
        if self.refrains.is_some() || !*self.is_near.get_or_insert_with(|| way() <= NEAR) {
            return None;
        }
        if end <= now {
            self.refrains = Some(now + LONGEST * REST);
            return None;
        }
        Some(end)
    }

    #[cfg(test)]
    pub(super) fn prolong(&mut self) {
        self.since = Some(Instant::now() + Duration::from_mins(1));
    }

    #[cfg(test)]
    pub(super) const fn assume_near(&mut self) {
        self.is_near = Some(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near() -> Duration {
        NEAR
    }

    fn waiting() -> Arrears {
        let mut arrears = Arrears::default();
        arrears.note(false);
        arrears.prolong();
        arrears
    }

    #[test]
    fn who_has_credit_is_not_waited_for() {
        let mut arrears = Arrears::default();
        assert!(arrears.worth_waiting_until(near).is_none());
        arrears.note(false);
        arrears.prolong();
        assert!(arrears.worth_waiting_until(near).is_some());
        arrears.note(true);
        assert!(arrears.worth_waiting_until(near).is_none());
    }

    #[test]
    fn a_long_way_is_not_left_empty() {
        assert!(waiting().worth_waiting_until(|| NEAR + Duration::from_micros(1)).is_none());
    }

    #[test]
    fn who_was_waited_for_in_vain_is_not_for_a_while() {
        let mut arrears = waiting();
        arrears.since = Instant::now().checked_sub(LONGEST * 2);
        assert!(arrears.worth_waiting_until(near).is_none());
        arrears.prolong();
        assert!(arrears.worth_waiting_until(near).is_none());
        arrears.refrains = Some(Instant::now());
        assert!(arrears.worth_waiting_until(near).is_some());
    }

    #[test]
    fn a_wait_lasts_from_the_first_time_without_credit() {
        let mut arrears = waiting();
        let since = arrears.since;
        arrears.note(false);
        assert_eq!(arrears.since, since);
    }
}
