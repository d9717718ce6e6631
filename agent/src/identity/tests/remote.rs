//! An authority that may be in a bad mood, and the mesh that depends on it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use futures::future::{BoxFuture, ready};
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;

use super::mesh::{DAY, Pair, TRUST_DOMAIN, TestClock, id};
use crate::identity::{Authority, Certificate, Clock, Identities, IssueError, Issuer, Trust, Workload};

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Willing,
    Away,
    /// Nobody gets anything.
    Unwilling,
}

/// Tells of each certificate.
#[derive(Debug)]
pub(super) struct Remote {
    authority: Authority,
    mood: Arc<Mutex<Mood>>,
    issued: mpsc::UnboundedSender<()>,
}

impl Remote {
    pub(super) fn new(authority: Authority, issued: mpsc::UnboundedSender<()>) -> Self {
        Self { authority, mood: Arc::new(Mutex::new(Mood::Willing)), issued }
    }

    fn answer(&self, id: &SpiffeId, lifetime: Duration, now: SystemTime) -> Result<Certificate, IssueError> {
        match *self.mood.lock().unwrap() {
            Mood::Away => Err(IssueError::Sign { id: id.clone(), source: rcgen::Error::RemoteKeyError }),
            Mood::Unwilling => {
                Err(IssueError::ForeignTrustDomain { expected: "other.example".into(), found: id.clone() })
            }
            Mood::Willing => {
                // A test that has seen enough does not wait for the rest.
                let _ = self.issued.send(());
                self.authority.issue(id, lifetime, now)
            }
        }
    }
}

impl Issuer for Remote {
    fn issue<'a>(
        &'a self,
        id: &'a SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Certificate, IssueError>> {
        Box::pin(ready(self.answer(id, lifetime, now)))
    }

    fn trust(&self) -> Arc<Trust> {
        self.authority.trust()
    }
}

/// Nothing happens by chance.
pub(super) struct Mesh {
    pub(super) clock: Arc<TestClock>,
    pub(super) identities: Identities,
    pub(super) trust: Arc<Trust>,
    pub(super) root: CertificateDer<'static>,
    mood: Arc<Mutex<Mood>>,
}

impl Mesh {
    pub(super) fn new() -> Self {
        let clock = TestClock::new();
        let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
        let (trust, root) = (authority.trust(), authority.root().clone());
        let remote = Remote::new(authority, mpsc::unbounded_channel().0);
        let mood = remote.mood.clone();
        let identities = Identities::with_clock(remote, DAY, clock.clone(), || 0.0);
        Self { clock, identities, trust, root, mood }
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(super) fn workload(&self, service_account: &str) -> Arc<Workload> {
        self.identities.ready_workload(&id(service_account))
    }

    pub(super) fn renew(&self) -> Duration {
        self.identities.renew_due(self.clock.now())
    }

    pub(super) fn connect(&self) -> Pair {
        let (client, server) = (self.workload("sleep"), self.workload("httpbin"));
        Pair::connect(client.hbone_connector(server.id()), server.hbone_acceptor())
    }
}
