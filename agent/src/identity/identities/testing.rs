//! Identities without a task that rotates them: the authority is inside the process, and the test moves the clock.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use futures::executor::block_on;

use super::{Identities, LONGEST_NAP, Requests, SHORTEST_NAP, Workload};

impl Identities {
    /// Asks for what is due at `now`, waits for all of it, and says how long from `now` the next is.
    pub(crate) fn renew_due(&self, now: SystemTime) -> Duration {
        let mut requests = Requests::default();
        loop {
            let nap = self.shared.rotation.ask_due(self.shared.held(), &mut requests, now);
            let Some(answer) = block_on(requests.next()) else { return nap };
            self.shared.rotation.settle(answer, &self.shared.held(), now);
        }
    }

    /// What [`Self::rotate`] does until `end`, where `advance` moves the clock instead of time passing.
    pub(crate) fn rotate_until(&self, end: SystemTime, advance: impl Fn(Duration)) {
        while self.shared.clock.now() < end {
            let nap = self.renew_due(self.shared.clock.now());
            advance(nap.clamp(SHORTEST_NAP, LONGEST_NAP));
        }
    }

    /// The workload with its first certificate.
    pub(crate) fn ready_workload(&self, id: &SpiffeId) -> Arc<Workload> {
        let workload = self.workload(id);
        self.renew_due(self.shared.clock.now());
        workload
    }
}
