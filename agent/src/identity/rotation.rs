//! Which certificates are asked for when, and what becomes of the answers.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{
    Certificate, IssueError, IssueFault, Issuer, Roots, Spread, Workload,
    breaker::Breaker,
    complaints::Complaints,
    failing::{Failing, with_sources},
    requests::{Answer, Requests},
};

/// How many certificates are asked for at once.
const AT_ONCE: usize = 8;

/// Asks the issuer on behalf of all workloads.
#[derive(Debug)]
pub(super) struct Rotation {
    issuer: Box<dyn Issuer>,
    lifetime: Duration,
    spread: Spread,
    known: Mutex<Known>,
    /// Counts the certificates that were issued.
    pub(super) issued: watch::Sender<u64>,
}

/// What is known of whoever signs.
#[derive(Debug)]
struct Known {
    breaker: Breaker,
    complaints: Complaints,
    /// The roots by which the certificates that are held were last judged.
    judged_by: Arc<Roots>,
}

impl Rotation {
    pub(super) fn new(issuer: Box<dyn Issuer>, lifetime: Duration, spread: Spread) -> Self {
        let known = Known {
            breaker: Breaker::closed(),
            complaints: Complaints::default(),
            judged_by: issuer.trust().roots(),
        };
        Self { issuer, lifetime, spread, known: Mutex::new(known), issued: watch::Sender::new(0) }
    }

    pub(super) fn issuer(&self) -> &dyn Issuer {
        &*self.issuer
    }

    /// Why the authority is away, and when it is asked again, if it is.
    pub(super) fn outage(&self) -> Option<(Failing, SystemTime)> {
        let known = self.known();
        known.breaker.failing().map(|failing| (failing.clone(), known.breaker.due()))
    }

    /// Starts as many requests as may be on their way of those that are due at `now`, and says how long from then on
    /// there is nothing to do but to wait for answers.
    pub(super) fn ask_due(
        self: &Arc<Self>,
        held: Vec<Arc<Workload>>,
        requests: &mut Requests,
        now: SystemTime,
    ) -> Duration {
        self.rejudge(&held, now);
        let idle = held.into_iter().filter(|workload| !requests.has(workload));
        let (mut due, later): (Vec<_>, Vec<_>) =
            idle.partition(|workload| workload.renewal().wait(now).is_zero());
        due.sort_by_key(|workload| workload.renewal().asked());
        let (room, pause) = self.room(now);
        let starting = due.len().min(room.saturating_sub(requests.count()));
        for workload in due.drain(..starting) {
            requests.push(&workload, self.clone().ask(workload.clone(), now));
        }
        let next = later.iter().map(|workload| workload.renewal().wait(now)).min().unwrap_or(Duration::MAX);
        if due.is_empty() || pause.is_zero() { next } else { pause }
    }

    /// Shows a new certificate, or decides when to ask for it again. `held` are all workloads.
    pub(super) fn settle(&self, (workload, issued): Answer, held: &[Arc<Workload>], now: SystemTime) {
        let spread = (self.spread)();
        match issued.and_then(|certificate| of_use(certificate, &workload, now)) {
            Ok(certificate) => {
                tracing::debug!(id = %workload.id(), ?certificate, "certificate issued");
                self.answered();
                workload.renew(certificate, now, spread);
                self.issued.send_modify(|count| *count += 1);
            }
            Err(error) if error.fault() == IssueFault::Away => {
                workload.put_off(now);
                self.is_away(&error, now, spread);
            }
            Err(error) => {
                tracing::debug!(id = %workload.id(), error = with_sources(&error), "no certificate");
                self.answered();
                workload.refuse(error.fault(), with_sources(&error), now, spread);
            }
        }
        self.known().complaints.tell(held);
    }

    /// Looks at the certificates anew when the roots have changed.
    fn rejudge(&self, held: &[Arc<Workload>], now: SystemTime) {
        let roots = self.issuer.trust().roots();
        let before = std::mem::replace(&mut self.known().judged_by, roots.clone());
        if !Arc::ptr_eq(&roots, &before) {
            for workload in held {
                workload.rejudge(now, (self.spread)());
            }
        }
    }

    fn room(&self, now: SystemTime) -> (usize, Duration) {
        let known = self.known();
        (known.breaker.room(AT_ONCE, now), known.breaker.wait(now))
    }

    fn ask(self: Arc<Self>, workload: Arc<Workload>, now: SystemTime) -> BoxFuture<'static, Answer> {
        Box::pin(async move {
            let issued = self.issuer.issue(workload.id(), self.lifetime, now).await;
            (workload, issued)
        })
    }

    fn is_away(&self, error: &IssueError, now: SystemTime, spread: f64) {
        let pushback = error.pushback();
        let error = with_sources(error);
        if self.known().breaker.open(error.clone(), pushback, now, spread) {
            tracing::warn!(error, "no certificates can be had: those that there are serve until they expire");
        } else {
            tracing::debug!(error, "still no certificates");
        }
    }

    fn answered(&self) {
        if self.known().breaker.close().is_some() {
            tracing::info!("the certificate authority answers again");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A certificate that is not of use takes the place of none: the one before may still hold.
fn of_use(certificate: Certificate, workload: &Workload, now: SystemTime) -> Result<Certificate, IssueError> {
    if certificate.is_of_use(now) {
        return Ok(certificate);
    }
    let Certificate { not_before, not_after, .. } = certificate;
    Err(IssueError::Useless { id: workload.id().clone(), not_before, not_after })
}
