//! What clients have asked for, and the watches that are open.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::bail;
use bytes::Bytes;
use tokio::sync::Notify;

use super::{ApiServer, route::Verb};
use crate::DEADLINE;

/// A request as it came in, and how it was answered.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// What was to be done.
    pub verb: Verb,
    /// The resource's plural, with a subresource if there is one: `pods`, `pods/status`.
    pub resource: String,
    /// Empty if none was named.
    pub namespace: String,
    /// Empty if none was named.
    pub name: String,
    /// The query as it came, without `?`.
    pub query: String,
    /// The user's name; empty while it is not known, and for a token that is not.
    pub user: String,
    /// What the client calls itself.
    pub agent: String,
    /// What a write has sent.
    pub body: Bytes,
    /// The HTTP status of the answer; none before there is one.
    pub status: Option<u16>,
    /// When it came in.
    pub at: Instant,
}

#[derive(Default)]
pub(super) struct Log {
    entries: Mutex<Entries>,
    changed: Condvar,
    news: Notify,
}

#[derive(Default)]
struct Entries {
    requests: Vec<LoggedRequest>,
    /// By plural.
    watches: HashMap<&'static str, usize>,
}

/// A watch that is open, until it is dropped.
pub(super) struct OpenWatch {
    log: Arc<Log>,
    resource: &'static str,
}

impl ApiServer {
    /// All requests for objects up to now, oldest first.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.entries().requests.clone()
    }

    /// How many requests there have been, for [`wait_for_request_since`](Self::wait_for_request_since).
    pub fn mark(&self) -> usize {
        self.shared.log.entries().requests.len()
    }

    /// Waits for a request, of those before as well as of those to come. Blocks; see [`requested`](Self::requested).
    pub fn wait_for_request(&self, wanted: impl Fn(&LoggedRequest) -> bool) -> anyhow::Result<LoggedRequest> {
        self.wait_for_request_since(0, wanted)
    }

    /// Waits for a request, of those after a mark. Blocks; see [`requested`](Self::requested).
    pub fn wait_for_request_since(
        &self,
        mark: usize,
        wanted: impl Fn(&LoggedRequest) -> bool,
    ) -> anyhow::Result<LoggedRequest> {
        self.shared.log.wait(|entries| entries.find(mark, &wanted))
    }

    /// Waits for a request, of those after a mark, on a runtime that has other things to do meanwhile.
    pub async fn requested(
        &self,
        mark: usize,
        wanted: impl Fn(&LoggedRequest) -> bool,
    ) -> anyhow::Result<LoggedRequest> {
        let log = &self.shared.log;
        let found = async {
            loop {
                let news = log.news.notified();
                let found = log.entries().find(mark, &wanted);
                match found {
                    Some(found) => break found,
                    None => news.await,
                }
            }
        };
        match tokio::time::timeout(DEADLINE, found).await {
            Ok(found) => Ok(found),
            Err(_) => bail!("nobody asked for it: {:#?}", log.entries().requests),
        }
    }

    /// The requests that were refused because their user may not do that.
    pub fn refused(&self) -> Vec<LoggedRequest> {
        self.requests().into_iter().filter(|request| request.status == Some(403)).collect()
    }

    /// How many watches of a resource, by its plural, are open now.
    pub fn open_watches(&self, plural: &str) -> usize {
        self.shared.log.entries().watches.get(plural).copied().unwrap_or(0)
    }

    /// Waits until this many watches of a resource are open. Blocks.
    pub fn wait_for_watches(&self, plural: &str, count: usize) -> anyhow::Result<()> {
        self.shared
            .log
            .wait(|entries| (entries.watches.get(plural).copied().unwrap_or(0) == count).then_some(()))
    }
}

impl Log {
    /// Adds a request; returns its number.
    pub(super) fn arrived(&self, request: LoggedRequest) -> usize {
        self.change(|entries| {
            entries.requests.push(request);
            entries.requests.len() - 1
        })
    }

    /// Notes who asked.
    pub(super) fn known(&self, number: usize, user: &str) {
        self.change(|entries| user.clone_into(&mut entries.requests[number].user));
    }

    /// Notes how a request was answered.
    pub(super) fn answered(&self, number: usize, status: u16) {
        self.change(|entries| entries.requests[number].status = Some(status));
    }

    pub(super) fn watching(self: &Arc<Self>, resource: &'static str) -> OpenWatch {
        self.change(|entries| *entries.watches.entry(resource).or_default() += 1);
        OpenWatch { log: Arc::clone(self), resource }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        let result = change(&mut self.entries());
        self.changed.notify_all();
        self.news.notify_waiters();
        result
    }

    fn wait<T>(&self, mut found: impl FnMut(&Entries) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + DEADLINE;
        let mut entries = self.entries();
        loop {
            if let Some(found) = found(&entries) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("clients did not do it: {:#?}, watches {:?}", entries.requests, entries.watches);
            }
            let woken = self.changed.wait_timeout(entries, left);
            entries = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Entries {
    fn find(&self, mark: usize, wanted: impl Fn(&LoggedRequest) -> bool) -> Option<LoggedRequest> {
        self.requests.iter().skip(mark).find(|request| wanted(request)).cloned()
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.log.change(|entries| {
            entries.watches.entry(self.resource).and_modify(|it| *it -= 1);
        });
    }
}
