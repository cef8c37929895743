use tapio_model::{StoryId, Timestamp};

use super::*;
use crate::{Fault, heard::Telling};

/// A fault of `service` from one second to another.
fn fault(service: &str, at: i64, until: i64) -> Fault {
    Fault {
        at: Timestamp::from_secs(at),
        until: Some(Timestamp::from_secs(until)),
        service: service.into(),
        kind: "cpu".into(),
        pattern: Some("service_abnormal".into()),
    }
}

/// A telling at a second; services with the same number are tied.
fn telling(at: i64, pattern: &str, ranking: &[(&str, f64)]) -> Telling {
    Telling {
        at: Timestamp::from_secs(at),
        pattern: pattern.into(),
        title: "a story".into(),
        ranking: ranking.iter().map(|(service, weight)| ((*service).into(), *weight)).collect(),
        confidence: 0.8,
        is_unknown: false,
        cited: vec![Timestamp::from_secs(at)],
    }
}

fn judged(faults: Vec<Fault>, told: Vec<Telling>) -> Judgement {
    let mut heard = Heard::default();
    heard.span = Some((Timestamp::ZERO, Timestamp::from_secs(3_600)));
    for (number, telling) in (0..).zip(told) {
        heard.telling(StoryId::from_bytes([number; 16]), telling);
    }
    Judgement::of(&Labels { faults, fault_free: Vec::new() }, &heard)
}

#[test]
fn ties_count_against_us_or_are_resolved_by_chance() {
    let ranking = [("web", 9.0), ("cart", 2.0), ("pay", 2.0)];
    let told = vec![telling(630, "service_abnormal", &ranking)];
    let score = judged(vec![fault("cart", 600, 700)], told).score();
    assert_eq!(score.cases[0].rank, Some(3));
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(score.as_at_1, 0.0) && close(score.as_at_3, 1.0));
    assert!(close(score.as_at_3_pessimistic, 1.0));
    let of_two = [("cart", 2.0), ("pay", 2.0)];
    let told = vec![telling(630, "service_abnormal", &of_two)];
    let score = judged(vec![fault("cart", 600, 700)], told).score();
    assert!(close(score.as_at_1, 0.5) && close(score.as_at_1_pessimistic, 0.0));
}

#[test]
fn a_story_after_the_fault_was_undone_is_false() {
    let right = || vec![("cart", 9.0)];
    // EARLY before its label and LATE after its end still count for the fault.
    for (at, is_its) in [(530, false), (545, true), (785, true), (800, false)] {
        let told = vec![telling(at, "service_abnormal", &right())];
        let score = judged(vec![fault("cart", 600, 700)], told).score();
        assert_eq!(score.cases[0].stories, usize::from(is_its), "{at}");
        assert!((score.false_per_hour > 0.0) != is_its, "{at}");
    }
}

#[test]
fn the_pattern_is_judged_where_the_label_names_one() {
    let told = |pattern| vec![telling(630, pattern, &[("cart", 9.0)])];
    for (pattern, want) in [("service_abnormal", 1.0), ("bad_rollout", 0.0)] {
        let score = judged(vec![fault("cart", 600, 700)], told(pattern)).score();
        assert!(score.patterns_right.is_some_and(|share| (share - want).abs() < 1e-9));
    }
    let unnamed = Fault { pattern: None, ..fault("cart", 600, 700) };
    assert_eq!(judged(vec![unnamed], told("bad_rollout")).score().patterns_right, None);
}

#[test]
fn recordings_are_pooled_by_fault_and_by_hour() {
    let mut pool = judged(
        vec![fault("cart", 600, 700)],
        vec![telling(630, "service_abnormal", &[("cart", 9.0)])],
    );
    pool.join(judged(
        vec![fault("pay", 600, 700)],
        vec![
            telling(100, "service_abnormal", &[("web", 9.0)]),
            telling(630, "service_abnormal", &[("web", 9.0), ("pay", 1.0)]),
        ],
    ));
    let score = pool.score();
    assert_eq!((score.faults, score.verdicts, pool.claims().len()), (2, 3, 3));
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(score.as_at_1, 0.5) && close(score.as_at_3, 1.0));
    assert!(close(score.stories_per_incident, 1.0));
    assert_eq!(score.false_stories.before_first_fault.stories, 1);
    assert!(score.false_stories.before_first_fault.minutes > 17.9);
    // Stories and faults of two recordings are never the same one.
    assert!(close(score.adjusted_rand_index, 1.0));
}

#[test]
fn a_story_whose_root_is_of_no_service_is_wrong_whatever_it_cites() {
    let ranking = [("(no service)", f64::MAX), ("cart", 2.0)];
    let told = vec![telling(630, "node_not_ready", &ranking)];
    let judged = judged(vec![fault("cart", 600, 700)], told);
    let score = judged.score();
    assert_eq!((score.cases[0].rank, score.cases[0].seconds_to_correct), (Some(2), None));
    assert!(judged.claims().iter().all(|claim| !claim.is_right));
}

#[test]
fn what_the_figure_owes_to_one_service_is_told() {
    let close = |a: Option<f64>, b: f64| a.is_some_and(|a| (a - b).abs() < 1e-9);
    let told = |at: i64, service: &str| telling(at, "service_abnormal", &[(service, 9.0)]);
    let faults =
        vec![fault("cart", 600, 700), fault("cart", 1_200, 1_300), fault("pay", 1_800, 1_900)];
    let stories = vec![told(630, "cart"), told(1_230, "web"), told(1_830, "pay")];
    let score = judged(faults, stories).score();
    assert!((score.by_service["cart"].as_at_1 - 0.5).abs() < 1e-9);
    assert_eq!(score.by_service["pay"].faults, 1);
    assert!(close(score.leave_one_service_out_min, 0.5), "without pay");
    assert!(close(score.leave_one_service_out_max, 1.0), "without cart");
    let one = judged(vec![fault("cart", 600, 700)], vec![told(630, "cart")]).score();
    assert_eq!(one.leave_one_service_out_min, None);
}
