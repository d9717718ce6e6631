//! How long to wait before the next try. It knows no clock and no source of randomness.

use std::time::Duration;

/// Waits that double from one failure to the next, each random between nothing and all of it, so that a thousand
/// agents that lost the same server do not come back at once ("full jitter").
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    failures: u32,
}

/// Doubling further would make no difference to any wait that makes sense.
const MAX_DOUBLINGS: u32 = 16;

impl Backoff {
    pub(super) const fn new(first: Duration) -> Self {
        Self { first, failures: 0 }
    }

    /// The wait after one more failure, at most `cap`; `random` is from 0 to 1.
    pub(super) fn next(&mut self, cap: Duration, random: f64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).min(cap);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random)
    }

    /// It went well.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn waits_double_up_to_the_cap_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let waits: Vec<_> = (0..7).map(|_| backoff.next(CAP, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(CAP, 1.0).as_secs(), 1);
    }

    #[test]
    fn each_wait_is_random_between_nothing_and_all_of_it() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        assert_eq!(backoff.next(CAP, 0.0), Duration::ZERO);
        assert_eq!(backoff.next(CAP, 0.25), Duration::from_millis(500));
    }

    #[test]
    fn any_number_of_failures_is_fine() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        assert!((0..10_000).all(|_| backoff.next(CAP, 1.0) <= CAP));
    }
}
