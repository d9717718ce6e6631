//! What is there when following begins.

use std::time::Duration;

use culvert::cluster::WatchState;
use culvert_testbed::apiserver::{Failure, LoggedRequest, Pace, Target, Verb};

use crate::common::{Followed, options, pod, query, server_with_pods};

fn lists_of(plural: &str) -> Target {
    Target::from(plural).on(Verb::List)
}

#[tokio::test]
async fn all_is_listed_in_pages_and_watched_from_there() {
    let mut small = options();
    small.page_size = 2;
    let it = Followed::begin(server_with_pods(&["a", "b", "c", "d", "e"]), small).await;
    it.wait_until_synced().await;
    assert_eq!(it.count("pods"), 5);

    let pages = it.requests(0, "pods", Verb::List);
    assert_eq!(pages.len(), 3, "{pages:#?}");
    assert!(pages.iter().all(|page| query(page, "limit") == Some("2")));
    assert!(pages[0].agent.starts_with("culvert/"), "{:?}", pages[0].agent);
    it.wait_for_watch("pods").await;
    let watches = it.requests(0, "pods", Verb::Watch);
    assert_eq!(watches.len(), 1);
    assert_eq!(query(&watches[0], "allowWatchBookmarks"), Some("true"));
    assert_eq!(it.cluster.problems(), []);
}

#[tokio::test]
async fn a_page_that_is_no_longer_to_be_had_begins_the_list_anew() {
    let mut small = options();
    small.page_size = 2;
    let server = server_with_pods(&["a", "b", "c"]);
    server.slow_down(lists_of("pods"), Pace { bytes: 200, pause: Duration::from_millis(20) });
    let it = Followed::begin(server, small).await;
    let answered =
        |it: &LoggedRequest| it.resource == "pods" && it.verb == Verb::List && it.status == Some(200);
    it.server.requested(0, answered).await.unwrap();
    it.server.compact();
    it.server.behave();
    it.wait_until_synced().await;
    it.wait_for_pods(&["a", "b", "c"]).await;
    let pages = it.requests(0, "pods", Verb::List);
    assert_eq!(pages.iter().filter(|page| query(page, "continue").is_none()).count(), 2, "{pages:#?}");
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let server = server_with_pods(&["a"]);
    server.fail_next(1, lists_of("pods"), Failure::TooManyRequests(1));
    let it = Followed::synced(server).await;
    let lists = it.requests(0, "pods", Verb::List);
    assert_eq!(lists.iter().map(|list| list.status).collect::<Vec<_>>(), [Some(429), Some(200)]);
    assert!(lists[1].at - lists[0].at >= Duration::from_secs(1), "Retry-After was 1");
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again() {
    let server = server_with_pods(&["a"]);
    server.fail_next(2, lists_of("pods"), Failure::InternalError);
    server.fail_next(2, lists_of("services"), Failure::Unavailable);
    let it = Followed::synced(server).await;
    assert_eq!(it.requests(0, "pods", Verb::List).len(), 3);
    assert_eq!(it.requests(0, "services", Verb::List).len(), 3);
    it.wait_for_state("pods", WatchState::Watching).await;
}

#[tokio::test]
async fn a_slow_list_holds_up_nothing_else() {
    let server = server_with_pods(&["a", "b"]);
    server.slow_down(lists_of("pods"), Pace { bytes: 20, pause: Duration::from_millis(5) });
    let it = Followed::begin(server, options()).await;
    it.wait_for_state("namespaces", WatchState::Watching).await;
    it.wait_until_synced().await;
    assert_eq!(it.count("pods"), 2);
}

#[tokio::test]
async fn a_list_without_an_answer_is_given_up_and_asked_for_again() {
    let server = server_with_pods(&["a"]);
    let hold = server.hold(lists_of("pods"));
    let mut impatient = options();
    impatient.timing.answer = Duration::from_millis(300);
    let it = Followed::begin(server, impatient).await;
    it.wait_for_state("pods", WatchState::Retrying).await;
    it.wait_for_state("services", WatchState::Watching).await;
    assert!(!*it.cluster.synced().borrow(), "nobody knows the pods");
    let statuses = it.cluster.sources();
    let pods = statuses.iter().find(|status| status.resource == "pods").unwrap();
    assert!(pods.error.as_ref().is_some_and(|error| error.contains("did not answer")), "{pods:?}");

    drop(hold);
    it.wait_until_synced().await;
    it.wait_for_state("pods", WatchState::Watching).await;
}

#[tokio::test]
async fn what_may_not_be_read_is_said_and_the_rest_is_followed() {
    let server = server_with_pods(&["a"]);
    server.deny(Target::from("services"));
    let it = Followed::begin(server, options()).await;
    it.wait_for_state("services", WatchState::Denied).await;
    let statuses = it.cluster.sources();
    let services = statuses.iter().find(|status| status.resource == "services").unwrap();
    assert!(services.error.as_ref().is_some_and(|error| error.contains("cannot list")), "{services:?}");
    it.server.apply(&pod("b")).unwrap();
    it.wait_for_pods(&["a", "b"]).await;
    assert!(!*it.cluster.synced().borrow(), "nobody knows the services");

    it.server.deny_nothing();
    it.wait_until_synced().await;
    it.wait_for_state("services", WatchState::Watching).await;
}

#[tokio::test]
async fn rights_that_are_lost_leave_the_last_state_in_force() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    it.wait_for_watch("pods").await;
    it.server.deny(Target::from("pods"));
    it.server.drop_watches(Target::everything());
    it.wait_for_state("pods", WatchState::Denied).await;
    it.wait_for_pods(&["a"]).await;
    assert!(*it.cluster.synced().borrow());
}
