//! Istio's resources, which come and go.

use culvert::cluster::WatchState;
use culvert_testbed::apiserver::{ApiServer, LoggedRequest, Verb};

use crate::common::{Followed, PEER_AUTHENTICATIONS, policy, policy_key};

const ISTIO: [&str; 4] = ["peerauthentications", "destinationrules", "serviceentries", "workloadentries"];

fn policy_in(version: &str) -> serde_json::Value {
    let mut policy = policy("STRICT");
    policy["apiVersion"] = format!("security.istio.io/{version}").into();
    policy
}

#[tokio::test]
async fn a_cluster_without_istio_is_followed_and_istio_when_it_comes() {
    let server = ApiServer::start().unwrap();
    for plural in ISTIO {
        server.serve(plural, &[]).unwrap();
    }
    let it = Followed::synced(server).await;
    assert_eq!(it.state(PEER_AUTHENTICATIONS), WatchState::NotServed);

    it.server.serve("peerauthentications", &["v1beta1"]).unwrap();
    it.server.apply(&policy_in("v1beta1")).unwrap();
    it.wait("policy", |it| it.has(&policy_key())).await;
    it.wait_for_state(PEER_AUTHENTICATIONS, WatchState::Watching).await;
    assert_eq!(it.state("destinationrules.networking.istio.io"), WatchState::NotServed);
}

#[tokio::test]
async fn what_is_no_longer_served_is_no_longer_in_force() {
    let server = ApiServer::start().unwrap();
    server.apply(&policy("STRICT")).unwrap();
    let it = Followed::synced(server).await;
    assert!(it.has(&policy_key()));
    it.server.serve("peerauthentications", &[]).unwrap();
    it.wait_for_state(PEER_AUTHENTICATIONS, WatchState::NotServed).await;
    assert!(!it.has(&policy_key()));
    assert_eq!(it.cluster.problems(), []);
}

#[tokio::test]
async fn an_object_outlives_the_version_that_it_was_read_in() {
    let server = ApiServer::start().unwrap();
    server.serve("peerauthentications", &["v1beta1"]).unwrap();
    server.apply(&policy_in("v1beta1")).unwrap();
    let it = Followed::synced(server).await;
    it.wait_for_watch("peerauthentications").await;
    let mark = it.server.mark();
    it.server.serve("peerauthentications", &["v1"]).unwrap();
    it.server.drop_watches("peerauthentications");
    let listed = |it: &LoggedRequest| {
        it.resource == "peerauthentications" && it.verb == Verb::List && it.status == Some(200)
    };
    it.server.requested(mark, listed).await.unwrap();
    it.wait_for_state(PEER_AUTHENTICATIONS, WatchState::Watching).await;
    assert!(it.has(&policy_key()));
}
