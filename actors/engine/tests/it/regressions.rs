//! What once went wrong.

use std::{sync::Arc, time::Duration};

use tapio_engine::{
    Draft, Incidents, Limits, Pattern, Patterns, Ring, Rules, Shard, Spec, Told, View,
};
use tapio_model::{
    Confidence, Entity, EventId, Evidence, EvidenceClass, Finding, FindingId, Incarnation, Kind,
    Outcome, Role, Source, State, Story, Timestamp, TraceId, Verdict,
};

use crate::support::{Sketch, at, event, rules, secs};

fn pod(uid: &str) -> Entity {
    Entity::Pod { uid: uid.into() }
}

/// A finding of `trace` about `subject` that rests on one event.
fn finding(trace: u8, pattern: &str, subject: &Entity, number: u8, when: Timestamp) -> Finding {
    let root = EventId::from_bytes([number; 16]);
    Finding {
        anchor: subject.clone(),
        id: FindingId {
            trace: TraceId::from_bytes([trace; 16]),
            incarnation: Incarnation::default(),
            pattern: pattern.into(),
            subject: subject.clone(),
        },
        root,
        evidence: vec![Evidence {
            time: when,
            event: root,
            role: Role::Root,
            source: Source::Kubernetes,
            kind: Kind::ProbeFailed,
            place: "here".into(),
            text: "it broke".into(),
        }],
        class: EvidenceClass::EventText,
        touches: vec![subject.clone()],
        leads_to: Vec::new(),
        verdict: Verdict::Cause,
        confidence: Confidence::new(0.7),
        title: "it broke".into(),
        root_cause: "it broke".into(),
        recommendation: Vec::new(),
        ruled_out: Vec::new(),
        missing: Vec::new(),
        lost: 0,
        late: 0,
        trace_events: 1,
    }
}

fn stories(ring: &mut Ring) -> Vec<Story> {
    let told = ring.take_told().into_iter();
    told.filter_map(|told| match told {
        Told::Story(story) => Some(*story),
        Told::Evidence(_) | Told::Dead { .. } => None,
    })
    .collect()
}

fn killing(number: u64, after: Duration) -> Sketch {
    Sketch { number, at: after, kind: Kind::ContainerKilling, impact: 0.8, ..Sketch::default() }
}

/// A probe fails and the container is killed, at once.
fn break_toy(ring: &mut Ring, after: Duration) {
    let number = after.as_secs() * 10;
    ring.observe(event(&Sketch { number, at: after, ..Sketch::default() }), at(after));
    ring.observe(event(&killing(number + 1, after)), at(after));
}

#[test]
fn what_joins_an_incident_needs_no_room() {
    let limits = Limits { incidents_open_max: 2, ..Limits::default() };
    let mut incidents = Incidents::new(rules(limits));
    for (number, uid) in [(1, "p"), (2, "q")] {
        incidents.admit(
            finding(number, "toy", &pod(uid), number, at(secs(0))),
            Vec::new(),
            at(secs(0)),
        );
    }
    let told =
        incidents.admit(finding(3, "toy", &pod("p"), 3, at(secs(1))), Vec::new(), at(secs(1)));
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(incidents.open_incidents(), 2);
}

#[test]
fn an_incident_leaves_nothing_behind() {
    let rules = rules(Limits::default());
    let mut incidents = Incidents::new(Arc::clone(&rules));
    let wide = |number, pattern: &str| {
        let mut wide = finding(1, pattern, &pod("p"), number, at(secs(0)));
        wide.touches.push(pod("wide"));
        wide
    };
    incidents.admit(wide(1, "toy"), Vec::new(), at(secs(0)));
    // Amended to touch less; then replaced by a better one.
    incidents.admit(finding(1, "toy", &pod("p"), 1, at(secs(0))), Vec::new(), at(secs(1)));
    incidents.admit(wide(2, "doubt"), Vec::new(), at(secs(2)));
    let doubt = finding(1, "doubt", &pod("p"), 2, at(secs(0))).id;
    incidents.retract(&doubt);
    incidents.advance(at(secs(90)));
    assert_eq!(incidents.open_incidents(), 0);
    incidents.advance(at(secs(9_000)));
    let fresh = Incidents::new(rules);
    assert_eq!(format!("{incidents:?}"), format!("{fresh:?}"));
}

