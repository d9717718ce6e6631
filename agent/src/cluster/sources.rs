//! Where the cluster's state comes from, and how following it goes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use kube::core::{ApiResource, GroupVersionKind};
use tokio::sync::watch;

use super::Kind;

/// How following one resource goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchStatus {
    /// The resource, as `kubectl` names it: `pods`, `peerauthentications.security.istio.io`.
    pub resource: String,
    /// Whether what is known of it is up to date, and why not.
    pub state: WatchState,
    /// How many objects of it are known.
    pub objects: usize,
    /// When it last said something: a list, a change, a bookmark.
    pub last_event: Option<SystemTime>,
    /// What went wrong last, until it is right again.
    pub error: Option<String>,
    /// All of it was known once since the agent began, or there is nothing to be had.
    pub settled: bool,
}

/// Whether what is known of a resource is up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// All of it is being fetched. What was known before serves on.
    Listing,
    /// It is.
    Watching,
    /// The API server cannot be asked. What was known last serves on.
    Retrying,
    /// The agent may not read it. What was known last serves on; what was never known is not taken for empty.
    Denied,
    /// The cluster has no such resource, as before Istio's CRDs are installed.
    NotServed,
}

/// One thing to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// All objects of a kind.
    Kind(Kind),
    /// The mesh's settings.
    MeshConfig,
    /// The directory of manifests.
    Manifests,
}

/// All that is followed.
#[derive(Debug, Default)]
pub(super) struct Sources {
    progress: Mutex<BTreeMap<Source, Progress>>,
    synced: watch::Sender<bool>,
}

#[derive(Clone, Debug)]
struct Progress {
    state: WatchState,
    objects: usize,
    last_event: Option<SystemTime>,
    error: Option<String>,
    /// It was complete once, or it is known that there is nothing to be had.
    settled: bool,
}

impl Sources {
    /// Adds what will be followed. Nothing is in sync until each of it is settled.
    pub(super) fn expect(&self, sources: impl IntoIterator<Item = Source>) {
        let new = Progress {
            state: WatchState::Listing,
            objects: 0,
            last_event: None,
            error: None,
            settled: false,
        };
        self.lock().extend(sources.into_iter().map(|source| (source, new.clone())));
        self.synced.send_replace(false);
    }

    /// Returns the state that it was in.
    pub(super) fn set_state(
        &self,
        source: Source,
        state: WatchState,
        error: Option<String>,
    ) -> Option<WatchState> {
        let mut progress = self.lock();
        let progress = progress.get_mut(&source)?;
        progress.error = error;
        Some(std::mem::replace(&mut progress.state, state))
    }

    /// It said something.
    pub(super) fn heard(&self, source: Source, at: SystemTime) {
        if let Some(progress) = self.lock().get_mut(&source) {
            progress.last_event = Some(at);
        }
    }

    /// How many objects it has, where the index does not know.
    pub(super) fn count(&self, source: Source, objects: usize) {
        if let Some(progress) = self.lock().get_mut(&source) {
            progress.objects = objects;
        }
    }

    /// All of it is known, or it is known that there is nothing to be had.
    pub(super) fn settle(&self, source: Source) {
        let mut progress = self.lock();
        if let Some(progress) = progress.get_mut(&source) {
            progress.settled = true;
        }
        let synced = progress.values().all(|progress| progress.settled);
        self.synced.send_if_modified(|told| std::mem::replace(told, synced) != synced);
    }

    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    pub(super) fn statuses(&self, count: impl Fn(Kind) -> usize) -> Vec<WatchStatus> {
        let status = |(source, progress): (&Source, &Progress)| WatchStatus {
            resource: source.to_string(),
            state: progress.state,
            objects: if let Source::Kind(kind) = source { count(*kind) } else { progress.objects },
            last_event: progress.last_event,
            error: progress.error.clone(),
            settled: progress.settled,
        };
        self.lock().iter().map(status).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Source, Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the API server names a kind, in one of its versions.
pub(super) fn api_resource(kind: Kind, version: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(kind.group(), version, kind.as_str()))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => {
                let dot = if kind.group().is_empty() { "" } else { "." };
                write!(f, "{}{dot}{}", api_resource(*kind, kind.versions()[0]).plural, kind.group())
            }
            Self::MeshConfig => f.write_str("configmaps/istio"),
            Self::Manifests => f.write_str("manifests"),
        }
    }
}

impl fmt::Display for WatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listing => "listing",
            Self::Watching => "watching",
            Self::Retrying => "retrying",
            Self::Denied => "denied",
            Self::NotServed => "not_served",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: Source = Source::Kind(Kind::Pod);

    #[test]
    fn resources_are_named_as_kubectl_names_them() {
        for (source, expected) in [
            (PODS, "pods"),
            (Source::Kind(Kind::EndpointSlice), "endpointslices.discovery.k8s.io"),
            (Source::Kind(Kind::PeerAuthentication), "peerauthentications.security.istio.io"),
            (Source::MeshConfig, "configmaps/istio"),
        ] {
            assert_eq!(source.to_string(), expected);
        }
    }

    #[test]
    fn in_sync_is_what_has_settled_everywhere() {
        let sources = Sources::default();
        let synced = sources.synced();
        assert!(!*synced.borrow(), "nothing is followed");
        sources.expect([PODS, Source::MeshConfig]);
        sources.settle(PODS);
        assert!(!*synced.borrow(), "the mesh's settings are missing");
        sources.settle(Source::MeshConfig);
        assert!(*synced.borrow());
        sources.set_state(PODS, WatchState::Retrying, Some("away".to_owned()));
        assert!(*synced.borrow(), "the last state serves on");
    }
}
