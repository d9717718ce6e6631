//! The identities of all workloads of this node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use culvert_policy::SpiffeId;
use futures::future::join;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    Clock, IdentityReport, Issuer, RootReport, Spread, SystemClock, Trust, Workload, requests::Requests,
    rotation::Rotation, system_spread,
};

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
    trust: Arc<Trust>,
    clock: Arc<dyn Clock>,
    workloads: Mutex<HashMap<SpiffeId, Weak<Workload>>>,
    added: Notify,
    rotation: Arc<Rotation>,
}

impl Identities {
    /// Certificates are asked for with `lifetime` (in whole seconds; a day is usual), and are renewed at half of what
    /// was granted.
    pub fn new(issuer: impl Issuer + 'static, lifetime: Duration) -> Self {
        Self::with_clock(issuer, lifetime, Arc::new(SystemClock), system_spread)
    }

    /// The same, by another clock and another chance.
    pub fn with_clock(
        issuer: impl Issuer + 'static,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
        spread: Spread,
    ) -> Self {
        let shared = Shared {
            trust: issuer.trust(),
            clock,
            workloads: Mutex::default(),
            added: Notify::new(),
            rotation: Arc::new(Rotation::new(Box::new(issuer), lifetime, spread)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The workload `id`: the one that somebody holds already, or a new one. A new one has no certificate yet, and
    /// [`Self::rotate`] asks for it at once.
    pub fn workload(&self, id: &SpiffeId) -> Arc<Workload> {
        let shared = &self.shared;
        let mut workloads = shared.workloads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = workloads.get(id).and_then(Weak::upgrade) {
            return held;
        }
        let workload = Arc::new(Workload::new(id.clone(), shared.trust.clone(), shared.clock.clone()));
        workloads.insert(id.clone(), Arc::downgrade(&workload));
        shared.added.notify_one();
        workload
    }

    /// From now on workloads are of the trust domain `own`, and those of `aliases` are let in too. Identities of
    /// another trust domain than these are new ones, to be had with [`Self::workload`].
    pub fn set_trust_domains(&self, own: &str, aliases: &[Arc<str>]) {
        self.shared.trust.set_domains(own, aliases);
    }

    /// Counts the certificates that were issued: it changes with each.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.rotation.issued.subscribe()
    }

    /// Gets each workload its certificate, and a new one at half of its life, for ever. Open connections keep the
    /// certificate that they began with; a certificate that cannot be renewed serves until it expires.
    pub async fn rotate(self) {
        join(self.shared.renew(), self.shared.rotation.issuer().follow()).await;
    }

    /// Every identity that somebody holds, by name.
    pub fn report(&self) -> Vec<IdentityReport> {
        let now = self.shared.clock.now();
        let outage = self.shared.rotation.outage();
        let held = self.shared.held();
        let mut reports: Vec<_> = held.iter().map(|held| held.report(now, outage.as_ref())).collect();
        reports.sort_by(|one, other| one.id.cmp(&other.id));
        reports
    }

    /// The roots that are trusted.
    pub fn roots(&self) -> Vec<RootReport> {
        self.shared.trust.roots().report()
    }

    /// Why the roots cannot be kept up to date, if so.
    pub fn trust_problem(&self) -> Option<String> {
        self.shared.trust.problem()
    }
}

impl Shared {
    async fn renew(&self) {
        let mut requests = Requests::default();
        loop {
            let nap = self.rotation.ask_due(self.held(), &mut requests, self.clock.now());
            tokio::select! {
                Some(answer) = requests.next() => self.rotation.settle(answer, &self.held(), self.clock.now()),
                () = self.added.notified() => {}
                () = sleep(nap.clamp(SHORTEST_NAP, LONGEST_NAP)) => {}
            }
        }
    }

    /// The workloads that somebody holds; the others are forgotten.
    fn held(&self) -> Vec<Arc<Workload>> {
        let mut workloads = self.workloads.lock().unwrap_or_else(PoisonError::into_inner);
        workloads.retain(|_, workload| workload.strong_count() > 0);
        workloads.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod testing;
