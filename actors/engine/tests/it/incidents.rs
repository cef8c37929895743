//! What incidents promise: one story per trouble, merged into the oldest, resolved for good.

use std::time::Duration;

use tapio_engine::{Limits, Ring, Told};
use tapio_model::{Kind, State, Story};

use crate::support::{Sketch, at, event, rules, secs};

fn stories(ring: &mut Ring) -> Vec<Story> {
    let told = ring.take_told().into_iter();
    told.filter_map(|told| match told {
        Told::Story(story) => Some(*story),
        Told::Evidence(_) | Told::Dead { .. } => None,
    })
    .collect()
}

/// A toy breaks in `pod` of `trace`: a probe fails and the container is killed.
fn break_toy(ring: &mut Ring, trace: u8, pod: &'static str, after: Duration) {
    let number = u64::from(trace) * 1_000 + after.as_secs() * 10;
    let probe = Sketch { number, trace, pod, at: after, impact: 0.8, ..Sketch::default() };
    let killing = Sketch { number: number + 1, kind: Kind::ContainerKilling, ..probe };
    ring.observe(event(&probe), at(after));
    ring.observe(event(&killing), at(after));
}

#[test]
fn findings_that_touch_one_pod_are_one_story() {
    let mut ring = Ring::new(&rules(Limits::default()));
    break_toy(&mut ring, 1, "p", secs(0));
    let echo = Sketch { number: 7, trace: 2, kind: Kind::EndpointsChanged, ..Sketch::default() };
    ring.observe(event(&Sketch { at: secs(3), impact: 0.95, ..echo }), at(secs(3)));
    ring.advance(at(secs(20)));
    let told = stories(&mut ring);
    let ids: std::collections::BTreeSet<_> = told.iter().map(|story| story.id).collect();
    assert_eq!(ids.len(), 1);
    let last = told.last().expect("told");
    assert_eq!((last.pattern.as_str(), last.state), ("toy", State::Amended));
    assert_eq!(last.trace_ids.len(), 2);
    let ruled_out: Vec<_> = last.ruled_out.iter().map(|it| it.pattern.as_str()).collect();
    assert_eq!(ruled_out, ["echo"], "the consequence is not the cause");
}

#[test]
fn findings_about_two_pods_are_two_stories() {
    let mut ring = Ring::new(&rules(Limits::default()));
    break_toy(&mut ring, 1, "p", secs(0));
    break_toy(&mut ring, 2, "q", secs(0));
    ring.advance(at(secs(5)));
    assert_eq!(stories(&mut ring).len(), 2);
    assert_eq!(ring.incidents().open_incidents(), 2);
}

#[test]
fn a_quiet_incident_resolves_and_its_return_is_a_successor() {
    let mut ring = Ring::new(&rules(Limits::default()));
    break_toy(&mut ring, 1, "p", secs(0));
    ring.advance(at(secs(90)));
    let first = stories(&mut ring);
    let states: Vec<_> = first.iter().map(|story| story.state).collect();
    assert_eq!(states, [State::Opened, State::Resolved]);
    break_toy(&mut ring, 1, "p", secs(100));
    ring.advance(at(secs(110)));
    let second = stories(&mut ring);
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].id, first[0].id);
    assert_eq!(second[0].predecessor, Some(first[0].id));
}

#[test]
fn a_bridge_merges_two_incidents_into_the_older() {
    let mut ring = Ring::new(&rules(Limits::default()));
    break_toy(&mut ring, 1, "p", secs(0));
    ring.advance(at(secs(2)));
    break_toy(&mut ring, 2, "q", secs(2));
    ring.advance(at(secs(4)));
    let (p, q) = {
        let told = stories(&mut ring);
        (told[0].id, told[1].id)
    };
    // The killing of p's container is seen in q's trace too: one trace that touches both pods.
    let bridge = Sketch { number: 5, trace: 3, pod: "p", at: secs(5), ..Sketch::default() };
    ring.observe(event(&Sketch { impact: 0.8, ..bridge }), at(secs(5)));
    let killing = Sketch { number: 6, kind: Kind::ContainerKilling, ..bridge };
    ring.observe(event(&killing), at(secs(5)));
    let shared = Sketch { number: 2_020, trace: 3, pod: "q", at: secs(2), ..Sketch::default() };
    ring.observe(event(&shared), at(secs(5)));
    ring.advance(at(secs(12)));
    let told = stories(&mut ring);
    let merged = told.iter().find(|story| matches!(story.state, State::Merged { .. }));
    let merged = merged.expect("one story merges");
    assert_eq!((merged.id, merged.state), (q, State::Merged { into: p }));
    assert_eq!(ring.incidents().open_incidents(), 1);
}

#[test]
fn every_sentence_cites_events_of_the_story() {
    let mut ring = Ring::new(&rules(Limits::default()));
    break_toy(&mut ring, 1, "p", secs(0));
    ring.finish(secs(30));
    let told = stories(&mut ring);
    let story = told.last().expect("told");
    let sentences = story.summary.iter().chain([&story.root_cause]).chain(&story.recommendation);
    for sentence in sentences {
        assert!(!sentence.events.is_empty(), "{:?}", sentence.text);
        assert!(sentence.events.iter().all(|event| story.event_ids.contains(event)));
    }
    assert!(story.ruled_out.iter().all(|it| !it.events.is_empty()));
}

#[test]
fn open_incidents_are_bounded() {
    let mut ring = Ring::new(&rules(Limits { incidents_open_max: 2, ..Limits::default() }));
    for (trace, pod) in [(1, "p"), (2, "q"), (3, "r")] {
        break_toy(&mut ring, trace, pod, secs(u64::from(trace)));
    }
    ring.advance(at(secs(6)));
    assert_eq!(ring.incidents().open_incidents(), 2);
    let resolved = stories(&mut ring).into_iter().filter(|it| it.state == State::Resolved);
    assert_eq!(resolved.count(), 1);
}
