use proptest::prelude::*;
use rand::SeedableRng as _;

use super::*;

fn course(start: Option<&str>) -> Course {
    Course::new(Timing::default(), Version::new(start), StdRng::seed_from_u64(7))
}

fn version(text: &str) -> Version {
    Version::new(Some(text)).unwrap_or_default()
}

fn failed(trouble: Trouble) -> Ended {
    Ended::Failed { trouble, at: None, moved: false }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn gone_relists_at_once_but_not_for_ever_at_once() {
    let mut course = course(None);
    course.end(Ended::Listed(version("5")), secs(0));
    assert_eq!(course.step(), Step::Watch(version("5")));
    assert_eq!(course.end(failed(Trouble::Gone), secs(1)), Duration::ZERO);
    assert_eq!(course.step(), Step::List);
    assert!(course.end(failed(Trouble::Gone), secs(1)) > Duration::ZERO);
    course.thrive();
    assert_eq!(course.end(failed(Trouble::Gone), secs(2)), Duration::ZERO);
}

#[test]
fn a_restart_lists_as_of_then_and_falls_back_to_now() {
    let mut course = course(Some("7"));
    assert_eq!(course.step(), Step::ListAt(version("7")));
    course.end(failed(Trouble::Unreachable("no route".into())), secs(0));
    assert_eq!(course.step(), Step::ListAt(version("7")), "the server may come back in time");
    course.end(failed(Trouble::Gone), secs(1));
    assert_eq!(course.step(), Step::List);
}

#[test]
fn a_403_that_passes_is_retried_and_one_that_lasts_is_the_truth() {
    let mut course = course(None);
    let timing = Timing::default();
    let wait = course.end(failed(Trouble::Forbidden), secs(0));
    assert!(wait <= timing.backoff_min);
    assert_eq!(course.state, WatchState::Retrying);
    let wait = course.end(failed(Trouble::Forbidden), timing.refused_after);
    assert_eq!(course.state, WatchState::Refused);
    assert!(wait >= timing.refused_retry / 2, "{wait:?}");
    course.end(Ended::Listed(version("5")), secs(98));
    course.end(failed(Trouble::Forbidden), secs(99));
    assert_eq!(course.state, WatchState::Refused, "we may list, and may not watch");
    course.thrive();
    course.end(failed(Trouble::Forbidden), secs(100));
    assert_eq!(course.state, WatchState::Retrying, "the count begins anew");
}

#[test]
fn a_listing_that_works_does_not_hide_a_watch_that_fails() {
    let mut course = course(None);
    let mut wait = Duration::ZERO;
    for _ in 0..20 {
        course.end(Ended::Listed(version("5")), secs(0));
        wait = course.end(Ended::Closed { at: version("5"), brief: true }, secs(0));
    }
    assert!(wait >= Timing::default().backoff_max / 2, "{wait:?}");
}

#[test]
fn a_version_from_the_future_is_not_asked_for_again() {
    let mut course = course(None);
    course.end(Ended::Listed(version("900")), secs(0));
    course.end(failed(Trouble::Refused("too large".into())), secs(0));
    assert_eq!(course.step(), Step::List);
}

proptest! {
    #[test]
    fn waits_stay_within_their_bounds(troubles in prop::collection::vec(0..8_u8, 1..60)) {
        let mut course = course(Some("3"));
        let timing = Timing::default();
        let ceiling = timing.backoff_max.max(timing.refused_retry);
        for (second, trouble) in (0..).zip(troubles) {
            let trouble = match trouble {
                0 => Trouble::Gone,
                1 => Trouble::Unauthorized,
                2 => Trouble::Forbidden,
                3 => Trouble::NotServed,
                4 => Trouble::Refused(String::new()),
                5 => Trouble::Busy { why: String::new(), retry_after: Some(secs(86_400)) },
                6 => Trouble::Silent,
                _ => Trouble::Malformed(String::new()),
            };
            let was_gone = trouble == Trouble::Gone;
            let wait = course.end(failed(trouble), secs(second));
            prop_assert!(wait <= ceiling);
            prop_assert!(was_gone || wait >= timing.backoff_min / 2);
        }
    }
}
