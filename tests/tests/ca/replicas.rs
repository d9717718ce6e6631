//! Replicas share one key, and never overwrite what they do not know.

use std::{collections::BTreeSet, time::Duration};

use culvert::ca::{CaError, CaOptions, StoreError};
use futures::future::join_all;
use serde_json::json;

use crate::{
    caller::{Ask, Caller, id},
    cluster::{Cluster, SECRET, SYSTEM, eventually},
};

#[tokio::test]
async fn replicas_that_start_at_once_share_one_root() {
    for _ in 0..25 {
        let cluster = Cluster::new();
        let replicas = join_all((0..4).map(|_| cluster.serve())).await;
        assert_eq!(cluster.root_count(), 1);
        let roots = cluster.roots();
        for replica in &replicas {
            let caller = Caller::new(&cluster, replica.address).await;
            let answer = caller.ask(&Ask::for_pod(&cluster.agent(1), &id("full", "sleep"))).await;
            answer.verify(&roots, cluster.now()).unwrap();
        }
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// A new root every hour, and four replicas that look at the Secret all the time.
#[tokio::test]
async fn replicas_that_rotate_at_once_make_one_root_each_time() {
    let cluster = Cluster::new();
    let options = CaOptions {
        root_lifetime: 4 * HOUR,
        max_lifetime: HOUR,
        default_lifetime: HOUR,
        overlap: HOUR / 2,
        poll: Duration::from_millis(2),
        ..cluster.options()
    };
    let replicas = join_all((0..4).map(|_| cluster.start(options.clone()))).await;
    let replicas: Vec<_> = replicas.into_iter().map(Result::unwrap).collect();
    for round in 2..20 {
        cluster.clock.advance(2 * HOUR);
        eventually("the next root", async || generations(&cluster).contains(&round).then_some(())).await;
        eventually("it is announced", async || {
            cluster.secret().get(format!("root-{round}.announced")).map(drop)
        })
        .await;
        assert_eq!(generations(&cluster).last(), Some(&round), "one root more, and no further");
        assert_eq!(cluster.root_count(), generations(&cluster).len(), "all of them are published");
    }
    drop(replicas);
}

/// The roots in the Secret.
fn generations(cluster: &Cluster) -> BTreeSet<u64> {
    let secret = cluster.secret();
    let names = secret.as_object().unwrap().keys();
    names.filter_map(|name| name.strip_prefix("root-")?.strip_suffix(".key")?.parse().ok()).collect()
}

#[tokio::test]
async fn a_replica_that_comes_back_has_the_same_root() {
    let cluster = Cluster::new();
    cluster.serve().await.stop().await;
    let (secret, roots) = (cluster.secret(), cluster.roots());
    let _again = cluster.serve().await;
    assert_eq!((cluster.secret(), cluster.roots()), (secret, roots));
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_named_and_left_alone() {
    let cluster = Cluster::new();
    let metadata = json!({ "namespace": SYSTEM, "name": SECRET });
    let data = json!({ "tls.key": "bm8ga2V5" });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data });
    cluster.api.apply(&secret).unwrap();
    let Err(error) = cluster.start(cluster.options()).await else { panic!("it serves") };
    assert!(matches!(error, CaError::Store(StoreError::Malformed { .. })), "{error:?}");
    assert!(error.to_string().contains("Secret culvert-system/culvert-ca"), "{error}");
    assert_eq!(cluster.secret(), data);
}

#[tokio::test]
async fn a_secret_that_is_there_but_empty_is_filled() {
    let cluster = Cluster::new();
    let metadata = json!({ "namespace": SYSTEM, "name": SECRET });
    cluster.api.apply(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata })).unwrap();
    let _ca = cluster.serve().await;
    assert_eq!(cluster.secret().as_object().unwrap().len(), 3);
}
