//! What a shard promises: every event has one outcome, a panic costs one trace, time is an input.

use std::time::Duration;

use proptest::prelude::*;
use tapio_engine::{Limits, Output, Shard};
use tapio_model::{Kind, Outcome, ShedReason};

use crate::support::{Sketch, at, event, hush, rules, secs};

fn shard(limits: Limits) -> Shard {
    Shard::new(rules(limits))
}

fn killing(number: u64, after: Duration) -> Sketch {
    Sketch { number, at: after, kind: Kind::ContainerKilling, impact: 0.8, ..Sketch::default() }
}

fn found(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Found(_))).count()
}

#[test]
fn finds_once_the_witnesses_had_time_to_settle() {
    let mut shard = shard(Limits::default());
    shard.observe(event(&Sketch::default()), at(secs(0)));
    shard.observe(event(&killing(1, secs(1))), at(secs(1)));
    shard.advance(at(Duration::from_millis(1_499)));
    assert_eq!(found(&shard.take_outputs()), 0);
    shard.advance(at(Duration::from_millis(1_600)));
    assert_eq!(found(&shard.take_outputs()), 1);
    assert_eq!((shard.ledger().story, shard.ledger().open), (2, 0));
}

#[test]
fn one_event_is_not_a_window() {
    let mut shard = shard(Limits::default());
    let lonely = Sketch { kind: Kind::EndpointsChanged, impact: 0.8, ..Sketch::default() };
    shard.observe(event(&lonely), at(secs(0)));
    shard.advance(at(secs(20)));
    assert_eq!(found(&shard.take_outputs()), 0);
    let critical = Sketch { impact: 0.95, trace: 2, number: 9, at: secs(20), ..lonely };
    shard.observe(event(&critical), at(secs(20)));
    shard.advance(at(secs(21)));
    assert_eq!(found(&shard.take_outputs()), 1, "a critical event is heard alone");
}

#[test]
fn a_repeat_is_a_duplicate_even_after_it_left_the_window() {
    let mut shard = shard(Limits::default());
    let first = Sketch::default();
    assert_eq!(shard.observe(event(&first), at(secs(0))), Outcome::Open);
    assert_eq!(shard.observe(event(&first), at(secs(1))), Outcome::Duplicate);
    for second in [20, 40, 60] {
        let beat = Sketch { number: second, at: secs(second), ..Sketch::default() };
        shard.observe(event(&beat), at(secs(second)));
    }
    assert_eq!(shard.observe(event(&first), at(secs(61))), Outcome::Duplicate);
    assert!(shard.ledger().expired > 0 && shard.ledger().balances());
}

#[test]
fn knows_repeats_among_many_events() {
    let mut shard = shard(Limits::default());
    for number in 0..200 {
        shard.observe(event(&Sketch { number, ..Sketch::default() }), at(secs(0)));
    }
    for number in 0..200 {
        let repeat = event(&Sketch { number, ..Sketch::default() });
        assert_eq!(shard.observe(repeat, at(secs(1))), Outcome::Duplicate, "{number}");
    }
}

#[test]
fn a_late_event_amends_what_was_found() {
    let mut shard = shard(Limits::default());
    shard.observe(event(&Sketch { at: secs(40), ..Sketch::default() }), at(secs(40)));
    shard.observe(event(&killing(1, secs(41))), at(secs(41)));
    shard.advance(at(secs(42)));
    assert_eq!(found(&shard.take_outputs()), 1);
    let late = Sketch { number: 2, at: secs(5), ..killing(2, secs(5)) };
    assert_eq!(shard.observe(event(&late), at(secs(43))), Outcome::Open);
    shard.advance(at(secs(44)));
    let outputs = shard.take_outputs();
    let Some(Output::Found(amended)) = outputs.first() else { panic!("no amendment") };
    assert_eq!(amended.finding.evidence.len(), 3);
    assert_eq!(amended.finding.late, 1);
    assert_eq!(amended.events.len(), 1, "only the new event is news");
}

#[test]
fn an_explicit_trace_lives_once_and_an_inferred_one_again() {
    let mut shard = shard(Limits::default());
    for (trace, inferred) in [(1, false), (2, true)] {
        let number = u64::from(trace);
        let sketch = Sketch { number, trace, inferred, ..Sketch::default() };
        shard.observe(event(&sketch), at(secs(0)));
    }
    shard.advance(at(secs(61)));
    assert_eq!(shard.live_traces(), 0);
    for (trace, inferred, outcome) in [(1, false, Outcome::Late), (2, true, Outcome::Open)] {
        let number = 10 + u64::from(trace);
        let again = Sketch { number, trace, inferred, at: secs(62), ..Sketch::default() };
        assert_eq!(shard.observe(event(&again), at(secs(62))), outcome, "trace {trace}");
    }
    let repeat = Sketch { number: 2, trace: 2, ..Sketch::default() };
    assert_ne!(shard.observe(event(&repeat), at(secs(63))), Outcome::Duplicate);
}

#[test]
fn a_repeat_never_opens_the_next_life() {
    let mut shard = shard(Limits::default());
    shard.observe(event(&Sketch::default()), at(secs(0)));
    shard.advance(at(secs(61)));
    assert_eq!(shard.observe(event(&Sketch::default()), at(secs(62))), Outcome::Late);
}

#[test]
fn what_is_older_than_the_horizon_opens_nothing() {
    let mut shard = shard(Limits::default());
    assert_eq!(shard.observe(event(&Sketch::default()), at(secs(601))), Outcome::Late);
    assert_eq!(shard.live_traces(), 0);
}

