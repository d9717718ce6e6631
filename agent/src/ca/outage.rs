//! Says once that something fails, and once that it works again.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::identity::with_sources;

/// Whether something that is done again and again fails at present.
#[derive(Default)]
pub(super) struct Outage(AtomicBool);

impl Outage {
    /// It failed: a person should look, but not at each failure.
    pub(super) fn failed(&self, what: &str, error: &dyn Error) {
        let error = with_sources(error);
        if self.0.swap(true, Ordering::Relaxed) {
            tracing::debug!(error, "still failing: {what}");
        } else {
            tracing::warn!(error, "{what}");
        }
    }

    /// It worked.
    pub(super) fn over(&self, what: &str) {
        if self.0.swap(false, Ordering::Relaxed) {
            tracing::info!("{what}");
        }
    }
}
