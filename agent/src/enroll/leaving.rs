//! A pod that has opted out and goes on running: its own connections are left alone at once, and peers that still
//! speak mTLS to it are served until all of them must have heard.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::info;

use super::Enroller;
use crate::{
    cluster::{Announcement, LocalPod, PodRef},
    kernel::MapsError,
};

/// How long peers' agents may take to hear of what this one has heard.
pub const HEARSAY: Duration = Duration::from_secs(1);
/// How long an announcement that is not taken back keeps a pod in the mesh.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pod on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    since: Instant,
    /// Since when it is not announced any more, as far as the cluster has told.
    retracted: Option<Instant>,
}

impl Leaving {
    const fn new(now: Instant) -> Self {
        Self { since: now, retracted: None }
    }

    fn hear(&mut self, is_announced: bool, now: Instant) {
        self.retracted = if is_announced { None } else { self.retracted.or(Some(now)) };
    }

    /// When it is left alone.
    pub(super) fn end(self) -> Instant {
        let patience = self.since + PATIENCE;
        self.retracted.map_or(patience, |since| patience.min(since + HEARSAY))
    }
}

impl Enroller {
    /// Begins to part from the pods that opted out. Returns those that came back before they were gone: they have yet
    /// to be captured again.
    pub(super) fn part(
        &mut self,
        wanted: &BTreeMap<PodRef, LocalPod>,
        now: Instant,
    ) -> Result<Vec<PodRef>, MapsError> {
        if self.leaving.is_empty() && self.enrolled.keys().all(|name| wanted.contains_key(name)) {
            return Ok(Vec::new());
        }
        let there = self.there();
        let mut back = Vec::new();
        for (name, pod) in &self.enrolled {
            let found = there.get(name).filter(|found| found.uid == pod.wish().uid);
            let Some(found) = found.filter(|_| !wanted.contains_key(name)) else {
                back.extend(self.leaving.remove(name).map(|_| name.clone()));
                continue;
            };
            if !self.leaving.contains_key(name) {
                info!(pod = %name, "opted out, and served until its peers know");
                self.parts.maps.remove_pod(pod.netns().cookie())?;
            }
            let leaving = self.leaving.entry(name.clone()).or_insert(Leaving::new(now));
            leaving.hear(found.captured, now);
        }
        Ok(back)
    }

    fn there(&self) -> BTreeMap<PodRef, Announcement> {
        let index = self.parts.cluster.read();
        index.announcements(&self.parts.node).map(|found| (found.pod.clone(), found)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_stays_until_peers_must_have_heard() {
        let begin = Instant::now();
        let mut leaving = Leaving::new(begin);
        leaving.hear(true, begin);
        assert_eq!(leaving.end(), begin + PATIENCE, "it is announced still");
        leaving.hear(false, begin + SECOND);
        leaving.hear(false, begin + SECOND + HEARSAY / 2);
        assert_eq!(leaving.end(), begin + SECOND + HEARSAY);
    }

    #[test]
    fn an_announcement_that_comes_back_is_waited_for_again_but_not_for_ever() {
        let begin = Instant::now();
        let mut leaving = Leaving::new(begin);
        leaving.hear(false, begin);
        leaving.hear(true, begin + SECOND);
        assert_eq!(leaving.end(), begin + PATIENCE);
        leaving.hear(false, begin + PATIENCE.mul_f64(0.99));
        assert_eq!(leaving.end(), begin + PATIENCE);
    }
}
