//! One root follows the other, and whoever holds a certificate is trusted all the while.

use std::time::Duration;

use culvert::ca::CaOptions;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{
    caller::{Answer, Ask, Caller, id},
    cluster::{Cluster, Serving, eventually},
};

const HOUR: Duration = Duration::from_hours(1);

/// Roots of ten hours, certificates of two, an overlap of one: the successor is made after six.
fn options(cluster: &Cluster) -> CaOptions {
    CaOptions {
        root_lifetime: 10 * HOUR,
        max_lifetime: 2 * HOUR,
        default_lifetime: 2 * HOUR,
        overlap: HOUR,
        ..cluster.options()
    }
}

async fn certificate(cluster: &Cluster, ca: &Serving) -> Answer {
    let caller = Caller::new(cluster, ca.address).await;
    let answer =
        caller.ask(&Ask { seconds: 0, ..Ask::for_pod(&cluster.agent(1), &id("full", "sleep")) }).await;
    answer.verify(&cluster.roots(), cluster.now()).unwrap();
    answer
}

/// The root that an answer came with.
fn root(answer: &Answer) -> String {
    answer.chain.last().unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_next_root_is_announced_then_signs_then_the_old_one_goes() {
    let cluster = Cluster::new();
    let replicas = [cluster.start(options(&cluster)).await.unwrap(), cluster.start(options(&cluster)).await.unwrap()];
    let first = root(&certificate(&cluster, &replicas[0]).await);

    cluster.clock.advance(6 * HOUR);
    eventually("the next root is announced", || {
        cluster.root_count() == 2 && cluster.secret()["root-2.announced"].is_string()
    })
    .await;
    for replica in &replicas {
        assert_eq!(root(&certificate(&cluster, replica).await), first, "the next root is young");
    }

    cluster.clock.advance(HOUR / 2);
    let of_the_first = certificate(&cluster, &replicas[1]).await;
    cluster.clock.advance(HOUR / 2);
    let known = eventually_signed_by_another(&cluster, &replicas, &first).await;
    assert!(cluster.roots().contains(&first) && cluster.roots().contains(&known));
    of_the_first.verify(&cluster.roots(), cluster.now()).unwrap();

    cluster.clock.advance(3 * HOUR);
    eventually("the old root goes", || cluster.root_count() == 1).await;
    assert!(cluster.roots().contains(&known));
    assert!(cluster.secret().get("root-1.key").is_none(), "its key is forgotten");
    of_the_first.verify(&cluster.roots(), cluster.now()).unwrap_err();
    certificate(&cluster, &replicas[0]).await;
}

/// Each replica has its own moment at which it reads of the next root.
async fn eventually_signed_by_another(cluster: &Cluster, replicas: &[Serving; 2], first: &str) -> String {
    let mut found = Vec::new();
    for replica in replicas {
        let mut next = certificate(cluster, replica).await;
        for _ in 0..100 {
            if root(&next) != first {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            next = certificate(cluster, replica).await;
        }
        found.push(root(&next));
    }
    assert_eq!(found[0], found[1]);
    assert_ne!(found[0], first);
    found.remove(0)
}

#[tokio::test]
async fn the_server_shows_a_certificate_that_holds_all_the_while() {
    let cluster = Cluster::new();
    let ca = cluster.start(options(&cluster)).await.unwrap();
    for _ in 0..30 {
        let before = cluster.roots();
        cluster.clock.advance(HOUR);
        eventually("the roots hold", || {
            let roots = cluster.roots();
            let now = cluster.now();
            let holds = |pem: &str| {
                let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
                let (_, root) = X509Certificate::from_der(&pem.contents).unwrap();
                std::time::SystemTime::from(root.validity().not_after.to_datetime()) > now
            };
            roots != before || holds(&roots)
        })
        .await;
        certificate(&cluster, &ca).await;
    }
    assert!(!cluster.secret().as_object().unwrap().contains_key("root-1.key"));
}
