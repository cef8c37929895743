//! What a shard that follows a log promises whoever reads it again.

use std::{sync::Arc, time::Duration};

use tapio_engine::{Limits, Restored, Shard};
use tapio_model::{Ending, Grave, Incarnation, Kind, Mark, TraceId};

use crate::support::{Sketch, at, event, hush, rules, secs};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_trace_that_was_written_down_is_booked_while_the_log_is_read_again() {
    let rules = rules(Limits::default());
    let mut shard = Shard::follow(Arc::clone(&rules));
    shard.take_in(1, at(secs(0)), &[event(&Sketch::default())]);
    let cut = shard.cut(at(secs(10)));
    assert_eq!((cut.written.len(), cut.ledger.open), (1, 1));
    let restored = Restored { low: cut.low, graves: cut.graves, traces: cut.written };
    let mut shard = Shard::restore(rules, restored);
    // Its one open event expires, which must have been booked as open.
    assert_eq!(shard.end_replay(at(secs(100)), cut.ledger), 0);
    assert_eq!(shard.live_traces(), 0);
}

#[test]
fn the_grave_that_was_dug_last_says_what_is_known() {
    let grave = |ending, incarnation, upto, until| Grave {
        trace: TraceId::from_bytes([1; 16]),
        incarnation: Incarnation(incarnation),
        newest: at(secs(0)),
        ending,
        upto,
        until: at(secs(until)),
    };
    let last = grave(Ending::Refused, 0, 5, 60);
    // One that is kept longer, and one of a life that was forgotten.
    for first in [grave(Ending::Closed, 0, 1, 600), grave(Ending::Closed, 3, 1, 40)] {
        let low = Mark { sequence: 5, now: at(secs(30)) };
        let restored = Restored { low, graves: vec![first, last], traces: Vec::new() };
        let mut shard = Shard::restore(rules(Limits::default()), restored);
        shard.take_in(5, at(secs(30)), &[event(&Sketch { at: secs(30), ..Sketch::default() })]);
        assert_eq!(shard.live_traces(), 0, "turned away the first time: {first:?}");
    }
}

/// A trace that was read again has the alarm of its deadline alone, and must think when the one does
/// that has others.
#[test]
fn an_alarm_that_rings_as_another_deadline_begins_is_not_heard() {
    hush();
    let limits = Limits { window: secs(3), settle: millis(200), ..Limits::default() };
    let mut shard = Shard::follow(rules(limits));
    let hum = Sketch { kind: Kind::Log, impact: 0.1, poison: true, ..Sketch::default() };
    // An alarm in 1.5 s; then an earlier one, whose failure puts the next try to where the first
    // one rings.
    shard.take_in(1, at(millis(100)), &[event(&hum)]);
    let urgent = Sketch { number: 1, at: millis(1_300), impact: 0.8, ..Sketch::default() };
    shard.take_in(2, at(millis(1_300)), &[event(&urgent)]);
    shard.advance(at(millis(1_650)));
    let cut = shard.cut(at(secs(10)));
    let failures: Vec<_> = cut.written.iter().map(|state| state.failures).collect();
    assert_eq!(failures, [1], "the second try has not begun");
    shard.advance(at(millis(1_700)));
    assert_eq!(shard.next_deadline(), Some(at(millis(1_950))), "and was put off, twice as far");
}