#[test]
fn what_only_a_retracted_finding_touched_joins_nothing() {
    let mut incidents = Incidents::new(rules(Limits::default()));
    let mut doubt = finding(1, "doubt", &pod("p"), 1, at(secs(0)));
    doubt.touches.push(pod("bystander"));
    let id = doubt.id.clone();
    incidents.admit(doubt, Vec::new(), at(secs(0)));
    incidents.admit(finding(1, "toy", &pod("p"), 2, at(secs(0))), Vec::new(), at(secs(1)));
    incidents.retract(&id);
    incidents.admit(finding(2, "toy", &pod("bystander"), 3, at(secs(2))), Vec::new(), at(secs(2)));
    assert_eq!(incidents.open_incidents(), 2);
}

#[test]
fn findings_beyond_the_limit_take_no_room() {
    let limits = Limits { incident_findings_max: 2, ..Limits::default() };
    let mut incidents = Incidents::new(rules(limits));
    let mut sizes = Vec::new();
    for number in 1..=200 {
        incidents.admit(
            finding(number, "toy", &pod("p"), number, at(secs(0))),
            Vec::new(),
            at(secs(1)),
        );
        sizes.push(format!("{incidents:?}").len());
    }
    // The count of further findings grows by digits.
    assert!(sizes[199] < sizes[3] + 16, "{} and then {}", sizes[3], sizes[199]);
}

#[test]
fn a_story_says_the_losses_of_each_life_once_and_at_their_latest() {
    let mut incidents = Incidents::new(rules(Limits::default()));
    // In one trace: the older finding of the later name has seen less; then its next life.
    for (pattern, number, life, lost) in [("a", 1, 0, 7), ("b", 2, 0, 3), ("a", 3, 1, 10)] {
        let mut finding = finding(1, pattern, &pod("p"), number, at(secs(0)));
        finding.id.incarnation = Incarnation(life);
        finding.lost = lost;
        incidents.admit(finding, Vec::new(), at(secs(1)));
    }
    let told = incidents.finish(at(secs(2)));
    assert_eq!(told.last().map(|telling| telling.story.lost), Some(17));
}

#[test]
fn time_without_events_passes_step_by_step() {
    let tell = |stepped: bool| {
        let mut ring = Ring::new(&rules(Limits::default()));
        break_toy(&mut ring, secs(0));
        if stepped {
            ring.advance(at(secs(500)));
        }
        break_toy(&mut ring, secs(500));
        ring.advance(at(secs(510)));
        stories(&mut ring)
    };
    let told = tell(false);
    assert_eq!(told.first().map(|story| story.opened_at), Some(at(Duration::from_millis(550))));
    let states: Vec<_> = told.iter().map(|story| story.state).collect();
    assert_eq!(states, [State::Opened, State::Resolved, State::Opened]);
    assert_eq!(told, tell(true));
}

#[test]
fn every_trace_matures_at_the_end() {
    let mut ring = Ring::new(&rules(Limits::default()));
    for second in [0, 10] {
        let beat = Sketch { number: second, at: secs(second), ..Sketch::default() };
        ring.observe(event(&beat), at(secs(second)));
    }
    ring.finish(secs(30));
    let ledger = ring.shard().ledger();
    assert_eq!((ledger.open, ledger.expired), (0, 2));
}

#[test]
fn a_clock_far_ahead_does_not_deafen_the_next_life() {
    let mut shard = Shard::new(rules(Limits::default()));
    let ahead = Sketch { at: secs(1_000_000), ..Sketch::default() };
    shard.observe(event(&ahead), at(secs(0)));
    shard.advance(at(secs(61)));
    let news = Sketch { number: 1, at: secs(62), ..Sketch::default() };
    assert_eq!(shard.observe(event(&news), at(secs(62))), Outcome::Open);
}

