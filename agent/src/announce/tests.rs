//! What is patched, and when, without an API server and without waiting.

use std::time::{Duration, Instant};

use super::plan::{Outcome, Patch, Plan, PodId};
use crate::{
    cluster::{Announcement, PodRef},
    enroll::{Stand, Standing},
};

fn written(name: &str, uid: &str, captured: bool) -> Announcement {
    Announcement { pod: PodRef::new("full", name), uid: uid.into(), captured }
}

fn standing(pods: &[(&str, &str, bool)]) -> Standing {
    let stand = |&(name, uid, certified): &(&str, &str, bool)| {
        (PodRef::new("full", name), Stand { uid: uid.into(), certified })
    };
    pods.iter().map(stand).collect()
}

fn patch(name: &str, uid: &str, captured: bool) -> Patch {
    Patch { id: PodId { pod: PodRef::new("full", name), uid: uid.into() }, captured }
}

const AT_ONCE: usize = 4;
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_stands_is_written_and_what_does_not_is_taken_away() {
    for (stands, is_written, expected) in [
        (&[("p", "1", true)][..], written("p", "1", false), vec![patch("p", "1", true)]),
        (&[("p", "1", true)], written("p", "1", true), vec![]),
        (&[], written("p", "1", true), vec![patch("p", "1", false)]),
        (&[], written("p", "1", false), vec![]),
        // Another pod of that name.
        (&[("p", "1", true)], written("p", "2", true), vec![patch("p", "2", false)]),
        (&[("p", "1", true)], written("p", "2", false), vec![]),
        // No certificate yet: neither written nor, where an earlier agent wrote it, taken away.
        (&[("p", "1", false)], written("p", "1", false), vec![]),
        (&[("p", "1", false)], written("p", "1", true), vec![]),
    ] {
        let patches =
            Plan::default().begin(&standing(stands), std::slice::from_ref(&is_written), Instant::now());
        assert_eq!(patches, expected, "{stands:?} {is_written:?}");
    }
}

#[test]
fn what_was_written_is_not_written_again_while_the_watch_is_late() {
    let (mut plan, now) = (Plan::default(), Instant::now());
    let (stands, before) = (standing(&[("p", "1", true)]), [written("p", "1", false)]);
    let first = plan.begin(&stands, &before, now).remove(0);
    assert_eq!(plan.begin(&stands, &before, now), [], "it is under way");
    plan.ended(first, &Outcome::Written, now, 0.5);
    assert_eq!(plan.begin(&stands, &before, now + SECOND), [], "the watch is late");
    assert_eq!(
        plan.begin(&standing(&[]), &before, now + SECOND),
        [patch("p", "1", false)],
        "it is written there"
    );
}

#[test]
fn what_somebody_took_away_is_written_again() {
    let (mut plan, now) = (Plan::default(), Instant::now());
    let stands = standing(&[("p", "1", true)]);
    let first = plan.begin(&stands, &[written("p", "1", false)], now).remove(0);
    plan.ended(first, &Outcome::Written, now, 0.5);
    assert_eq!(plan.begin(&stands, &[written("p", "1", true)], now), []);
    assert_eq!(plan.begin(&stands, &[written("p", "1", false)], now), [patch("p", "1", true)]);
}

#[test]
fn what_the_watch_never_tells_of_is_written_again_after_a_while() {
    let (mut plan, now) = (Plan::default(), Instant::now());
    let (stands, before) = (standing(&[("p", "1", true)]), [written("p", "1", false)]);
    for outcome in [Outcome::Written, Outcome::Gone] {
        let first = plan.begin(&stands, &before, now).remove(0);
        plan.ended(first, &outcome, now, 0.5);
        let next = plan.next().expect("it is looked at again");
        assert!(
            next > now + SECOND && plan.begin(&stands, &before, next.checked_sub(SECOND).unwrap()).is_empty()
        );
        let again = plan.begin(&stands, &before, next).remove(0);
        plan.ended(again, &Outcome::Written, next, 0.5);
        plan.begin(&stands, &[written("p", "1", true)], next);
    }
}

#[test]
fn few_patches_are_under_way_at_once() {
    let (mut plan, now) = (Plan::default(), Instant::now());
    let all: Vec<_> = (0..10).map(|number| written(&number.to_string(), "1", true)).collect();
    let mut done = 0;
    while done < all.len() {
        let patches = plan.begin(&standing(&[]), &all, now);
        assert!(!patches.is_empty() && patches.len() <= AT_ONCE, "{patches:?}");
        assert_eq!(plan.begin(&standing(&[]), &all, now), []);
        done += patches.len();
        for patch in patches {
            plan.ended(patch, &Outcome::Written, now, 0.5);
        }
    }
    assert!(plan.is_withdrawn(&all));
}

#[test]
fn an_api_server_that_is_away_is_left_alone_longer_and_longer() {
    let (mut plan, mut now) = (Plan::default(), Instant::now());
    let (stands, before) = (standing(&[("p", "1", true)]), [written("p", "1", false)]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let first = plan.begin(&stands, &before, now).remove(0);
        plan.ended(first, &Outcome::Away(None), now, 1.0);
        let next = plan.next().expect("it is tried again");
        assert_eq!(plan.begin(&stands, &before, next.checked_sub(Duration::from_millis(1)).unwrap()), []);
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    let first = plan.begin(&stands, &before, now).remove(0);
    plan.ended(first, &Outcome::Written, now, 1.0);
    assert_eq!(plan.begin(&standing(&[]), &before, now), [patch("p", "1", false)], "it is back");
}

#[test]
fn failures_are_spread_and_what_the_api_server_asks_for_is_added() {
    for (random, asked, expected) in [(0.0, None, 500), (1.0, None, 1000), (0.0, Some(7 * SECOND), 7500)] {
        let (mut plan, now) = (Plan::default(), Instant::now());
        plan.ended(patch("p", "1", true), &Outcome::Away(asked), now, random);
        assert_eq!(plan.next(), Some(now + Duration::from_millis(expected)));
    }
}

#[test]
fn patches_that_fail_together_count_once() {
    let (mut plan, now) = (Plan::default(), Instant::now());
    for name in ["a", "b", "c", "d"] {
        plan.ended(patch(name, "1", true), &Outcome::Away(None), now, 1.0);
    }
    assert_eq!(plan.next(), Some(now + SECOND));
}

#[test]
fn one_pod_that_is_refused_holds_up_no_other() {
    let (mut plan, now) = (Plan::default(), Instant::now());
    let stands = standing(&[("p", "1", true), ("q", "2", true)]);
    plan.ended(patch("p", "1", true), &Outcome::Refused, now, 0.0);
    let before = [written("p", "1", false), written("q", "2", false)];
    assert_eq!(plan.begin(&stands, &before, now), [patch("q", "2", true)]);
    let next = plan.next().expect("it is tried again");
    assert!(next >= now + Duration::from_mins(1));
    assert_eq!(plan.begin(&stands, &before, next), [patch("p", "1", true)]);
}
