//! When the next certificate is asked for, by a clock that only the test moves.

use std::time::{Duration, SystemTime};

use super::mesh::{DAY, TRUST_DOMAIN, id};
use crate::identity::{Authority, Certificate, breaker::Breaker, renewal::Renewal};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// A time with no part of a second, as certificates have it.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

/// A certificate of `now` whose validity is what the test says.
fn certificate(not_before: SystemTime, not_after: SystemTime) -> Certificate {
    let authority = Authority::in_memory(TRUST_DOMAIN).unwrap();
    let issued = authority.issue(&id("sleep"), DAY, SystemTime::now()).unwrap();
    Certificate { issued: now(), not_before, not_after, ..issued }
}

fn living(life: Duration) -> Certificate {
    certificate(now() - 2 * MINUTE, now() + life)
}

fn wait_after(certificate: &Certificate, spread: f64) -> Duration {
    Renewal::after_success(certificate, now(), spread).wait(now())
}

#[test]
fn the_first_is_asked_for_at_once() {
    assert_eq!(Renewal::first().wait(now()), Duration::ZERO);
}

#[test]
fn renewals_are_spread_around_half_of_the_life() {
    let certificate = living(DAY);
    assert_eq!(wait_after(&certificate, 0.0), DAY / 2);
    assert_eq!(wait_after(&certificate, -1.0), DAY * 9 / 20);
    assert_eq!(wait_after(&certificate, 1.0), DAY * 11 / 20);
}

#[test]
fn no_lifetime_makes_a_hot_loop() {
    for (life, least) in [(3 * SECOND, 1.35), (2 * SECOND, 1.0), (SECOND, 1.0), (Duration::ZERO, 1.0)] {
        for spread in [-1.0, 0.0, 1.0] {
            let wait = wait_after(&living(life), spread);
            assert!(wait.as_secs_f64() >= least, "{life:?}: {wait:?}");
        }
    }
    for (not_before, not_after) in [
        (now() - DAY, now() - MINUTE),
        (now() + DAY, now() + 2 * DAY),
        (now(), now() + 7_900 * 365 * DAY),
        (now() + DAY, now() - DAY),
    ] {
        assert!(wait_after(&certificate(not_before, not_after), -1.0) >= SECOND);
    }
}

#[test]
fn a_life_beyond_any_is_renewed_at_half_of_it() {
    let far = 7_900 * 365 * DAY;
    assert_eq!(wait_after(&living(far), 0.0), far / 2);
}

#[test]
fn a_refusal_is_tried_again_quickly_then_slowly() {
    let mut renewal = Renewal::first();
    let waits = [(); 11].map(|()| {
        renewal = renewal.after_refusal(now(), 0.0);
        renewal.wait(now()).as_secs()
    });
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(renewal.after_refusal(now(), -1.0).wait(now()), 150 * SECOND);
    assert_eq!(renewal.after_refusal(now(), 1.0).wait(now()), 450 * SECOND);
}

#[test]
fn a_clock_set_back_ends_the_wait_once() {
    let long_ago = now() - DAY;
    let renewal = Renewal::first().after_refusal(now(), 0.0);
    assert_eq!(renewal.wait(long_ago), Duration::ZERO);
    assert_eq!(renewal.after_refusal(long_ago, 0.0).wait(long_ago), 2 * SECOND);
}

#[test]
fn a_certificate_that_lost_its_root_is_renewed_soon_and_no_wait_is_made_longer() {
    let renewal = Renewal::after_success(&living(DAY), now(), 0.0);
    assert_eq!(renewal.hastened(now(), 1.0).wait(now()), 10 * SECOND);
    let refused = Renewal::first().after_refusal(now(), 0.0);
    assert_eq!(refused.hastened(now(), 1.0), refused);
}

#[test]
fn an_authority_that_is_away_is_asked_by_one_at_a_time() {
    let mut breaker = Breaker::closed();
    assert_eq!(breaker.room(8, now()), 8);
    assert!(breaker.open("away".into(), None, now(), 0.0));
    assert_eq!(breaker.room(8, now()), 0);
    assert_eq!(breaker.wait(now()), SECOND);
    assert!(!breaker.open("away".into(), None, now(), 0.0), "those that were on their way are no news");
    assert_eq!(breaker.wait(now()), SECOND);
    let later = now() + SECOND;
    assert_eq!(breaker.room(8, later), 1);
    assert!(!breaker.open("still away".into(), None, later, 0.0));
    assert_eq!(breaker.wait(later), 2 * SECOND);
    let ended = breaker.close().unwrap();
    assert_eq!((ended.since, ended.error.as_str()), (now(), "still away"));
    assert_eq!(breaker.room(8, later), 8);
    assert_eq!(breaker.close(), None);
}

#[test]
fn an_authority_may_say_how_long_to_leave_it_alone() {
    let mut breaker = Breaker::closed();
    breaker.open("busy".into(), Some(7 * SECOND), now(), 0.0);
    assert_eq!(breaker.wait(now()), 7 * SECOND);
    breaker.open("busy".into(), Some(Duration::ZERO), now() + 7 * SECOND, 0.0);
    assert_eq!(breaker.wait(now() + 7 * SECOND), 2 * SECOND);
    breaker.open("busy".into(), Some(Duration::MAX), now() + 9 * SECOND, 0.0);
    assert_eq!(breaker.wait(now() + 9 * SECOND), MINUTE);
}
