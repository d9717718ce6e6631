//! Whether the API server answers, told once when it stops and once when it is back.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tracing::{info, warn};

use crate::cluster::sources::Source;

/// The resources that get no answer now.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<BTreeSet<Source>>);

impl Outage {
    /// A resource gets no answer.
    pub(super) fn failed(&self, source: Source, error: &str) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.is_empty() {
            warn!(resource = %source, error, "the API server does not answer; the last known state serves on");
        }
        failing.insert(source);
    }

    /// A resource got an answer.
    pub(super) fn answered(&self, source: Source) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.remove(&source) && failing.is_empty() {
            info!("the API server answers again");
        }
    }
}
