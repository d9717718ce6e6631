//! An API server that is not there.

use culvert::cluster::{Kind, WatchState};
use culvert_testbed::apiserver::{ApiServer, Target, Verb};
use futures::future::join_all;

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
    it.wait_for_no_errors().await;
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

#[tokio::test]
async fn agents_that_come_back_resume_each_watch_once_and_list_nothing() {
    const AGENTS: usize = 8;
    let server = server_with_pods(&["a"]);
    let agents = join_all((0..AGENTS).map(|_| Followed::synced(server.clone()))).await;
    // The eight kinds and the mesh's settings.
    let resources = Kind::ALL.len() + 1;
    let watches = || server.requests().iter().filter(|it| it.verb == Verb::Watch).count();
    agents[0].wait("watch of everything", |_| watches() >= AGENTS * resources).await;
    let mark = server.mark();
    server.go_away().unwrap();
    for it in &agents {
        it.wait_for_state("pods", WatchState::Retrying).await;
    }
    server.come_back().unwrap();
    server.apply(&pod("b")).unwrap();
    for it in &agents {
        it.wait_for_pods(&["a", "b"]).await;
        it.wait_for_no_errors().await;
    }
    agents[0].wait("watch of everything again", |_| server.mark() - mark >= AGENTS * resources).await;
    let asked = server.requests().split_off(mark);
    assert!(asked.iter().all(|it| it.verb == Verb::Watch), "{asked:#?}");
    assert_eq!(asked.len(), AGENTS * resources);
}

#[tokio::test]
async fn a_token_that_the_servers_clock_holds_for_expired_leaves_the_last_state_in_force() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    it.wait_for_watch("pods").await;
    it.server.set_clock_ahead(A_YEAR);
    it.server.drop_watches(Target::everything());
    it.wait_for_state("pods", WatchState::Retrying).await;
    let statuses = it.cluster.sources();
    let pods = statuses.iter().find(|status| status.resource == "pods").unwrap();
    let error = pods.error.as_ref().unwrap();
    assert!(error.contains("does not accept the agent's token"), "{error}");
    it.wait_for_pods(&["a"]).await;

    it.server.set_clock_ahead(0);
    it.server.apply(&pod("b")).unwrap();
    it.wait_for_pods(&["a", "b"]).await;
}

const A_YEAR: i64 = 365 * 24 * 3600;
