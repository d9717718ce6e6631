//! The identities of all workloads of this node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use tokio::{sync::Notify, time::sleep};

use super::{Clock, IssueError, Issuer, SystemClock, Workload};

/// However short certificates live, they are looked at no more often than this.
const SHORTEST_NAP: Duration = Duration::from_millis(200);
/// A wall clock that was set, or a machine that slept, is noticed after this.
const LONGEST_NAP: Duration = Duration::from_mins(1);

/// One [`Workload`] per service account, for as long as somebody holds it.
#[derive(Clone, Debug)]
pub struct Identities {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    issuer: Box<dyn Issuer>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    workloads: Mutex<HashMap<SpiffeId, Weak<Workload>>>,
    added: Notify,
}

impl Identities {
    /// Certificates live for `lifetime` (in whole seconds; a day is usual) and are renewed at half of it.
    pub fn new(issuer: impl Issuer + 'static, lifetime: Duration) -> Self {
        Self::with_clock(issuer, lifetime, Arc::new(SystemClock))
    }

    /// The same, by another clock.
    pub fn with_clock(issuer: impl Issuer + 'static, lifetime: Duration, clock: Arc<dyn Clock>) -> Self {
        let issuer = Box::new(issuer);
        let shared = Shared { issuer, lifetime, clock, workloads: Mutex::default(), added: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// The workload `id`: the one that somebody holds already, or a new one with a certificate issued now.
    pub fn workload(&self, id: &SpiffeId) -> Result<Arc<Workload>, IssueError> {
        let mut workloads = self.shared.lock();
        if let Some(held) = workloads.get(id).and_then(Weak::upgrade) {
            return Ok(held);
        }
        let workload = Arc::new(self.shared.create(id)?);
        workloads.insert(id.clone(), Arc::downgrade(&workload));
        self.shared.added.notify_one();
        Ok(workload)
    }

    /// Renews each certificate at half of its life, for ever. Open connections keep the certificate that they began
    /// with; a certificate that cannot be renewed serves until it expires.
    pub async fn rotate(self) {
        loop {
            let nap = self.renew_due(self.shared.clock.now()).clamp(SHORTEST_NAP, LONGEST_NAP);
            tokio::select! {
                () = sleep(nap) => {}
                () = self.shared.added.notified() => {}
            }
        }
    }

    /// Renews what is due at `now`, and says how long from `now` the next one is.
    pub(crate) fn renew_due(&self, now: SystemTime) -> Duration {
        let shared = &self.shared;
        let waits = shared
            .held()
            .into_iter()
            .map(|workload| workload.renew_if_due(now, |id| shared.issuer.issue(id, shared.lifetime, now)));
        waits.min().unwrap_or(LONGEST_NAP)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<SpiffeId, Weak<Workload>>> {
        self.workloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn create(&self, id: &SpiffeId) -> Result<Workload, IssueError> {
        let certificate = self.issuer.issue(id, self.lifetime, self.clock.now())?;
        Ok(Workload::new(id.clone(), certificate, self.issuer.trust(), self.clock.clone()))
    }

    /// The workloads that somebody holds; the others are forgotten.
    fn held(&self) -> Vec<Arc<Workload>> {
        let mut workloads = self.lock();
        workloads.retain(|_, workload| workload.strong_count() > 0);
        workloads.values().filter_map(Weak::upgrade).collect()
    }
}
