//! When an identity's next certificate is to be asked for: a small state machine without a clock.

use std::time::{Duration, SystemTime};

use super::{Certificate, pause::Pause};

/// An identity asks no more often, whatever lifetimes it is given.
const FLOOR: Duration = Duration::from_secs(1);
/// By which share of itself half of a life is made longer or shorter. At the latest, 45 % of the life are left.
const SPREAD: f64 = 0.1;
/// The longest wait of an identity that is refused: its pod may be one that the authority is slow to see, and one that
/// it will never sign for.
const REFUSED_CAP: Duration = Duration::from_mins(5);
/// Within twice this, all get new certificates that nobody trusts any more.
const HASTE: Duration = Duration::from_secs(5);

/// The next request for one identity's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewal {
    pause: Pause,
    refusals: u32,
}

impl Renewal {
    /// A first certificate, at once.
    pub(super) const fn first() -> Self {
        Self { pause: Pause::OVER, refusals: 0 }
    }

    /// At half of the certificate's life. `spread` is from -1 to 1, here and below.
    pub(super) fn after_success(certificate: &Certificate, now: SystemTime, spread: f64) -> Self {
        let half = certificate.half_life().duration_since(now).unwrap_or_default();
        let length = half.mul_f64(SPREAD.mul_add(spread, 1.0)).max(FLOOR);
        Self { pause: Pause::new(now, length), refusals: 0 }
    }

    /// The authority does not sign for this identity, or not as it should: quickly at first, then ever more slowly.
    pub(super) fn after_refusal(self, now: SystemTime, spread: f64) -> Self {
        let refusals = self.refusals.saturating_add(1);
        Self { pause: Pause::back_off(now, refusals, REFUSED_CAP, spread), refusals }
    }

    /// The authority is away, which is not this identity's fault: it stays due, behind those that were not tried.
    pub(super) const fn after_outage(self, now: SystemTime) -> Self {
        Self { pause: Pause::new(now, Duration::ZERO), ..self }
    }

    /// The certificate has lost the trust that it was made for: soon, but not all identities at once.
    pub(super) fn hastened(self, now: SystemTime, spread: f64) -> Self {
        let soon = Pause::new(now, HASTE.mul_f64(1.0 + spread));
        if soon.left(now) < self.pause.left(now) { Self { pause: soon, ..self } } else { self }
    }

    /// When it was last asked for; those that never were come first.
    pub(super) const fn asked(self) -> SystemTime {
        self.pause.since()
    }

    /// When to ask again.
    pub(super) fn due(self) -> SystemTime {
        self.pause.end()
    }

    /// How long from `now`.
    pub(super) fn wait(self, now: SystemTime) -> Duration {
        self.pause.left(now)
    }

    /// How many times in a row it was refused.
    pub(super) const fn refusals(self) -> u32 {
        self.refusals
    }
}
