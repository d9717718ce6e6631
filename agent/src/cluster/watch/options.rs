//! What can be chosen about following.

use std::time::Duration;

use crate::cluster::{Overrides, Settings};

/// How the API server is followed.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// What the operator says of the mesh.
    pub overrides: Overrides,
    /// How many objects one answer to a list may have.
    pub page_size: u32,
    /// How long things may take, and what is waited for.
    pub timing: Timing,
}

/// How long things may take, and what is waited for. Waits are random up to what stands here.
#[derive(Clone, Debug)]
pub struct Timing {
    /// For an answer, or one page of a list, as a whole. The API server gives itself 60 s.
    pub answer: Duration,
    /// For a sign of life on a watch. The API server sends a bookmark each minute.
    pub silence: Duration,
    /// A watch that lived as long is no reason to wait before the next one.
    pub proven: Duration,
    /// How long the API server is asked to keep a watch open: this to twice as long.
    pub watch: Duration,
    /// The first wait after a failure; it doubles with each.
    pub first_retry: Duration,
    /// The longest wait while the API server does not answer.
    pub retry: Duration,
    /// The longest wait while a resource may not be read.
    pub denied: Duration,
    /// How often a resource that is not served is looked for.
    pub look_again: Duration,
    /// Over how long all agents spread a fresh list after the API server was away, whatever it lists.
    pub spread: Duration,
    /// And how much longer for each object that is known: a list costs what it holds.
    pub spread_per_object: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { overrides: Overrides::default(), page_size: 500, timing: Timing::default() }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer: Duration::from_mins(1),
            silence: Duration::from_secs(100),
            proven: Duration::from_secs(1),
            watch: Duration::from_mins(5),
            first_retry: Duration::from_secs(1),
            retry: Duration::from_secs(30),
            denied: Duration::from_mins(2),
            look_again: Duration::from_secs(30),
            spread: Duration::from_secs(10),
            spread_per_object: Duration::from_millis(2),
        }
    }
}

impl Timing {
    /// Over how long all agents spread a fresh list of about as many objects.
    pub(super) fn spread_of(&self, objects: usize) -> Duration {
        let objects = u32::try_from(objects).unwrap_or(u32::MAX);
        self.spread.saturating_add(self.spread_per_object.saturating_mul(objects))
    }
}

impl WatchOptions {
    /// Istio's configuration stands where the operator says that the root namespace is, whatever it says itself.
    pub(super) fn mesh_config_namespace(&self) -> String {
        self.overrides.root_namespace.clone().unwrap_or_else(|| Settings::default().root_namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_there_is_to_list_the_longer_agents_spread_it() {
        let timing = Timing::default();
        assert_eq!(timing.spread_of(0), Duration::from_secs(10));
        assert_eq!(timing.spread_of(100_000), Duration::from_secs(210));
        assert!(timing.spread_of(usize::MAX) > Duration::from_hours(1));
    }
}
