//! What has to be written on which pod now: a pure function of what stands, what is written, and what was tried.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    cluster::{Announcement, PodRef},
    enroll::Standing,
};

/// How many patches are under way at once: a node that starts with all of its pods asks no more of the API server.
const AT_ONCE: usize = 4;
/// How long the watch may take to tell of what was written. What it then does not tell was taken away by somebody.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// How long all patches wait after a first failure that is not the pod's; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// And at the most.
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// How long a pod is left alone whose patch was refused.
const REFUSED: Duration = Duration::from_mins(2);

/// One pod, and no other of its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PodId {
    pub(super) pod: PodRef,
    pub(super) uid: Arc<str>,
}

/// A patch of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) id: PodId,
    /// Whether the annotation is written, or taken away.
    pub(super) captured: bool,
}

/// How a patch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is written.
    Written,
    /// The pod is gone, or another has its name.
    Gone,
    /// The API server does not let it be written.
    Refused,
    /// The API server is away, or has too much to do; it may have said for how long to leave it alone.
    Away(Option<Duration>),
}

/// What was tried, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    under_way: BTreeSet<PodId>,
    tried: BTreeMap<PodId, Tried>,
    failures: u32,
    paused_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Tried {
    captured: bool,
    /// Until when it counts as done, whatever the watch tells.
    until: Instant,
}

impl Plan {
    /// The patches to begin at `now`. They are under way from here on, until [`Self::ended`] is told of each.
    pub(super) fn begin(
        &mut self,
        standing: &Standing,
        written: &[Announcement],
        now: Instant,
    ) -> Vec<Patch> {
        self.forget(written, now);
        if self.paused_until.is_some_and(|until| until > now) {
            return Vec::new();
        }
        let free = AT_ONCE - self.under_way.len();
        let wanted = written.iter().filter_map(|it| self.patch(it, standing));
        let patches: Vec<_> = wanted.take(free).collect();
        self.under_way.extend(patches.iter().map(|patch| patch.id.clone()));
        patches
    }

    /// Takes in how a patch ended. `random` is from 0 to 1, and spreads those who failed together.
    pub(super) fn ended(&mut self, patch: Patch, outcome: &Outcome, now: Instant, random: f64) {
        self.under_way.remove(&patch.id);
        let until = match outcome {
            Outcome::Written | Outcome::Gone => now + TOLD_WITHIN,
            Outcome::Refused => now + REFUSED.mul_f64(0.5 + random / 2.0),
            Outcome::Away(asked) => return self.pause(*asked, now, random),
        };
        self.failures = 0;
        self.tried.insert(patch.id, Tried { captured: patch.captured, until });
    }

    /// When [`Self::begin`] has to be called again though nothing changed.
    pub(super) fn next(&self) -> Option<Instant> {
        self.tried.values().map(|tried| tried.until).chain(self.paused_until).min()
    }

    /// Whether nothing is left to be taken away, as far as can be known.
    pub(super) fn is_withdrawn(&self, written: &[Announcement]) -> bool {
        self.under_way.is_empty() && written.iter().all(|it| self.patch(it, &Standing::new()).is_none())
    }

    /// What was tried is forgotten once the watch tells of it, or has had time to.
    fn forget(&mut self, written: &[Announcement], now: Instant) {
        let told: BTreeMap<PodId, bool> = written.iter().map(|it| (PodId::of(it), it.captured)).collect();
        self.tried.retain(|id, tried| {
            tried.until > now && told.get(id).is_some_and(|&captured| captured != tried.captured)
        });
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
    }

    /// A pod whose first certificate is not there yet is left as it is: an earlier agent may have announced it, and to
    /// take that away would send its peers' next connections in plaintext.
    fn patch(&self, written: &Announcement, standing: &Standing) -> Option<Patch> {
        let id = PodId::of(written);
        let stand = standing.get(&id.pod).filter(|stand| stand.uid == id.uid);
        let captured = stand.map_or(Some(false), |stand| stand.certified.then_some(true))?;
        let is_so = self.tried.get(&id).map_or(written.captured, |tried| tried.captured);
        let is_needed = captured != is_so && !self.under_way.contains(&id);
        is_needed.then_some(Patch { id, captured })
    }

    fn pause(&mut self, asked: Option<Duration>, now: Instant, random: f64) {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LAST_PAUSE);
        let pause = longest.mul_f64(0.5 + random / 2.0) + asked.unwrap_or_default().min(LAST_PAUSE);
        // What was under way at the same time failed for the same reason.
        if self.paused_until.is_none() {
            self.failures += 1;
            self.paused_until = Some(now + pause);
        }
    }
}

impl PodId {
    fn of(announcement: &Announcement) -> Self {
        Self { pod: announcement.pod.clone(), uid: announcement.uid.clone() }
    }
}
