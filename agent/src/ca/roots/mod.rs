//! The roots: where they are stored, when they follow each other, and which one signs.

mod content;
mod keeper;
mod rotation;
mod store;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;

use super::CaOptions;
use crate::identity::Signer;
pub(super) use keeper::Keeper;
use rotation::{Schedule, Term};
pub use store::StoreError;

/// The roots as they were last read, for whoever signs.
pub(super) struct Roots {
    schedule: Schedule,
    stored: ArcSwap<Vec<Arc<StoredRoot>>>,
    /// The generation that signed last, to tell of a change.
    signed_last: AtomicU64,
}

/// One root of the Secret.
pub(super) struct StoredRoot {
    /// Counts up from 1.
    pub(super) generation: u64,
    pub(super) signer: Signer,
    /// The certificate.
    pub(super) pem: String,
    term: Term,
}

impl Roots {
    pub(super) fn new(options: &CaOptions) -> Self {
        let schedule = Schedule { overlap: options.overlap, leaf_lifetime: options.max_lifetime };
        Self { schedule, stored: ArcSwap::default(), signed_last: AtomicU64::new(0) }
    }

    /// The root that signs at `now`. None: there is none that is valid and announced.
    pub(super) fn signing(&self, now: SystemTime) -> Option<Arc<StoredRoot>> {
        let stored = self.stored.load();
        let terms: Vec<Term> = stored.iter().map(|root| root.term).collect();
        let signing = stored[self.schedule.signing(&terms, now)?].clone();
        signing.signer.root().holds_at(now).ok()?;
        if self.signed_last.swap(signing.generation, Ordering::Relaxed) != signing.generation {
            tracing::info!(generation = signing.generation, "this root signs from now on");
        }
        Some(signing)
    }

    fn schedule(&self) -> Schedule {
        self.schedule
    }

    fn replace(&self, roots: Vec<StoredRoot>) {
        self.stored.store(Arc::new(roots.into_iter().map(Arc::new).collect()));
    }
}
