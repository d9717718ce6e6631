//! Certificates that age, authorities that are away, connections that stay.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use culvert_policy::Reason;
use tokio::sync::mpsc;

use super::{
    mesh::{DAY, Pair, TRUST_DOMAIN, id},
    remote::{Mesh, Mood, Remote},
};
use crate::identity::{Authority, Clock, Identities, Roots};

const SECOND: Duration = Duration::from_secs(1);
/// Half of a certificate's life, less the second by which its end may be rounded.
const HALF: Duration = Duration::from_secs(12 * 60 * 60 - 1);

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
    mesh.set(Mood::Away);
    mesh.clock.advance(HALF * 2);
    mesh.renew();
    assert_eq!(mesh.connect().peers(), (Ok(id("httpbin")), Ok(id("sleep"))));
    mesh.clock.advance(SECOND * 3);
    mesh.renew();
    assert_eq!(mesh.connect().peers(), (Err(Reason::RefusedByPeer), Err(Reason::NoCertificate)));
    mesh.set(Mood::Willing);
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
    mesh.set(Mood::Away);
    mesh.clock.advance(DAY / 2);
    let waits: Vec<_> = std::iter::repeat_with(|| {
        let wait = mesh.renew();
        mesh.clock.advance(wait);
        wait.as_secs()
    })
    .take(8)
    .collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    mesh.set(Mood::Willing);
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
fn certificates_of_a_root_that_has_gone_are_renewed_soon() {
    let mesh = Mesh::new();
    let _held = (mesh.workload("sleep"), mesh.workload("httpbin"));
    assert!(mesh.renew() > HALF);
    let other = Authority::in_memory(TRUST_DOMAIN).unwrap();
    mesh.trust.set_roots(Roots::new(vec![other.root().clone(), mesh.root.clone()]).unwrap());
    assert!(mesh.renew() > HALF, "one more root is no haste");
    mesh.trust.set_roots(Roots::new(vec![other.root().clone()]).unwrap());
    assert_eq!(mesh.renew(), SECOND * 5);
}

#[test]
fn a_new_trust_domain_makes_new_identities() {
    let mesh = Mesh::new();
    let old = mesh.workload("sleep");
    mesh.identities.set_trust_domains("new.example", &[TRUST_DOMAIN.into()]);
    let new = mesh.identities.ready_workload(&culvert_policy::SpiffeId::new("new.example", "full", "sleep"));
    let pair = Pair::connect(old.hbone_connector(new.id()), new.hbone_acceptor());
    assert_eq!(pair.peers(), (Ok(new.id().clone()), Ok(old.id().clone())), "the alias holds on both sides");
    mesh.identities.set_trust_domains("new.example", &[]);
    let pair = Pair::connect(old.hbone_connector(new.id()), new.hbone_acceptor());
    assert_eq!(pair.peers(), (Err(Reason::RefusedByPeer), Err(Reason::ForeignTrustDomain)));
    drop(old);
    assert_eq!(mesh.identities.report().len(), 1);
}

/// Each certificate is an event; how many there were decides, not how long they took.
async fn rotate_until_issued(lifetime: Duration, count: usize) -> Duration {
    let (sender, mut issued) = mpsc::unbounded_channel();
    let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
    let remote = Remote::new(authority, sender);
    let identities = Identities::new(remote, lifetime);
    let rotation = tokio::spawn(identities.clone().rotate());
    let _held = identities.workload(&id("sleep"));
    let started = Instant::now();
    let all = async {
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
