//! Certificates that age, authorities that are away, connections that stay.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use culvert_policy::{Reason, SpiffeId};
use futures::future::{BoxFuture, ready};
use tokio::sync::mpsc;

use super::mesh::{DAY, Pair, TRUST_DOMAIN, TestClock, id};
use crate::identity::{Authority, Certificate, Clock, Identities, IssueError, Issuer, Trust, Workload};

const SECOND: Duration = Duration::from_secs(1);
/// Half of a certificate's life, less the second by which its end may be rounded.
const HALF: Duration = Duration::from_secs(12 * 60 * 60 - 1);

/// An authority that can be away, and that tells of each certificate.
#[derive(Debug)]
struct Remote {
    authority: Authority,
    away: Arc<AtomicBool>,
    issued: mpsc::UnboundedSender<()>,
}

impl Issuer for Remote {
    fn issue<'a>(
        &'a self,
        id: &'a SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Certificate, IssueError>> {
        let issued = if self.away.load(Ordering::Relaxed) {
            Err(IssueError::Sign { id: id.clone(), source: rcgen::Error::RemoteKeyError })
        } else {
            let _ = self.issued.send(());
            self.authority.issue(id, lifetime, now)
        };
        Box::pin(ready(issued))
    }

    fn trust(&self) -> Arc<Trust> {
        self.authority.trust()
    }
}

struct Mesh {
    clock: Arc<TestClock>,
    away: Arc<AtomicBool>,
    identities: Identities,
}

impl Mesh {
    fn new() -> Self {
        let (clock, away) = (TestClock::new(), Arc::new(AtomicBool::new(false)));
        let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
        let remote = Remote { authority, away: away.clone(), issued: mpsc::unbounded_channel().0 };
        Self { identities: Identities::with_clock(remote, DAY, clock.clone(), || 0.0), clock, away }
    }

    fn workload(&self, service_account: &str) -> Arc<Workload> {
        self.identities.ready_workload(&id(service_account))
    }

    fn renew(&self) -> Duration {
        self.identities.renew_due(self.clock.now())
    }

    fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn connect(&self) -> Pair {
        let (client, server) = (self.workload("sleep"), self.workload("httpbin"));
        Pair::connect(client.hbone_connector(server.id()), server.hbone_acceptor())
    }
}

#[test]
fn one_workload_is_shared_while_somebody_holds_it() {
    let mesh = Mesh::new();
    let first = mesh.workload("sleep");
    assert!(Arc::ptr_eq(&first, &mesh.workload("sleep")));
    assert!(!Arc::ptr_eq(&first, &mesh.workload("httpbin")));
    let before = first.certificate().unwrap();
    drop(first);
    assert_ne!(before.chain(), mesh.workload("sleep").certificate().unwrap().chain());
}

#[test]
fn half_of_the_life_is_the_time_to_renew() {
    let mesh = Mesh::new();
    let workload = mesh.workload("sleep");
    let first = workload.certificate().unwrap();
    let wait = mesh.renew();
    assert!(wait <= DAY / 2 && wait > HALF, "{wait:?}");
    mesh.clock.advance(wait.checked_sub(SECOND).unwrap());
    assert_eq!(mesh.renew(), SECOND);
    assert_eq!(workload.certificate().unwrap().chain(), first.chain());
    mesh.clock.advance(SECOND);
    assert!(mesh.renew() > HALF);
    assert_ne!(workload.certificate().unwrap().chain(), first.chain());
    assert!(workload.certificate().unwrap().not_after() > first.not_after());
}

