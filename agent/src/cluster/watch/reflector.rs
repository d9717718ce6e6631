//! One resource, followed for ever.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use kube::api::{ListParams, WatchParams};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{
    api::{Api, Lines},
    backoff::Backoff,
    fault::Fault,
    outage::Outage,
    resource::Resource,
    sink::Sink,
    wire::{Event, Page},
};
use crate::cluster::{Cluster, WatchState, sources::Source};

/// What the followers of all resources share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) api: Api,
    pub(super) cluster: Cluster,
    pub(super) outage: Arc<Outage>,
    pub(super) page_size: u32,
}

/// Keeps a sink up to date with a resource.
pub(super) struct Reflector<S> {
    resource: Resource,
    sink: S,
    shared: Shared,
    backoff: Backoff,
    /// The API server went away since a watch last said something.
    disconnected: bool,
    /// What was listed is in force.
    listed: bool,
    /// How often in a row there was no such resource.
    misses: u32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Discover,
    List { path: String },
    Watch { path: String, version: String },
}

/// A resource that was there has to be missing so often before its objects are dropped: an API server that starts
/// may not know its CRDs yet, and policies must not lapse because of that.
const MISSES: u32 = 2;

impl<S: Sink> Reflector<S> {
    pub(super) fn new(resource: Resource, sink: S, shared: Shared) -> Self {
        let backoff = Backoff::new(shared.api.timing.first_retry);
        Self { resource, sink, shared, backoff, disconnected: false, listed: false, misses: 0 }
    }

    pub(super) async fn follow(mut self) {
        let mut stage = Stage::Discover;
        loop {
            if let Err(fault) = self.advance(&mut stage).await {
                debug!(resource = %self.resource.source(), ?stage, %fault, "following stopped");
                let pause = self.recover(&mut stage, &fault, rand::random());
                sleep(pause).await;
            }
        }
    }

    async fn advance(&mut self, stage: &mut Stage) -> Result<(), Fault> {
        match stage {
            Stage::Discover => {
                let path = self.resource.discover(&self.shared.api).await?;
                *stage = Stage::List { path };
            }
            Stage::List { path } => {
                let version = self.list(path).await?;
                (self.listed, self.misses) = (true, 0);
                self.shared.cluster.progress().settle(self.resource.source());
                *stage = Stage::Watch { path: std::mem::take(path), version };
            }
            Stage::Watch { path, version } => self.watch(path, version).await?,
        }
        Ok(())
    }

    /// Returns the version that a watch goes on from.
    async fn list(&mut self, path: &str) -> Result<String, Fault> {
        let mut params = ListParams::default().limit(self.shared.page_size);
        params.field_selector = self.resource.field_selector();
        let mut listing = S::Listing::default();
        loop {
            let text = self.shared.api.page(path, &params).await?;
            let page = Page::parse(&text)?;
            self.sink.page(&mut listing, page.items.as_deref().unwrap_or_default());
            let Some(token) = page.next() else {
                let version = page.version()?;
                self.sink.complete(listing);
                self.heard();
                return Ok(version);
            };
            params = params.continue_token(token);
        }
    }

    /// Ends well if the API server closed a watch that had lived for a while, as it does every few minutes.
    async fn watch(&mut self, path: &str, version: &mut String) -> Result<(), Fault> {
        let seconds = self.shared.api.timing.watch.mul_f64(1.0 + rand::random::<f64>()).as_secs();
        let mut params = WatchParams::default().timeout(u32::try_from(seconds).unwrap_or(u32::MAX));
        params.field_selector = self.resource.field_selector();
        let mut lines = self.shared.api.watch(path, &params, version).await?;
        let began = Instant::now();
        self.set_state(WatchState::Watching, None);
        self.shared.outage.answered(self.resource.source());
        let end = self.take_all(&mut lines, version).await;
        if began.elapsed() < self.shared.api.timing.proven {
            return end.and(Err(Fault::Cut("it ended as soon as it began".to_owned())));
        }
        self.backoff.reset();
        end
    }

    async fn take_all(&mut self, lines: &mut Lines, version: &mut String) -> Result<(), Fault> {
        while let Some(text) = lines.next().await? {
            self.take_lines(&text, version)?;
            self.disconnected = false;
        }
        Ok(())
    }