#[test]
fn every_limit_is_reached_and_named() {
    let mut few = shard(Limits { trace_events_max: 8, ..Limits::default() });
    for number in 0..9 {
        let sketch = Sketch { number, ..Sketch::default() };
        let expected =
            if number < 8 { Outcome::Open } else { Outcome::Shed(ShedReason::TraceEvents) };
        assert_eq!(few.observe(event(&sketch), at(secs(0))), expected, "event {number}");
    }
    let bytes = event(&Sketch::default()).bytes();
    let mut small = shard(Limits { trace_bytes_max: bytes * 2, ..Limits::default() });
    let outcomes: Vec<_> = (0..3)
        .map(|number| small.observe(event(&Sketch { number, ..Sketch::default() }), at(secs(0))))
        .collect();
    assert_eq!(outcomes.last(), Some(&Outcome::Shed(ShedReason::TraceBytes)));
    let mut narrow = shard(Limits { node_traces_max: 1, ..Limits::default() });
    narrow.observe(event(&Sketch::default()), at(secs(0)));
    let other = Sketch { number: 1, trace: 2, ..Sketch::default() };
    assert_eq!(narrow.observe(event(&other), at(secs(0))), Outcome::Shed(ShedReason::NodeTraces));
    let mut short = shard(Limits { trace_age_max: secs(40), ..Limits::default() });
    for second in (0..60).step_by(10) {
        let beat = Sketch { number: second, at: secs(second), ..Sketch::default() };
        short.observe(event(&beat), at(secs(second)));
    }
    short.advance(at(secs(60)));
    assert_eq!(short.ledger().expired + short.ledger().open, 6);
    assert!(short.ledger().expired >= 5, "the old life ended: {:?}", short.ledger());
}

#[test]
fn hum_leaves_room_for_signs() {
    let mut shard = shard(Limits { trace_events_max: 8, ..Limits::default() });
    let mut outcomes = Vec::new();
    for number in 0..8 {
        let mut hum = (*event(&Sketch { number, kind: Kind::Log, ..Sketch::default() })).clone();
        hum.severity = tapio_model::Severity::Info;
        outcomes.push(shard.observe(hum.into(), at(secs(0))));
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Open).count(), 6);
    let sign = Sketch { number: 99, ..Sketch::default() };
    assert_eq!(shard.observe(event(&sign), at(secs(0))), Outcome::Open);
}

#[test]
fn closed_traces_are_forgotten_at_the_limit() {
    let mut shard = shard(Limits { node_closed_max: 2, ..Limits::default() });
    for trace in 1..=4 {
        let number = u64::from(trace);
        shard.observe(event(&Sketch { number, trace, ..Sketch::default() }), at(secs(0)));
    }
    shard.advance(at(secs(61)));
    let late: Vec<_> = (1..=4)
        .map(|trace| {
            let number = u64::from(trace);
            shard.observe(event(&Sketch { number, trace, ..Sketch::default() }), at(secs(61)))
        })
        .collect();
    assert_eq!(late.iter().filter(|outcome| **outcome == Outcome::Late).count(), 2);
}

#[test]
fn poison_costs_its_trace_and_no_other() {
    hush();
    let mut shard = shard(Limits::default());
    for trace in [1, 2] {
        let number = u64::from(trace) * 10;
        let poison = trace == 1;
        shard.observe(event(&Sketch { number, trace, poison, ..Sketch::default() }), at(secs(0)));
        let killed = Sketch { trace, ..killing(number + 1, secs(0)) };
        shard.observe(event(&killed), at(secs(0)));
    }
    shard.advance(at(secs(5)));
    let outputs = shard.take_outputs();
    assert_eq!(found(&outputs), 1, "the neighbour's finding");
    let dead: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Dead { events, .. } => Some(events.len()),
            Output::Found(_) | Output::Retracted(..) => None,
        })
        .collect();
    assert_eq!(dead, [2]);
    let after = Sketch { number: 99, at: secs(6), ..Sketch::default() };
    assert_eq!(shard.observe(event(&after), at(secs(6))), Outcome::DeadLetter);
    assert!(shard.ledger().balances(), "{:?}", shard.ledger());
    assert_eq!(shard.ledger().dead_letter, 3);
}

proptest! {
    /// Whatever comes, whenever and however often: the seven outcomes add up.
    #[test]
    fn the_ledger_balances(
        inputs in proptest::collection::vec(
            (0_u64..60, 1_u8..6, 0_u64..200, 0_u64..200, any::<bool>(), 0_usize..4, any::<bool>()),
            0..300,
        ),
    ) {
        hush();
        let kinds = [Kind::ProbeFailed, Kind::ContainerKilling, Kind::EndpointsChanged, Kind::Log];
        let limits = Limits {
            trace_events_max: 12,
            node_traces_max: 3,
            node_closed_max: 2,
            late_horizon: secs(90),
            ..Limits::default()
        };
        let mut shard = shard(limits);
        for (number, trace, time, now, inferred, kind, poison) in inputs {
            let poison = poison && trace == 5;
            let sketch = Sketch {
                number, trace, at: secs(time), kind: kinds[kind], impact: 0.8, inferred, poison,
                ..Sketch::default()
            };
            shard.observe(event(&sketch), at(secs(now)));
            prop_assert!(shard.ledger().balances(), "{:?}", shard.ledger());
        }
        shard.advance(at(secs(10_000)));
        let ledger = shard.ledger();
        prop_assert!(ledger.balances() && ledger.open == 0, "{ledger:?}");
        prop_assert_eq!(shard.live_traces(), 0);
    }
}
