//! Leaving the core to whoever else has work for it, as long as they are soon done.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Remembers what became of leaving the core to others.
#[derive(Default)]
pub(super) struct Yielding {
    /// Until then it does not pay.
    refrains: Option<Instant>,
}

/// Who had the core for so long has more to do than to answer. It would keep the core from one who yields for its whole
/// slice each time, but not from one who is woken or goes on: for so many times as long nothing is left to it.
const SLICE: Duration = Duration::from_micros(500);
const REST: u32 = 20;

impl Yielding {
    /// Lets others have the core, unless they kept it for long.
    pub(super) fn try_yield(&mut self) {
        let now = Instant::now();
        if self.pays(now) {
            self.yield_at(now);
        }
    }

    /// Lets others have the core, whatever they did with it before.
    pub(super) fn yield_at(&mut self, now: Instant) {
        thread::yield_now();
        self.took(now, Instant::now());
    }

    /// Whether others were soon done when they last had it, or that is long ago.
    pub(super) fn pays(&mut self, now: Instant) -> bool {
        self.refrains.take_if(|end| *end <= now);
        self.refrains.is_none()
    }

    /// Others had it from then to then.
    pub(super) fn took(&mut self, from: Instant, to: Instant) {
        let away = to.duration_since(from);
        if away >= SLICE {
            self.refrains = Some(to + away * REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_on_the_core_has_nothing_left_to_it_for_a_while() {
        let (mut yielding, start) = (Yielding::default(), Instant::now());
        yielding.took(start, start + SLICE / 2);
        assert!(yielding.pays(start + SLICE / 2));
        let end = start + SLICE;
        yielding.took(start, end);
        let rest = SLICE * REST;
        assert!(!yielding.pays(end) && !yielding.pays(end + SLICE * (REST - 1)));
        assert!(yielding.pays(end + rest));
    }
}
