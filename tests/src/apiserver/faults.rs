//! Faults on demand.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{broadcast, watch};

use super::{
    ApiServer,
    route::{Call, Verb},
    status::{ApiError, Reason},
};

/// Which requests a fault is for.
#[derive(Clone, Debug, Default)]
pub struct Target {
    resource: Option<String>,
    verb: Option<Verb>,
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 429, with `Retry-After` in seconds.
    TooManyRequests(u32),
    /// 500.
    InternalError,
    /// 503.
    Unavailable,
}

/// How fast a body is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// So many bytes at a time.
    pub bytes: usize,
    /// And such a pause between them.
    pub pause: Duration,
}

/// Requests are held, unanswered, until this is dropped.
#[must_use]
pub struct Hold {
    number: u64,
    held: Arc<watch::Sender<Held>>,
}

/// What an open watch is made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchFault {
    /// Ends within a line, without an end of the body.
    Cut,
    /// Ends as it does when its time is over.
    End,
    /// Sends a line that is no event.
    Garble,
    /// Tells that the version is gone, and ends.
    Expire,
    /// Sends a bookmark at once.
    Bookmark,
}

#[derive(Default)]
pub(super) struct Held {
    made: u64,
    targets: Vec<(u64, Target)>,
}

pub(super) struct Faults {
    failing: Mutex<Vec<(Target, usize, Failure)>>,
    slow: Mutex<Vec<(Target, Pace)>>,
    held: Arc<watch::Sender<Held>>,
    watches: broadcast::Sender<(Target, WatchFault)>,
}

impl Target {
    /// Every request for objects.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Only those that do this.
    #[must_use]
    pub fn on(self, verb: Verb) -> Self {
        Self { verb: Some(verb), ..self }
    }

    pub(super) fn is(&self, call: &Call) -> bool {
        self.resource.as_ref().is_none_or(|resource| resource == call.resource.plural)
            && self.verb.is_none_or(|verb| verb == call.verb)
    }
}

impl From<&str> for Target {
    /// A resource, by its plural.
    fn from(plural: &str) -> Self {
        Self { resource: Some(plural.to_owned()), verb: None }
    }
}

impl ApiServer {
    /// Has the next `count` requests fail.
    pub fn fail_next(&self, count: usize, target: impl Into<Target>, failure: Failure) {
        lock(&self.shared.faults.failing).push((target.into(), count, failure));
    }

    /// Takes back what [`fail_next`](Self::fail_next) and [`slow_down`](Self::slow_down) have asked for.
    pub fn behave(&self) {
        lock(&self.shared.faults.failing).clear();
        lock(&self.shared.faults.slow).clear();
    }

    /// Sends the bodies of answers slowly from here on.
    pub fn slow_down(&self, target: impl Into<Target>, pace: Pace) {
        lock(&self.shared.faults.slow).push((target.into(), pace));
    }

    /// Leaves requests without an answer until the hold is dropped.
    pub fn hold(&self, target: impl Into<Target>) -> Hold {
        let held = Arc::clone(&self.shared.faults.held);
        let mut number = 0;
        held.send_modify(|held| {
            held.made += 1;
            number = held.made;
            held.targets.push((number, target.into()));
        });
        Hold { number, held }
    }

    /// Cuts open watches within a line.
    pub fn drop_watches(&self, target: impl Into<Target>) {
        self.shared.faults.disturb(target.into(), WatchFault::Cut);
    }

    /// Ends open watches as if their time were over.
    pub fn end_watches(&self, target: impl Into<Target>) {
        self.shared.faults.disturb(target.into(), WatchFault::End);
    }

    /// Has open watches send a line that is no event.
    pub fn garble_watches(&self, target: impl Into<Target>) {
        self.shared.faults.disturb(target.into(), WatchFault::Garble);
    }

    /// Has open watches tell that their version is gone, and end.
    pub fn expire_watches(&self, target: impl Into<Target>) {
        self.shared.faults.disturb(target.into(), WatchFault::Expire);
    }

    /// Has open watches send a bookmark, if they take any.
    pub fn send_bookmarks(&self, target: impl Into<Target>) {
        self.shared.faults.disturb(target.into(), WatchFault::Bookmark);
    }

    /// Forgets all history: a watch that resumes finds its version gone, and so does a list at its next page.
    pub fn compact(&self) {
        self.shared.store().compact();
    }
}

impl Faults {
    pub(super) fn new() -> Self {
        Self {
            failing: Mutex::default(),
            slow: Mutex::default(),
            held: Arc::new(watch::Sender::new(Held::default())),
            watches: broadcast::Sender::new(256),
        }
    }

    /// Waits while a call is held, then fails it if it is to fail.
    pub(super) async fn meet(&self, call: &Call) -> Result<(), ApiError> {
        let mut held = self.held.subscribe();
        let is_free = |held: &Held| !held.targets.iter().any(|(_, target)| target.is(call));
        // The sender lives as long as the server.
        let _ = held.wait_for(is_free).await;
        self.failure(call).map_or(Ok(()), |failure| Err(failure.error()))
    }

    fn failure(&self, call: &Call) -> Option<Failure> {
        let mut failing = lock(&self.failing);
        let (_, left, failure) = failing.iter_mut().find(|(target, left, _)| *left > 0 && target.is(call))?;
        *left -= 1;
        Some(*failure)
    }

    /// How fast a call's answer is to be sent; none for as fast as it goes.
    pub(super) fn pace(&self, call: &Call) -> Option<Pace> {
        lock(&self.slow).iter().find(|(target, _)| target.is(call)).map(|(_, pace)| *pace)
    }

    pub(super) fn disturb(&self, target: Target, fault: WatchFault) {
        // Nobody watches: nobody is disturbed.
        let _ = self.watches.send((target, fault));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<(Target, WatchFault)> {
        self.watches.subscribe()
    }
}

impl Failure {
    fn error(self) -> ApiError {
        match self {
            Self::TooManyRequests(seconds) => {
                let message = "the server has received too many requests and has asked us to try again later";
                ApiError::new(Reason::TooManyRequests, message).retry_after(seconds)
            }
            Self::InternalError => ApiError::new(Reason::InternalError, "etcdserver: request timed out"),
            Self::Unavailable => ApiError::new(Reason::ServiceUnavailable, "apiserver is shutting down"),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.send_modify(|held| held.targets.retain(|(number, _)| *number != self.number));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
