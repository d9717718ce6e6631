//! One root follows the other, and whoever holds a certificate is trusted all the while.

use std::time::Duration;

use crate::{
    caller::{Answer, Ask, Caller, id},
    cluster::{Cluster, Serving, eventually},
};
use culvert::ca::CaOptions;

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

/// Asks for a certificate until there is one that is wanted. It must always be one that everybody accepts.
async fn certificate(cluster: &Cluster, ca: &Serving, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let ask = Ask { seconds: 0, ..Ask::for_pod(&cluster.agent(1), &id("full", "sleep")) };
    eventually("a certificate", async || {
        // The server's own certificate may have ended with the jump of the clock.
        let caller = Caller::try_new(cluster, ca.address).await.ok()?;
        let answer = caller.ask(&ask).await;
        answer.verify(&cluster.roots(), cluster.now()).unwrap();
        wanted(&answer).then_some(answer)
    })
    .await
}

/// The root that an answer came with.
fn root(answer: &Answer) -> &str {
    answer.chain.last().unwrap().trim()
}

#[tokio::test]
async fn the_next_root_is_announced_then_signs_then_the_old_one_goes() {
    let cluster = Cluster::new();
    let one = cluster.start(options(&cluster)).await.unwrap();
    let other = cluster.start(options(&cluster)).await.unwrap();
    let of_first = certificate(&cluster, &one, |_| true).await;
    let first = root(&of_first);

    cluster.clock.advance(6 * HOUR);
    eventually("the next root is announced", async || {
        cluster.secret()["root-2.announced"].is_string().then_some(())
    })
    .await;
    assert_eq!(cluster.root_count(), 2);
    for replica in [&one, &other] {
        assert_eq!(root(&certificate(&cluster, replica, |_| true).await), first, "the next one is young");
    }

    cluster.clock.advance(Duration::from_secs(3599));
    let last_of_first = certificate(&cluster, &one, |_| true).await;
    assert_eq!(root(&last_of_first), first);
    cluster.clock.advance(Duration::from_secs(1));
    let of_second = certificate(&cluster, &one, |answer| root(answer) != first).await;
    let second = root(&of_second);
    certificate(&cluster, &other, |answer| root(answer) == second).await;
    last_of_first.verify(&cluster.roots(), cluster.now()).unwrap();

    cluster.clock.advance(3 * HOUR);
    eventually("the old root goes", async || (cluster.root_count() == 1).then_some(())).await;
    assert_eq!(cluster.roots().trim(), second);
    let left: Vec<_> = cluster.secret().as_object().unwrap().keys().cloned().collect();
    assert_eq!(left, ["root-2.announced", "root-2.crt", "root-2.key"]);
}

#[tokio::test]
async fn roots_follow_each_other_for_ever() {
    let cluster = Cluster::new();
    let ca = cluster.start(options(&cluster)).await.unwrap();
    for _ in 0..50 {
        cluster.clock.advance(HOUR / 2);
        certificate(&cluster, &ca, |_| true).await;
        assert!(cluster.root_count() <= 2);
    }
    assert!(cluster.secret().get("root-1.key").is_none());
}

#[tokio::test]
async fn after_a_long_absence_there_is_one_new_root() {
    let cluster = Cluster::new();
    cluster.start(options(&cluster)).await.unwrap().stop().await;
    cluster.clock.advance(100 * HOUR);
    let ca = cluster.start(options(&cluster)).await.unwrap();
    certificate(&cluster, &ca, |_| true).await;
    assert_eq!(cluster.root_count(), 1);
}