    /// What stands before a fault counts.
    fn take_lines(&mut self, text: &[u8], version: &mut String) -> Result<(), Fault> {
        let mut changes = Vec::new();
        let mut end = Ok(());
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match Event::parse(line) {
                Ok(Event::Change(change)) => {
                    version.clone_from(&change.version);
                    changes.push(change);
                }
                Ok(Event::Bookmark(at)) => *version = at,
                Ok(Event::Error(fault)) | Err(fault) => {
                    end = Err(fault);
                    break;
                }
            }
        }
        self.sink.change(&changes);
        self.heard();
        end
    }

    /// Says where to go on, and how long to wait first.
    fn recover(&mut self, stage: &mut Stage, fault: &Fault, random: f64) -> Duration {
        let timing = self.shared.api.timing.clone();
        match fault {
            Fault::Unavailable { reason, retry_after } => {
                self.disconnected = true;
                self.fail(reason);
                retry_after.unwrap_or_default() + self.backoff.next(timing.retry, random)
            }
            Fault::Denied(reason) => {
                self.shared.outage.answered(self.resource.source());
                self.set_state(WatchState::Denied, Some(reason.clone()));
                self.backoff.next(timing.denied, random)
            }
            Fault::Cut(_) => {
                self.disconnected = true;
                self.backoff.next(timing.retry, random)
            }
            Fault::NotServed => self.miss(stage, random),
            Fault::Expired => {
                relist(stage);
                self.set_state(WatchState::Listing, None);
                self.before_list(random)
            }
            Fault::Malformed(reason) => {
                relist(stage);
                self.fail(&format!("the API server's answer cannot be understood: {reason}"));
                self.backoff.next(timing.retry, random)
            }
        }
    }

    fn known(&self) -> usize {
        match self.resource.source() {
            Source::Kind(kind) => self.shared.cluster.read().count(kind),
            Source::MeshConfig | Source::Manifests => 1,
        }
    }

    /// After an API server was away, all agents find at once that it has forgotten their versions.
    fn before_list(&mut self, random: f64) -> Duration {
        let timing = &self.shared.api.timing;
        let spread = if self.disconnected { timing.spread_of(self.known()) } else { Duration::ZERO };
        spread.mul_f64(random).max(self.backoff.next(timing.retry, random))
    }

    /// There is no such resource, in this version or at all.
    fn miss(&mut self, stage: &mut Stage, random: f64) -> Duration {
        let timing = self.shared.api.timing.clone();
        self.shared.outage.answered(self.resource.source());
        let was_watched = matches!(stage, Stage::Watch { .. });
        *stage = Stage::Discover;
        if was_watched {
            return self.backoff.next(timing.retry, random);
        }
        self.misses = self.misses.saturating_add(1);
        if self.misses < MISSES && self.listed {
            return timing.look_again.mul_f64(random / 2.0);
        }
        self.sink.complete(S::Listing::default());
        self.listed = false;
        self.shared.cluster.progress().settle(self.resource.source());
        self.set_state(WatchState::NotServed, None);
        timing.look_again.mul_f64(0.5 + random / 2.0)
    }

    fn fail(&self, reason: &str) {
        self.shared.outage.failed(self.resource.source(), reason);
        self.set_state(WatchState::Retrying, Some(reason.to_owned()));
    }

    fn heard(&self) {
        self.shared.outage.answered(self.resource.source());
        self.shared.cluster.progress().heard(self.resource.source(), SystemTime::now());
    }

    fn set_state(&self, state: WatchState, error: Option<String>) {
        let resource = self.resource.source();
        let reason = error.clone().unwrap_or_default();
        let before = self.shared.cluster.progress().set_state(resource, state, error);
        if before == Some(state) {
            return;
        }
        match (before, state) {
            (_, WatchState::Denied) => warn!(
                %resource,
                reason,
                "may not be read: grant the agent's ClusterRole; what was known of it serves on, and what never \
                 was is waited for"
            ),
            (_, WatchState::NotServed) => info!(%resource, "not served; looked for again and again"),
            (Some(WatchState::Denied | WatchState::NotServed), WatchState::Watching) => {
                info!(%resource, "followed now");
            }
            _ => debug!(%resource, %state, reason, "state changed"),
        }
    }
}

fn relist(stage: &mut Stage) {
    if let Stage::Watch { path, .. } = stage {
        *stage = Stage::List { path: std::mem::take(path) };
    }
}

#[cfg(test)]
mod tests;