#[test]
fn an_open_connection_outlives_its_certificates() {
    let mesh = Mesh::new();
    let _held = (mesh.workload("sleep"), mesh.workload("httpbin"));
    let mut open = mesh.connect();
    let shown = open.client.connection.peer_certificates().unwrap().to_vec();
    mesh.clock.advance(DAY * 2);
    mesh.renew();
    open.assert_carries_both_ways();
    let anew = mesh.connect();
    assert_eq!(anew.peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
    assert_ne!(anew.client.connection.peer_certificates().unwrap(), shown);
}

#[test]
fn a_configuration_made_before_shows_the_certificate_made_after() {
    let mesh = Mesh::new();
    let (client, server) = (mesh.workload("sleep"), mesh.workload("httpbin"));
    let (connector, acceptor) = (client.hbone_connector(server.id()), server.hbone_acceptor());
    mesh.clock.advance(DAY * 2);
    mesh.renew();
    let pair = Pair::connect(connector, acceptor);
    assert_eq!(pair.client.connection.peer_certificates().unwrap(), server.certificate().unwrap().chain());
    assert_eq!(pair.server.connection.peer_certificates().unwrap(), client.certificate().unwrap().chain());
}

#[test]
fn while_the_authority_is_away_a_certificate_serves_until_it_expires() {
    let mesh = Mesh::new();
    let _held = (mesh.workload("sleep"), mesh.workload("httpbin"));
    mesh.set_away(true);
    mesh.clock.advance(HALF * 2);
    mesh.renew();
    assert_eq!(mesh.connect().peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
    mesh.clock.advance(SECOND * 3);
    mesh.renew();
    assert_eq!(mesh.connect().peers(), (Err(Reason::RefusedByPeer), Err(Reason::NoCertificate)));
    mesh.set_away(false);
    mesh.clock.advance(SECOND * 60);
    mesh.renew();
    assert_eq!(mesh.connect().peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
}

#[test]
fn whoever_has_no_certificate_yet_shows_none_and_knows_it() {
    let mesh = Mesh::new();
    let ready = mesh.workload("httpbin");
    let new = mesh.identities.workload(&id("sleep"));
    assert!(new.valid_certificate().is_none());
    let as_client = Pair::connect(new.hbone_connector(ready.id()), ready.hbone_acceptor());
    assert_eq!(as_client.peers(), (Err(Reason::NoCertificate), Err(Reason::NoPeerCertificate)));
    let as_server = Pair::connect(ready.hbone_connector(new.id()), new.hbone_acceptor());
    assert_eq!(as_server.peers(), (Err(Reason::RefusedByPeer), Err(Reason::NoCertificate)));
    mesh.renew();
    assert_eq!(mesh.connect().peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
}

#[test]
fn failures_are_tried_again_ever_more_slowly() {
    let mesh = Mesh::new();
    let workload = mesh.workload("sleep");
    mesh.set_away(true);
    mesh.clock.advance(DAY / 2);
    let waits: Vec<_> = std::iter::repeat_with(|| {
        let wait = mesh.renew();
        mesh.clock.advance(wait);
        wait.as_secs()
    })
    .take(8)
    .collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    mesh.set_away(false);
    let before = workload.certificate().unwrap();
    assert!(mesh.renew() > HALF);
    assert_ne!(workload.certificate().unwrap().chain(), before.chain());
}

#[test]
fn a_clock_set_back_renews_what_does_not_hold_yet() {
    let mesh = Mesh::new();
    let now = mesh.clock.now();
    mesh.clock.advance(DAY);
    let workload = mesh.workload("sleep");
    assert!(!workload.certificate().unwrap().holds_at(now));
    mesh.identities.renew_due(now);
    assert!(workload.certificate().unwrap().holds_at(now));
}

#[test]
fn another_trust_domain_gets_no_certificate() {
    let mesh = Mesh::new();
    let workload = mesh.identities.ready_workload(&SpiffeId::new("other.example", "full", "sleep"));
    assert!(workload.certificate().is_none());
    let [report] = &mesh.identities.report()[..] else { panic!("one workload is held") };
    let error = report.error.as_deref().unwrap();
    assert_eq!(
        error,
        "expected an identity of trust domain cluster.local, found spiffe://other.example/ns/full/sa/sleep"
    );
}

/// Each certificate is an event; how many there were decides, not how long they took.
async fn rotate_until_issued(lifetime: Duration, count: usize) -> Duration {
    let (sender, mut issued) = mpsc::unbounded_channel();
    let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
    let remote = Remote { authority, away: Arc::default(), issued: sender };
    let identities = Identities::new(remote, lifetime);
    let rotation = tokio::spawn(identities.clone().rotate());
    let held = identities.workload(&id("sleep"));
    let started = Instant::now();
    let all = async {
        held.ready().await;
        for _ in 0..count {
            issued.recv().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("certificates were renewed");
    rotation.abort();
    started.elapsed()
}

#[tokio::test]
async fn rotation_runs_by_itself() {
    rotate_until_issued(SECOND * 2, 3).await;
}

#[tokio::test]
async fn the_shortest_life_is_no_hot_loop() {
    let elapsed = rotate_until_issued(Duration::ZERO, 3).await;
    assert!(elapsed >= SECOND * 2, "three certificates in {elapsed:?}");
}
