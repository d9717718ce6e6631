//! The identities of all workloads of this node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use futures::{
    StreamExt,
    future::{BoxFuture, join},
    stream::FuturesUnordered,
};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    Certificate, Clock, IdentityReport, IssueError, IssueFault, Issuer, RootReport, Roots, Spread,
    SystemClock, Trust, Workload, breaker::Breaker, complaints::Complaints, failing::with_sources,
    system_spread,
};

/// How many certificates are asked for at once.
const AT_ONCE: usize = 8;
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
    trust: Arc<Trust>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    spread: Spread,
    workloads: Mutex<HashMap<SpiffeId, Weak<Workload>>>,
    authority: Mutex<AuthorityState>,
    added: Notify,
    changed: watch::Sender<u64>,
}

/// What is known of whoever signs.
#[derive(Debug)]
struct AuthorityState {
    breaker: Breaker,
    complaints: Complaints,
    /// The roots by which the certificates that are held were last judged.
    judged_by: Arc<Roots>,
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
        let trust = issuer.trust();
        let authority = AuthorityState {
            breaker: Breaker::closed(),
            complaints: Complaints::default(),
            judged_by: trust.roots(),
        };
        let shared = Shared {
            issuer: Box::new(issuer),
            trust,
            lifetime,
            clock,
            spread,
            workloads: Mutex::default(),
            authority: Mutex::new(authority),
            added: Notify::new(),
            changed: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The workload `id`: the one that somebody holds already, or a new one. A new one has no certificate yet, and
    /// [`Self::rotate`] asks for it at once.
    pub fn workload(&self, id: &SpiffeId) -> Arc<Workload> {
        let shared = &self.shared;
        let mut workloads = shared.workloads();
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
        self.shared.changed.subscribe()
    }

    /// Every identity that somebody holds, by name.
    pub fn report(&self) -> Vec<IdentityReport> {
        let now = self.shared.clock.now();
        let held = self.shared.held();
        let authority = self.shared.authority();
        let outage = authority.breaker.failing();
        let mut reports: Vec<_> = held.iter().map(|workload| workload.report(now, outage)).collect();
        for report in reports.iter_mut().filter(|_| outage.is_some()) {
            report.next_renewal = report.next_renewal.max(Some(authority.breaker.due()));
        }
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

    /// Gets each workload its certificate, and a new one at half of its life, for ever. Open connections keep the
    /// certificate that they began with; a certificate that cannot be renewed serves until it expires.
    pub async fn rotate(self) {
        join(self.renew(), self.shared.issuer.follow()).await;
    }

    async fn renew(&self) {
        let mut requests = Requests::default();
        loop {
            let nap = self.shared.ask_due(&mut requests, self.shared.clock.now());
            tokio::select! {
                Some(answer) = requests.next() => self.shared.settle(answer, self.shared.clock.now()),
                () = self.shared.added.notified() => {}
                () = sleep(nap.clamp(SHORTEST_NAP, LONGEST_NAP)) => {}
            }
        }
    }
}

type Answer = (Arc<Workload>, Result<Certificate, IssueError>);

/// Requests that are on their way.
#[derive(Default)]
struct Requests {
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    asking: Vec<Arc<Workload>>,
}

impl Requests {
    fn push(&mut self, workload: &Arc<Workload>, answer: BoxFuture<'static, Answer>) {
        self.asking.push(workload.clone());
        self.answers.push(answer);
    }

    fn has(&self, workload: &Arc<Workload>) -> bool {
        self.asking.iter().any(|asking| Arc::ptr_eq(asking, workload))
    }

    async fn next(&mut self) -> Option<Answer> {
        let answer = self.answers.next().await?;
        self.asking.retain(|asking| !Arc::ptr_eq(asking, &answer.0));
        Some(answer)
    }
}

impl Shared {
    /// Starts as many requests as may be on their way of those that are due, and says how long until the next is due
    /// that none of them makes way for.
    fn ask_due(self: &Arc<Self>, requests: &mut Requests, now: SystemTime) -> Duration {
        self.rejudge(now);
        let mut waiting = self.held();
        waiting.retain(|workload| !requests.has(workload));
        let (mut due, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|workload| workload.renewal().wait(now).is_zero());
        due.sort_by_key(|workload| workload.renewal().asked());
        let authority = self.authority();
        let room = authority.breaker.room(AT_ONCE, now).saturating_sub(requests.asking.len());
        due.iter().take(room).for_each(|workload| requests.push(workload, self.clone().ask(workload, now)));
        let next = later.iter().map(|workload| workload.renewal().wait(now)).min().unwrap_or(LONGEST_NAP);
        let pause = authority.breaker.wait(now);
        if due.len() > room && !pause.is_zero() { pause } else { next.max(pause) }
    }

    fn ask(self: Arc<Self>, workload: &Arc<Workload>, now: SystemTime) -> BoxFuture<'static, Answer> {
        let workload = workload.clone();
        Box::pin(async move {
            let issued = self.issuer.issue(workload.id(), self.lifetime, now).await;
            (workload, issued)
        })
    }

    fn settle(&self, (workload, issued): Answer, now: SystemTime) {
        let spread = (self.spread)();
        match issued {
            Ok(certificate) => {
                tracing::debug!(id = %workload.id(), ?certificate, "certificate issued");
                self.answered();
                workload.renew(certificate, now, spread);
                self.changed.send_modify(|count| *count += 1);
            }
            Err(error) if error.fault() == IssueFault::Away => {
                workload.put_off(now);
                self.is_away(&with_sources(&error), now, spread);
            }
            Err(error) => {
                self.answered();
                let text = with_sources(&error);
                tracing::debug!(id = %workload.id(), error = text, "no certificate");
                workload.refuse(error.fault(), text, now, spread);
            }
        }
        let held = self.held();
        self.authority().complaints.tell(&held);
    }

    fn is_away(&self, error: &str, now: SystemTime, spread: f64) {
        if self.authority().breaker.opened(error.to_owned(), now, spread) {
            tracing::warn!(error, "no certificates can be had: those that there are serve until they expire");
        } else {
            tracing::debug!(error, "still no certificates");
        }
    }

    fn answered(&self) {
        if self.authority().breaker.close().is_some() {
            tracing::info!("the certificate authority answers again");
        }
    }

    /// Looks at the certificates anew when the roots have changed.
    fn rejudge(&self, now: SystemTime) {
        let roots = self.trust.roots();
        let before = std::mem::replace(&mut self.authority().judged_by, roots.clone());
        if !Arc::ptr_eq(&roots, &before) {
            self.held().iter().for_each(|workload| workload.rejudge(now, (self.spread)()));
        }
    }

    fn workloads(&self) -> MutexGuard<'_, HashMap<SpiffeId, Weak<Workload>>> {
        self.workloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authority(&self) -> MutexGuard<'_, AuthorityState> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workloads that somebody holds; the others are forgotten.
    fn held(&self) -> Vec<Arc<Workload>> {
        let mut workloads = self.workloads();
        workloads.retain(|_, workload| workload.strong_count() > 0);
        workloads.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod testing;
