//! What changes promise that wait: alone they are nothing, and with what follows they are its root.

use std::{sync::Arc, time::Duration};

use tapio_engine::{Draft, Limits, Pattern, Patterns, Ring, Rules, Spec, Told, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, State, Story};

use crate::support::{Sketch, at, event, secs};

/// A rollout, which waits for somebody who is refused.
#[derive(Debug)]
struct Change;

const CHANGE: Spec =
    Spec { slug: "change", title: "Change", wakes_on: &[Kind::RolloutStarted], leads_to: &[] };

/// Somebody is refused by the service that has the pod's name.
#[derive(Debug)]
struct Refused;

const REFUSED: Spec =
    Spec { slug: "refused", title: "Refused", wakes_on: &[Kind::ConnectRefused], leads_to: &[] };

fn service(event: &Event) -> Entity {
    let name = event.place.pod_uid.clone().unwrap_or_default();
    Entity::Service { namespace: "shop".into(), name }
}

impl Pattern for Change {
    fn spec(&self) -> &'static Spec {
        &CHANGE
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let draft = |change| {
            Draft::new(service(change), EvidenceClass::ObjectStatus, change, "it was changed")
                .title("it was changed, and nobody listens")
                .candidate(&["refused"])
        };
        view.of(Kind::RolloutStarted).take(1).map(draft).collect()
    }
}

impl Pattern for Refused {
    fn spec(&self) -> &'static Spec {
        &REFUSED
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let Some(first) = view.of(Kind::ConnectRefused).next() else { return Vec::new() };
        let to = first.place.pod_uid.clone().unwrap_or_default();
        let edge = Entity::Edge { from: "client".into(), to };
        let draft = Draft::new(edge, EvidenceClass::KernelProof, first, "refused");
        let mut draft = draft.title("a client is refused").touch(service(first));
        for refused in view.of(Kind::ConnectRefused) {
            draft = draft.symptom(refused, "refused");
        }
        vec![draft]
    }
}

fn ring(limits: Limits) -> Ring {
    let change: Arc<dyn Pattern> = Arc::new(Change);
    let patterns: Patterns = Arc::from([change, Arc::new(Refused)]);
    Ring::new(&Arc::new(Rules::new(&patterns, limits)))
}

fn change(pod: &'static str, after: Duration) -> Arc<Event> {
    let number = 1_000 + after.as_secs();
    let kind = Kind::RolloutStarted;
    event(&Sketch { number, trace: 1, kind, pod, at: after, ..Sketch::default() })
}

fn refused(trace: u8, after: Duration) -> Arc<Event> {
    let number = u64::from(trace) * 10_000 + after.as_secs();
    let kind = Kind::ConnectRefused;
    event(&Sketch { number, trace, kind, at: after, impact: 0.95, ..Sketch::default() })
}

fn play(ring: &mut Ring, events: &[Arc<Event>], until: Duration) -> Vec<Story> {
    for event in events {
        ring.observe(Arc::clone(event), event.time);
    }
    ring.advance(at(until));
    let told = ring.take_told().into_iter();
    told.filter_map(|told| match told {
        Told::Story(story) => Some(*story),
        Told::Evidence(_) | Told::Dead { .. } => None,
    })
    .collect()
}

#[test]
fn a_change_alone_is_no_story_and_its_events_expire() {
    let mut ring = ring(Limits::default());
    assert_eq!(play(&mut ring, &[change("p", secs(0))], secs(1_000)), []);
    assert_eq!(ring.incidents().open_incidents(), 0);
    let ledger = ring.shard().ledger();
    assert!(ledger.balances());
    assert_eq!((ledger.expired, ledger.story), (1, 0));
}

#[test]
fn a_change_is_the_root_of_who_is_refused_since_in_whatever_order_they_are_found() {
    for settled in [secs(20), secs(2)] {
        let mut ring = ring(Limits::default());
        let events = [change("p", secs(0)), refused(2, settled), refused(2, settled + secs(1))];
        let told = play(&mut ring, &events, secs(60));
        let last = told.last().expect("told");
        assert_eq!((&*last.pattern, last.trace_ids.len()), ("change", 2), "{settled:?}");
        assert!(last.references.contains(&last.root_cause_event), "its trace may still expire it");
        assert!(told.iter().all(|story| story.id == last.id));
        let ruled_out: Vec<_> = last.ruled_out.iter().map(|it| &*it.pattern).collect();
        assert_eq!(ruled_out, ["refused"], "the consequence is not the cause");
    }
}

#[test]
fn a_change_that_explains_nothing_is_ruled_out_with_its_reason() {
    let mut ring = ring(Limits::default());
    let told = play(
        &mut ring,
        &[refused(2, secs(0)), refused(2, secs(5)), change("p", secs(6)), refused(2, secs(20))],
        secs(50),
    );
    let last = told.last().expect("told");
    assert_eq!(&*last.pattern, "refused");
    let [ruled_out] = last.ruled_out.as_slice() else { panic!("{last:#?}") };
    assert!(
        ruled_out.because.ends_with("callers failed 6.0 s before already"),
        "{}",
        ruled_out.because
    );
    assert!(ruled_out.events.iter().all(|event| last.event_ids.contains(event)));
}

#[test]
fn a_change_of_something_else_is_not_named() {
    let mut ring = ring(Limits::default());
    let told = play(&mut ring, &[change("q", secs(0)), refused(2, secs(20))], secs(50));
    let last = told.last().expect("told");
    assert_eq!((&*last.pattern, last.ruled_out.len()), ("refused", 0));
    assert_eq!(told.iter().filter(|story| story.state == State::Amended).count(), 0);
}

#[test]
fn changes_that_wait_are_bounded() {
    let mut ring = ring(Limits { incidents_open_max: 1, ..Limits::default() });
    let other = event(&Sketch {
        number: 7,
        trace: 3,
        kind: Kind::RolloutStarted,
        pod: "q",
        at: secs(16),
        ..Sketch::default()
    });
    let told = play(&mut ring, &[change("p", secs(0)), other, refused(2, secs(40))], secs(70));
    assert_eq!(&*told.last().expect("told").pattern, "refused", "the older change went");
}