#[test]
fn a_resolved_story_keeps_its_events_to_itself() {
    let mut ring = Ring::new(&rules(Limits::default()));
    let first = Sketch { number: 1_000, kind: Kind::Log, ..Sketch::default() };
    ring.observe(event(&first), at(secs(0)));
    break_toy(&mut ring, secs(5));
    for second in [10, 20, 30, 40, 50, 60] {
        let hum = Sketch {
            number: 1_000 + second,
            at: secs(second),
            kind: Kind::Log,
            ..Sketch::default()
        };
        ring.observe(event(&hum), at(secs(second)));
        ring.advance(at(secs(second)));
    }
    ring.advance(at(secs(66)));
    break_toy(&mut ring, secs(67));
    ring.advance(at(secs(69)));
    let told = stories(&mut ring);
    let states: Vec<_> = told.iter().map(|story| story.state).collect();
    assert_eq!(states, [State::Opened, State::Resolved, State::Opened]);
    let [first, _, second] = told.as_slice() else { panic!("three tellings") };
    assert!(
        second.event_ids.iter().all(|event| !first.event_ids.contains(event)),
        "an event is in one story"
    );
}

/// Cites every probe there is.
#[derive(Debug)]
struct Greedy;

const GREEDY: Spec =
    Spec { slug: "greedy", title: "Greedy", wakes_on: &[Kind::ProbeFailed], leads_to: &[] };

impl Pattern for Greedy {
    fn spec(&self) -> &'static Spec {
        &GREEDY
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let recent = view.now().before(secs(1));
        let mut probes = view.of(Kind::ProbeFailed).filter(|event| event.time >= recent);
        let Some(root) = probes.next() else { return Vec::new() };
        let Some(subject) = Entity::narrowest(&root.place) else { return Vec::new() };
        let draft = Draft::new(subject, EvidenceClass::EventText, root, "it failed");
        vec![probes.fold(draft, |draft, probe| draft.step(probe, "it failed again"))]
    }
}

#[test]
fn a_long_lived_trace_does_not_grow_with_what_it_cited() {
    let greedy: Arc<dyn Pattern> = Arc::new(Greedy);
    let patterns: Patterns = Arc::from([greedy]);
    let limits = Limits { trace_past_ids_max: 8, ..Limits::default() };
    let mut shard = Shard::new(Arc::new(Rules::new(&patterns, limits)));
    let mut sizes = Vec::new();
    for second in 0..2_000 {
        let probe = Sketch { number: second, at: secs(second), impact: 0.8, ..Sketch::default() };
        shard.observe(event(&probe), at(secs(second)));
        shard.take_outputs();
        sizes.push(if second % 500 == 499 { format!("{shard:?}").len() } else { 0 });
    }
    assert!(shard.ledger().story > 1_900, "{:?}", shard.ledger());
    assert!(sizes[1_999] < sizes[499] * 5 / 4, "{} and then {}", sizes[499], sizes[1_999]);
}

/// A trace told its story and closed. A straggler began its next life, and in that life the whole
/// batch came once more: it was told a second time, because a life knows only its own events.
#[test]
fn a_repeat_from_an_earlier_life_is_late_while_a_later_one_lives() {
    let rules = rules(Limits::default());
    let window = rules.limits().window;
    let mut shard = Shard::new(rules);
    let first = [
        Sketch { number: 1, kind: Kind::ProbeFailed, ..Sketch::default() },
        killing(2, Duration::from_millis(1)),
    ];
    for sketch in &first {
        shard.observe(event(sketch), at(sketch.at));
    }
    let closed = window * 3;
    shard.advance(at(closed));
    assert_eq!((shard.live_traces(), shard.ledger().story), (0, 2));
    let straggler = Sketch { number: 3, at: secs(1), ..Sketch::default() };
    assert_eq!(shard.observe(event(&straggler), at(closed)), Outcome::Open);
    for sketch in &first {
        assert_eq!(shard.observe(event(sketch), at(closed)), Outcome::Late);
    }
    shard.advance(at(closed * 2));
    assert_eq!(shard.ledger().story, 2, "told twice");
}
