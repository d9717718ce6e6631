//! A circuit breaker before the authority: while it is away, one request at a time finds out whether it is back,
//! instead of one for each identity of each node.

use std::time::{Duration, SystemTime};

use super::{failing::Failing, pause::Pause};

/// The longest wait between two tries.
const CAP: Duration = Duration::from_mins(1);

/// Whether the authority answers, as far as is known.
#[derive(Debug)]
pub(super) struct Breaker {
    pause: Pause,
    outages: u32,
    failing: Option<Failing>,
}

impl Breaker {
    pub(super) const fn closed() -> Self {
        Self { pause: Pause::OVER, outages: 0, failing: None }
    }

    /// How many requests may be on their way at once, of `limit`.
    pub(super) fn room(&self, limit: usize, now: SystemTime) -> usize {
        match &self.failing {
            None => limit,
            Some(_) if self.wait(now).is_zero() => 1,
            Some(_) => 0,
        }
    }

    /// How long from `now` nothing is asked.
    pub(super) fn wait(&self, now: SystemTime) -> Duration {
        self.pause.left(now)
    }

    /// When the authority is asked again.
    pub(super) fn due(&self) -> SystemTime {
        self.pause.end()
    }

    /// Since when and why the authority is away, if it is.
    pub(super) const fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }

    /// The authority did not answer, and wants to be left alone for `pushback` if it could say that. Returns whether
    /// the outage is news. Requests that were on their way together fail together, and count as one.
    pub(super) fn open(
        &mut self,
        error: String,
        pushback: Option<Duration>,
        now: SystemTime,
        spread: f64,
    ) -> bool {
        if self.failing.is_none() || self.wait(now).is_zero() {
            self.outages = self.outages.saturating_add(1);
            self.pause = Pause::back_off(now, self.outages, CAP, spread);
        }
        let pushback = pushback.unwrap_or_default().min(CAP);
        if self.wait(now) < pushback {
            self.pause = Pause::new(now, pushback);
        }
        let news = self.failing.is_none();
        let since = self.failing.take().map_or(now, |failing| failing.since);
        self.failing = Some(Failing { since, error });
        news
    }

    /// The authority answered, be it with a refusal. Returns what has ended by that.
    pub(super) fn close(&mut self) -> Option<Failing> {
        std::mem::replace(self, Self::closed()).failing
    }
}
