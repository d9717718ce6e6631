//! Certificates that age, authorities that are away, connections that stay.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use culvert_policy::{Reason, SpiffeId};
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
    fn issue(&self, id: &SpiffeId, lifetime: Duration, now: SystemTime) -> Result<Certificate, IssueError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(IssueError::Sign { id: id.clone(), source: rcgen::Error::RemoteKeyError });
        }
        let _ = self.issued.send(());
        self.authority.issue(id, lifetime, now)
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
        Self { identities: Identities::with_clock(remote, DAY, clock.clone()), clock, away }
    }

    fn workload(&self, service_account: &str) -> Arc<Workload> {
        self.identities.workload(&id(service_account)).unwrap()
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
    let before = first.certificate();
    drop(first);
    assert_ne!(before.chain(), mesh.workload("sleep").certificate().chain());
}

#[test]
fn half_of_the_life_is_the_time_to_renew() {
    let mesh = Mesh::new();
    let workload = mesh.workload("sleep");
    let first = workload.certificate();
    let wait = mesh.renew();
    assert!(wait <= DAY / 2 && wait > HALF, "{wait:?}");
    mesh.clock.advance(wait.checked_sub(SECOND).unwrap());
    assert_eq!(mesh.renew(), SECOND);
    assert_eq!(workload.certificate().chain(), first.chain());
    mesh.clock.advance(SECOND);
    assert!(mesh.renew() > HALF);
    assert_ne!(workload.certificate().chain(), first.chain());
    assert!(workload.certificate().not_after() > first.not_after());
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
    assert_eq!(pair.client.connection.peer_certificates().unwrap(), server.certificate().chain());
    assert_eq!(pair.server.connection.peer_certificates().unwrap(), client.certificate().chain());
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
fn a_client_without_a_certificate_that_holds_knows_it() {
    let mesh = Mesh::new();
    let client = mesh.workload("sleep");
    mesh.clock.advance(DAY * 2);
    let server = mesh.workload("httpbin");
    let pair = Pair::connect(client.hbone_connector(server.id()), server.hbone_acceptor());
    assert_eq!(pair.peers(), (Err(Reason::NoCertificate), Err(Reason::NoPeerCertificate)));
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
    let before = workload.certificate();
    assert!(mesh.renew() > HALF);
    assert_ne!(workload.certificate().chain(), before.chain());
}

#[test]
fn a_clock_set_back_renews_what_does_not_hold_yet() {
    let mesh = Mesh::new();
    let now = mesh.clock.now();
    mesh.clock.advance(DAY);
    let workload = mesh.workload("sleep");
    assert!(!workload.certificate().holds_at(now));
    mesh.identities.renew_due(now);
    assert!(workload.certificate().holds_at(now));
}

#[test]
fn another_trust_domain_gets_no_certificate() {
    let mesh = Mesh::new();
    let error = mesh.identities.workload(&SpiffeId::new("other.example", "full", "sleep")).unwrap_err();
    assert!(matches!(error, IssueError::ForeignTrustDomain { .. }), "{error}");
}

/// Each certificate is an event; how many there were decides, not how long they took.
async fn rotate_until_issued(lifetime: Duration, count: usize) -> (Duration, Identities) {
    let (sender, mut issued) = mpsc::unbounded_channel();
    let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
    let remote = Remote { authority, away: Arc::default(), issued: sender };
    let identities = Identities::new(remote, lifetime);
    let rotation = tokio::spawn(identities.clone().rotate());
    let _held = identities.workload(&id("sleep")).unwrap();
    let started = Instant::now();
    let all = async {
        for _ in 0..count {
            issued.recv().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("certificates were renewed");
    rotation.abort();
    (started.elapsed(), identities)
}

#[tokio::test]
async fn rotation_runs_by_itself() {
    rotate_until_issued(SECOND * 2, 3).await;
}

#[tokio::test]
async fn the_shortest_life_is_no_hot_loop() {
    let (elapsed, _) = rotate_until_issued(Duration::ZERO, 8).await;
    assert!(elapsed >= SECOND, "eight certificates in {elapsed:?}");
}
