//! An API server that is not there.

use culvert::cluster::WatchState;
use culvert_testbed::apiserver::{ApiServer, Verb};

use crate::common::{Followed, options, pod, server_with_pods};

#[tokio::test]
async fn the_last_state_serves_on_and_watches_resume_when_the_server_is_back() {
    let it = Followed::synced(server_with_pods(&["a", "b"])).await;
    it.wait_for_watch("pods").await;
    let mark = it.server.mark();
    it.server.go_away().unwrap();
    for resource in ["pods", "services", "configmaps/istio"] {
        it.wait_for_state(resource, WatchState::Retrying).await;
    }
    it.wait_for_pods(&["a", "b"]).await;
    assert!(*it.cluster.synced().borrow());

    it.server.delete("pods", "default", "b").unwrap();
    it.server.apply(&pod("c")).unwrap();
    it.server.come_back().unwrap();
    it.wait_for_pods(&["a", "c"]).await;
    assert_eq!(it.requests(mark, "pods", Verb::List).len(), 0, "it resumes where it was");
    it.wait("end of all errors", |it| it.cluster.sources().iter().all(|status| status.error.is_none())).await;
}

#[tokio::test]
async fn a_server_that_forgot_everything_is_listed_again() {
    let it = Followed::synced(server_with_pods(&["a", "b"])).await;
    it.wait_for_watch("pods").await;
    it.server.go_away().unwrap();
    it.wait_for_state("pods", WatchState::Retrying).await;
    it.server.delete("pods", "default", "b").unwrap();
    it.server.compact();
    it.server.come_back().unwrap();
    it.wait_for_pods(&["a"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let server = ApiServer::start().unwrap();
    server.apply(&pod("a")).unwrap();
    server.go_away().unwrap();
    let it = Followed::begin(server, options()).await;
    it.wait_for_state("pods", WatchState::Retrying).await;
    assert!(!*it.cluster.synced().borrow());
    it.server.come_back().unwrap();
    it.wait_until_synced().await;
    it.wait_for_pods(&["a"]).await;
}
