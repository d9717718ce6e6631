//! How often one caller may ask.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A token bucket for each of a bounded number of callers. A bucket is one point in time, at which it is full again
/// (the generic cell rate algorithm).
pub(super) struct Limiter<K> {
    refill: Duration,
    burst: Duration,
    capacity: usize,
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Clone + Eq + Hash> Limiter<K> {
    /// Allows `burst` at once and one more every `refill`, for `capacity` callers.
    pub(super) fn new(burst: u32, refill: Duration, capacity: usize) -> Self {
        Self { refill, burst: refill * burst, capacity, full_at: Mutex::default() }
    }

    /// Takes one of the caller's tokens, or says how long it will be until there is one.
    pub(super) fn take(&self, caller: &K, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.lock();
        let taken = full_at.get(caller).map_or(now, |full_at| now.max(*full_at)) + self.refill;
        let excess = taken.saturating_duration_since(now + self.burst);
        if !excess.is_zero() {
            return Err(excess);
        }
        if full_at.len() >= self.capacity && !full_at.contains_key(caller) {
            make_room(&mut full_at, self.capacity, now);
        }
        full_at.insert(caller.clone(), taken);
        Ok(())
    }

    /// Gives a token back that was taken.
    pub(super) fn give_back(&self, caller: &K) {
        if let Some(full_at) = self.lock().get_mut(caller) {
            *full_at = full_at.checked_sub(self.refill).unwrap_or(*full_at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Full buckets are as good as none; if all are in use, the fullest goes.
fn make_room<K: Clone + Eq + Hash>(full_at: &mut HashMap<K, Instant>, capacity: usize, now: Instant) {
    full_at.retain(|_, full_at| *full_at > now);
    if full_at.len() < capacity {
        return;
    }
    let fullest = full_at.iter().min_by_key(|(_, full_at)| **full_at).map(|(caller, _)| caller.clone());
    if let Some(fullest) = fullest {
        full_at.remove(&fullest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_followed_by_the_steady_rate() {
        let limiter = Limiter::new(3, SECOND, 10);
        let now = Instant::now();
        for _ in 0..3 {
            limiter.take(&"a", now).unwrap();
        }
        assert_eq!(limiter.take(&"a", now), Err(SECOND));
        assert_eq!(limiter.take(&"a", now + SECOND / 4), Err(SECOND * 3 / 4));
        limiter.take(&"b", now).unwrap();
        limiter.take(&"a", now + SECOND).unwrap();
        assert_eq!(limiter.take(&"a", now + SECOND), Err(SECOND));
        for _ in 0..3 {
            limiter.take(&"a", now + 10 * SECOND).unwrap();
        }
        assert!(limiter.take(&"a", now + 10 * SECOND).is_err());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let limiter = Limiter::new(2, SECOND, 10);
        let now = Instant::now();
        for _ in 0..100 {
            limiter.take(&"a", now).unwrap();
            limiter.give_back(&"a");
        }
        limiter.take(&"a", now).unwrap();
        limiter.take(&"a", now).unwrap();
        assert_eq!(limiter.take(&"a", now), Err(SECOND));
    }

    #[test]
    fn callers_are_bounded_and_the_busiest_is_not_forgotten() {
        let limiter = Limiter::new(8, SECOND, 4);
        let now = Instant::now();
        for _ in 0..8 {
            limiter.take(&0, now).unwrap();
        }
        for caller in 1..1000 {
            limiter.take(&caller, now).unwrap();
            assert!(limiter.lock().len() <= 4);
        }
        assert_eq!(limiter.take(&0, now), Err(SECOND));
    }
}
