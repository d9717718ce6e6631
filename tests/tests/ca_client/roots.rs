//! One root follows the other under agents that run.

use crate::cluster::{Cluster, HOUR, eventually, exchange, is_signed_by, ready};

#[tokio::test]
async fn one_root_follows_the_other_without_a_restart() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.agent(1), cluster.agent(2));
    let (sleep, httpbin) = (one.workload("sleep"), two.workload("httpbin"));
    ready(&sleep).await;
    ready(&httpbin).await;
    let first = one.identities.roots();
    let renewed = async |roots: usize| {
        for agent in [1, 2] {
            cluster.mount_roots(agent);
        }
        for (agent, workload) in [(&one, &sleep), (&two, &httpbin)] {
            agent.trusts(roots).await;
            agent.renewed(workload).await;
        }
        exchange(&sleep, &httpbin).await.unwrap();
    };
    cluster.advance(6 * HOUR);
    eventually("the next root is announced", || (cluster.published().len() == 2).then_some(())).await;
    renewed(2).await;
    cluster.advance(HOUR);
    renewed(2).await;
    cluster.advance(3 * HOUR);
    eventually("the old root goes", || (cluster.published().len() == 1).then_some(())).await;
    renewed(1).await;
    assert_ne!(one.identities.roots(), first);
}

/// An agent may learn of the next root as late as at the end of the overlap, and may renew as late as at the end of its
/// certificate's life: at each moment the two sides accept each other.
#[tokio::test]
async fn agents_with_the_old_and_the_new_root_talk_throughout_the_overlap() {
    let cluster = Cluster::start().await;
    let (early, late) = (cluster.agent(1), cluster.agent(2));
    let (sleep, httpbin) = (early.workload("sleep"), late.workload("httpbin"));
    ready(&sleep).await;
    ready(&httpbin).await;
    let talk = async || {
        exchange(&sleep, &httpbin).await.unwrap();
        exchange(&httpbin, &sleep).await.unwrap();
    };

    cluster.advance(6 * HOUR);
    let roots = eventually("the next root is announced", || {
        Some(cluster.published()).filter(|published| published.len() == 2)
    })
    .await;
    let (old, new) = (&roots[0], &roots[1]);
    cluster.mount_roots(1);
    early.trusts(2).await;
    early.renewed(&sleep).await;
    late.renewed(&httpbin).await;
    assert_eq!(late.identities.roots().len(), 1, "it has yet to learn of the next root");
    assert!(is_signed_by(&sleep, old) && is_signed_by(&httpbin, old), "the next root is young");
    talk().await;

    cluster.mount_roots(2);
    late.trusts(2).await;
    cluster.advance(HOUR);
    eventually("the next root signs", || {
        cluster.advance(HOUR / 100);
        early.wake();
        is_signed_by(&sleep, new).then_some(())
    })
    .await;
    assert!(is_signed_by(&httpbin, old), "it has yet to renew");
    talk().await;
    late.renewed(&httpbin).await;
    assert!(is_signed_by(&httpbin, new));
    talk().await;
}
