//! What a person is told of identities that get no certificate: once for each fault, not once for each identity.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::{info, warn};

use super::{IssueFault, Workload};

/// The faults that a person was told of and that have not ended.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: BTreeSet<IssueFault>,
}

impl Complaints {
    /// Tells of what is new, and of what has ended, with these workloads.
    pub(super) fn tell(&mut self, held: &[Arc<Workload>]) {
        let found: BTreeMap<_, _> = held.iter().filter_map(complaint).collect();
        for (fault, (workload, error)) in &found {
            if self.told.insert(*fault) {
                warn!(id = %workload.id(), error, "an identity gets no certificate");
            }
        }
        self.told.retain(|fault| {
            let lasts = found.contains_key(fault);
            if !lasts {
                info!(?fault, "each identity gets its certificate again");
            }
            lasts
        });
    }
}

fn complaint(workload: &Arc<Workload>) -> Option<(IssueFault, (&Workload, String))> {
    let (fault, error) = workload.complaint()?;
    Some((fault, (&**workload, error)))
}
