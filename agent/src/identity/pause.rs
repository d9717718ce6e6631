//! Waiting by a wall clock that may be set, as arithmetic without a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The wait after a first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// Doubling ends here: no cap is as long.
const MAX_DOUBLINGS: u32 = 16;
/// By which share of itself a wait is made longer or shorter, so that those who failed together do not come back
/// together.
const BACK_OFF_SPREAD: f64 = 0.5;

/// Where randomness comes from: a number from -1 to 1, all of them equally likely.
pub type Spread = fn() -> f64;

/// The system's randomness.
pub fn system_spread() -> f64 {
    rand::random_range(-1.0..=1.0)
}

/// A wait that began at some time. It ends early when the clock is set back to before it began: nothing is known of
/// how long it has lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    since: SystemTime,
    length: Duration,
}

impl Pause {
    /// No wait, and older than any other.
    pub(super) const OVER: Self = Self { since: UNIX_EPOCH, length: Duration::ZERO };

    pub(super) const fn new(since: SystemTime, length: Duration) -> Self {
        Self { since, length }
    }

    /// The wait after so many failures in a row (at least one), up to about `cap`.
    pub(super) fn back_off(since: SystemTime, failures: u32, cap: Duration, spread: f64) -> Self {
        let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
        let length = FIRST.saturating_mul(1 << doublings).min(cap);
        Self::new(since, length.mul_f64(BACK_OFF_SPREAD.mul_add(spread, 1.0)).max(FIRST))
    }

    /// When it began.
    pub(super) const fn since(self) -> SystemTime {
        self.since
    }

    /// When it ends.
    pub(super) fn end(self) -> SystemTime {
        self.since + self.length
    }

    /// How long it lasts from `now` on.
    pub(super) fn left(self, now: SystemTime) -> Duration {
        if now < self.since {
            return Duration::ZERO;
        }
        self.end().duration_since(now).unwrap_or_default()
    }
}
