//! The index, shared between threads.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use super::{
    Index, Problem,
    problem::{Problems, Reporter},
    sources::{Sources, WatchStatus},
};

/// A cheap handle to one index. Readers do not wait for each other.
#[derive(Clone, Debug)]
pub struct Cluster {
    index: Arc<RwLock<Index>>,
    revision: watch::Sender<u64>,
    problems: Arc<Mutex<Problems>>,
    sources: Arc<Sources>,
}

impl Cluster {
    /// A handle to this index.
    pub fn new(index: Index) -> Self {
        let revision = watch::Sender::new(index.revision());
        Self {
            index: Arc::new(RwLock::new(index)),
            revision,
            problems: Arc::default(),
            sources: Arc::default(),
        }
    }

    /// The index, to ask. Not to be held across an await: a writer would wait for it, and all readers for the writer.
    pub fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells each change from now on, by the index's revision. Subscribe before the first question.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Changes the index; those who wait hear of it if any answer may have changed.
    pub fn update<R>(&self, change: impl FnOnce(&mut Index) -> R) -> R {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut index);
        let revision = index.revision();
        // Under the lock, so that revisions are told in their order.
        self.revision.send_if_modified(|told| std::mem::replace(told, revision) != revision);
        result
    }

    /// What of the cluster's state could not be taken in, and is wrong still.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// How following each resource goes.
    pub fn sources(&self) -> Vec<WatchStatus> {
        let index = self.read();
        self.sources.statuses(|kind| index.count(kind))
    }

    /// Whether the cluster's state is complete: each resource was listed once, or is not served. One that may not be
    /// read is not taken for empty: without `PeerAuthentication`s, `STRICT` would be `PERMISSIVE`; without pods,
    /// endpoints or rules, a peer would be one that speaks plaintext.
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.sources.synced()
    }

    /// Replaces one reporter's list of problems; returns those that are new.
    pub(super) fn report(&self, reporter: Reporter, now: Vec<Problem>) -> Vec<Problem> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).report(reporter, now)
    }

    /// The progress of what is followed, to be kept by those who follow.
    pub(super) fn progress(&self) -> &Sources {
        &self.sources
    }
}
