//! When a certificate is to be renewed: a small state machine without a clock.

use std::time::{Duration, SystemTime};

use super::Certificate;

/// The wait after a first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const LAST_RETRY: Duration = Duration::from_mins(1);

/// The next renewal of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    due: SystemTime,
    failures: u32,
}

impl Renewal {
    /// At half of the certificate's life.
    pub(super) fn of(certificate: &Certificate) -> Self {
        Self { due: certificate.half_life(), failures: 0 }
    }

    /// Again after a while that grows with each failure.
    pub(super) fn after_failure(self, now: SystemTime) -> Self {
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(6)).min(LAST_RETRY);
        Self { due: now + wait, failures: self.failures + 1 }
    }

    /// How long from `now`.
    pub(super) fn wait(self, now: SystemTime) -> Duration {
        self.due.duration_since(now).unwrap_or_default()
    }
}
