//! What happens after everything was listed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use culvert::cluster::{Cluster, WatchState};
use culvert_testbed::apiserver::{Failure, Target, Verb};

use crate::common::{Followed, pod, pod_key, query, server_with_pods};

fn watches_of(plural: &str) -> Target {
    Target::from(plural).on(Verb::Watch)
}

#[tokio::test]
async fn objects_come_change_and_go() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    it.wait_for_pods(&["a"]).await;
    it.server.apply(&pod("b")).unwrap();
    it.wait_for_pods(&["a", "b"]).await;
    it.server.edit("pods", "default", "a", |pod| pod["status"]["phase"] = "Failed".into()).unwrap();
    it.wait("end of pod a", |it| it.cluster.read().pod_at([10, 0, 0, b'a'].into()).is_none()).await;
    it.server.delete("pods", "default", "b").unwrap();
    it.wait_for_pods(&["a"]).await;
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    let version = it.server.apply(&pod("b")).unwrap();
    it.wait_for_pods(&["a", "b"]).await;
    let mark = it.server.mark();
    it.server.drop_watches("pods");
    it.server.apply(&pod("c")).unwrap();
    it.wait_for_pods(&["a", "b", "c"]).await;

    assert_eq!(it.requests(mark, "pods", Verb::List).len(), 0);
    let resumed = it.requests(mark, "pods", Verb::Watch);
    assert_eq!(query(&resumed[0], "resourceVersion"), Some(version.to_string().as_str()), "{resumed:#?}");
}

#[tokio::test]
async fn a_watch_whose_time_is_over_goes_on_where_it_was() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    it.wait_for_watch("pods").await;
    let mark = it.server.mark();
    it.server.end_watches("pods");
    it.server.apply(&pod("b")).unwrap();
    it.wait_for_pods(&["a", "b"]).await;
    assert_eq!(it.requests(mark, "pods", Verb::List).len(), 0);
}

#[tokio::test]
async fn a_bookmark_moves_on_where_a_watch_resumes() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    it.wait_for_watch("services").await;
    let version = it.server.apply(&pod("b")).unwrap().to_string();
    let before = it.cluster.sources();
    it.server.send_bookmarks("services");
    it.wait("bookmark", |it| {
        it.cluster
            .sources()
            .iter()
            .zip(&before)
            .any(|(now, before)| now.resource == "services" && now.last_event > before.last_event)
    })
    .await;
    let mark = it.server.mark();
    it.server.drop_watches("services");
    let resumed =
        it.server.requested(mark, |it| it.resource == "services" && it.verb == Verb::Watch).await.unwrap();
    assert_eq!(query(&resumed, "resourceVersion"), Some(version.as_str()));
}

#[tokio::test]
async fn a_failure_of_a_watch_is_no_reason_for_a_list() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    it.wait_for_watch("pods").await;
    let mark = it.server.mark();
    for failure in [Failure::Unavailable, Failure::InternalError, Failure::TooManyRequests(1)] {
        it.server.fail_next(1, watches_of("pods"), failure);
    }
    it.server.drop_watches("pods");
    it.server.apply(&pod("b")).unwrap();
    it.wait_for_pods(&["a", "b"]).await;
    assert_eq!(it.requests(mark, "pods", Verb::List).len(), 0);
    let asked: Vec<_> = it.requests(mark, "pods", Verb::Watch).iter().map(|it| it.status).collect();
    assert_eq!(asked, [Some(503), Some(500), Some(429), Some(200)]);
}

#[tokio::test]
async fn a_version_that_is_gone_leads_to_a_list_that_is_reconciled() {
    for as_status in [false, true] {
        let it = Followed::synced(server_with_pods(&["stays", "goes"])).await;
        it.wait_for_watch("pods").await;
        let witness = Witness::of(&it.cluster, "stays");
        it.server.fail_gone_watches_at_once(as_status);
        let mark = it.server.mark();
        let hold = it.server.hold(watches_of("pods"));
        it.server.drop_watches("pods");
        it.server.delete("pods", "default", "goes").unwrap();
        it.server.apply(&pod("new")).unwrap();
        it.server.compact();
        drop(hold);
        it.wait_for_pods(&["stays", "new"]).await;
        assert_eq!(it.requests(mark, "pods", Verb::List).len(), 1);
        assert!(witness.saw_it_always(), "what stays must never be missing");
    }
}

#[tokio::test]
async fn a_fresh_list_that_says_nothing_new_changes_nothing() {
    let it = Followed::synced(server_with_pods(&["a", "b"])).await;
    it.wait_for_watch("pods").await;
    let (revision, mark) = (it.cluster.read().revision(), it.server.mark());
    it.server.expire_watches("pods");
    it.server.requested(mark, |it| it.resource == "pods" && it.verb == Verb::List).await.unwrap();
    it.server.requested(mark, |it| it.resource == "pods" && it.verb == Verb::Watch).await.unwrap();
    assert_eq!(it.cluster.read().revision(), revision);
}

#[tokio::test]
async fn a_watch_that_expires_while_it_is_open_leads_to_a_list() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    it.wait_for_watch("pods").await;
    let mark = it.server.mark();
    it.server.expire_watches("pods");
    it.server.requested(mark, |it| it.resource == "pods" && it.verb == Verb::List).await.unwrap();
    it.server.apply(&pod("b")).unwrap();
    it.wait_for_pods(&["a", "b"]).await;
}

#[tokio::test]
async fn a_line_that_is_no_event_leads_to_a_list() {
    let it = Followed::synced(server_with_pods(&["a"])).await;
    it.wait_for_watch("pods").await;
    let mark = it.server.mark();
    it.server.garble_watches("pods");
    it.server.requested(mark, |it| it.resource == "pods" && it.verb == Verb::List).await.unwrap();
    it.server.apply(&pod("b")).unwrap();
    it.wait_for_pods(&["a", "b"]).await;
    it.wait_for_state("pods", WatchState::Watching).await;
}

/// Looks for a pod all the time, in a thread of its own.
struct Witness {
    end: Arc<AtomicBool>,
    thread: JoinHandle<bool>,
}

impl Witness {
    fn of(cluster: &Cluster, pod: &str) -> Self {
        let (cluster, key, end) = (cluster.clone(), pod_key(pod), Arc::new(AtomicBool::new(false)));
        let ended = end.clone();
        let thread = thread::spawn(move || {
            let mut seen = true;
            while seen && !ended.load(Ordering::Relaxed) {
                seen = cluster.read().object(&key).is_some();
                thread::yield_now();
            }
            seen
        });
        Self { end, thread }
    }

    fn saw_it_always(self) -> bool {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
