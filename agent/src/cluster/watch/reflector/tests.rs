//! What is done about each fault, without an API server and without waiting.

use kube::{Client, Config};
use serde_json::value::RawValue;

use super::*;
use crate::cluster::{
    Index, Kind, Settings,
    watch::{Timing, wire::Change},
};

/// Counts the lists that were put in force.
#[derive(Default)]
struct Lists(usize);

impl Sink for Lists {
    type Listing = ();

    fn page(&self, (): &mut (), _: &[&RawValue]) {}

    fn complete(&mut self, (): ()) {
        self.0 += 1;
    }

    fn change(&mut self, _: &[Change<'_>]) {}
}

/// A follower of pods that asks nobody.
fn reflector() -> Reflector<Lists> {
    reflector_of(shared())
}

fn reflector_of(shared: Shared) -> Reflector<Lists> {
    Reflector::new(Resource::Kind(Kind::Pod), Lists::default(), shared)
}

fn shared() -> Shared {
    let client = Client::try_from(Config::new("http://192.0.2.1".parse().unwrap())).unwrap();
    let cluster = Cluster::new(Index::new(Settings::default()));
    cluster.progress().expect([Resource::Kind(Kind::Pod).source()]);
    Shared { api: Api::new(client, Timing::default()), cluster, outage: Arc::default(), page_size: 500 }
}

fn listing() -> Stage {
    Stage::List { path: "/api/v1/pods".to_owned() }
}

fn watching() -> Stage {
    Stage::Watch { path: "/api/v1/pods".to_owned(), version: "7".to_owned() }
}

fn away(retry_after: Option<u64>) -> Fault {
    let retry_after = retry_after.map(Duration::from_secs);
    Fault::Unavailable { reason: "away".to_owned(), retry_after }
}

fn denied() -> Fault {
    Fault::Denied("pods is forbidden".to_owned())
}

fn cut() -> Fault {
    Fault::Cut("connection reset".to_owned())
}

fn malformed() -> Fault {
    Fault::Malformed("expected value".to_owned())
}

#[tokio::test]
async fn each_fault_says_where_to_go_on_and_how_long_to_wait_at_most() {
    for (before, fault, after, seconds) in [
        (Stage::Discover, away(None), Stage::Discover, 1),
        (listing(), away(None), listing(), 1),
        (watching(), away(None), watching(), 1),
        (watching(), away(Some(7)), watching(), 8),
        (watching(), cut(), watching(), 1),
        (watching(), denied(), watching(), 1),
        (listing(), Fault::Expired, listing(), 1),
        (watching(), Fault::Expired, listing(), 1),
        (watching(), malformed(), listing(), 1),
        (watching(), Fault::NotServed, Stage::Discover, 1),
        (listing(), Fault::NotServed, Stage::Discover, 30),
        (Stage::Discover, Fault::NotServed, Stage::Discover, 30),
    ] {
        let mut stage = before.clone();
        let wait = reflector().recover(&mut stage, &fault, 1.0);
        assert_eq!((&stage, wait.as_secs()), (&after, seconds), "{before:?} {fault:?}");
    }
}

#[tokio::test]
async fn no_fault_is_met_in_a_hot_loop() {
    for fault in [away(None), cut(), denied(), malformed(), Fault::Expired, Fault::NotServed] {
        let mut it = reflector();
        let mut stage = watching();
        let wait: Duration = (0..20).map(|_| it.recover(&mut stage, &fault, 0.5)).sum();
        assert!(wait > Duration::from_mins(3), "{fault:?} twenty times within {wait:?}");
    }
}

/// When an agent asks, beginning with the moment at which it lost the API server.
fn tries(agent: u32, shared: &Shared) -> impl Iterator<Item = Duration> + use<> {
    let (mut it, mut stage, mut now) = (reflector_of(shared.clone()), watching(), Duration::ZERO);
    (0..).map(move |attempt| {
        let this = now;
        now += it.recover(&mut stage, &away(None), random(agent, attempt));
        this
    })
}

/// Evenly spread from 0 to 1, and the same in each run.
fn random(agent: u32, attempt: u32) -> f64 {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_8;
    (f64::from(agent * 37 + attempt) * GOLDEN_RATIO).fract()
}

#[tokio::test]
async fn an_api_server_that_is_away_for_an_hour_is_asked_four_times_a_minute() {
    let shared = shared();
    for agent in 0..10 {
        let count = tries(agent, &shared).take_while(|at| *at < Duration::from_hours(1)).count();
        assert!((200..300).contains(&count), "{count}");
    }
}

#[tokio::test]
async fn a_thousand_agents_come_back_over_half_a_minute() {
    let (shared, back) = (shared(), Duration::from_mins(5));
    let mut each_second = [0; 30];
    for agent in 0..1000 {
        let wait = tries(agent, &shared).find_map(|at| at.checked_sub(back)).unwrap();
        each_second[usize::try_from(wait.as_secs()).unwrap()] += 1;
    }
    assert!(each_second.iter().all(|agents| *agents < 100), "{each_second:?}");
}

#[tokio::test]
async fn a_fresh_list_is_put_off_only_after_the_api_server_was_away() {
    let mut it = reflector();
    assert_eq!(it.recover(&mut watching(), &Fault::Expired, 0.5), Duration::from_millis(500));
    for lost in [away(None), cut()] {
        let mut it = reflector();
        let mut stage = watching();
        it.recover(&mut stage, &lost, 0.5);
        assert_eq!(it.recover(&mut stage, &Fault::Expired, 0.5), Duration::from_secs(5));
    }
}

#[tokio::test]
async fn objects_outlive_a_moment_without_their_resource() {
    let mut it = reflector();
    it.listed = true;
    let mut stage = watching();
    for expected in [0, 0, 1] {
        it.recover(&mut stage, &Fault::NotServed, 0.5);
        assert_eq!((&stage, it.sink.0), (&Stage::Discover, expected));
    }
    assert_eq!(it.shared.cluster.sources()[0].state, WatchState::NotServed);
}

#[tokio::test]
async fn what_may_not_be_read_is_not_taken_for_empty() {
    let is_settled = |it: &Reflector<Lists>| it.shared.cluster.sources()[0].settled;
    let mut it = reflector();
    it.recover(&mut listing(), &denied(), 0.5);
    assert!(!is_settled(&it), "policies may be there");
    assert_eq!(it.sink.0, 0);

    it.recover(&mut listing(), &Fault::NotServed, 0.5);
    it.recover(&mut listing(), &denied(), 0.5);
    assert!(is_settled(&it), "there was nothing to be had");
}
