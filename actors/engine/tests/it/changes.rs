//! What changes promise that wait: alone they are nothing, and with what follows they are its root.

use std::{sync::Arc, time::Duration};

use tapio_engine::{
    Draft, Found, Incidents, IncidentsCut, IncidentsRestored, Limits, Output, Pattern, Patterns,
    Ring, Rules, Shard, Spec, Told, View,
};
use tapio_model::{Entity, Event, EvidenceClass, Kind, State, Story, Verdict};

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

fn rules(limits: Limits) -> Arc<Rules> {
    let change: Arc<dyn Pattern> = Arc::new(Change);
    let patterns: Patterns = Arc::from([change, Arc::new(Refused)]);
    Arc::new(Rules::new(&patterns, limits))
}

fn ring(limits: Limits) -> Ring {
    Ring::new(&rules(limits))
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

/// Returns what is found in an event, as it is sent to the incidents.
fn found(event: &Arc<Event>) -> Option<Found> {
    let mut shard = Shard::new(rules(Limits::default()));
    shard.observe(Arc::clone(event), event.time);
    shard.advance(event.time.after(secs(29)));
    shard.take_outputs().into_iter().find_map(|output| match output {
        Output::Found(found) => Some(*found),
        Output::Retracted(..) | Output::Dead { .. } => None,
    })
}

fn found_change(pod: &'static str, trace: u8, after: Duration) -> Option<Found> {
    let number = u64::from(trace) * 1_000;
    let kind = Kind::RolloutStarted;
    found(&event(&Sketch { number, trace, kind, pod, at: after, ..Sketch::default() }))
}

/// Lets a shard's incidents take a finding in, at this time after the tests' beginning.
fn admit(incidents: &mut Incidents, found: &Found, after: Duration) {
    let Found { finding, events } = found.clone();
    assert_eq!(incidents.admit(finding, events, at(after)), [], "others are asked first");
}

#[test]
fn a_change_that_waits_is_written_down_once_and_again_when_it_is_told_otherwise() {
    let mut incidents = Incidents::sharded(rules(Limits::default()));
    let change = found_change("p", 1, secs(0)).expect("a change");
    admit(&mut incidents, &change, secs(0));
    let cut = incidents.cut();
    let [written] = &cut.waiting[..] else { panic!("{cut:?}") };
    assert_eq!((&written.finding, &written.events), (&change.finding, &change.events));
    assert_eq!((cut.waited.len(), cut.changed.len()), (0, 0));
    let without_events = Found { events: Vec::new(), ..change.clone() };
    for again in [&change, &without_events] {
        admit(&mut incidents, again, secs(1));
        assert_eq!(incidents.cut(), IncidentsCut::default(), "nothing is new");
    }
    let mut later = change;
    later.finding.late = 1;
    admit(&mut incidents, &later, secs(2));
    let cut = incidents.cut();
    let again: Vec<_> = cut.waiting.iter().map(|it| (it.number, it.finding.late)).collect();
    assert_eq!((again, cut.waited), (vec![(written.number, 1)], vec![]));
}

#[test]
fn a_change_that_waits_no_more_is_written_down_no_more() {
    let limits = Limits { incidents_open_max: 2, ..Limits::default() };
    let [first, second, third] = [("p", 1), ("q", 2), ("r", 3)]
        .map(|(pod, trace)| found_change(pod, trace, secs(0)).expect("a change"));
    let mut incidents = Incidents::sharded(rules(limits));
    for (found, after) in [(&first, 0), (&second, 1)] {
        admit(&mut incidents, found, secs(after));
    }
    let numbers: Vec<_> = incidents.cut().waiting.iter().map(|it| it.number).collect();
    let mut waited = |change: &mut dyn FnMut(&mut Incidents)| {
        change(&mut incidents);
        incidents.cut().waited
    };
    let ended = waited(&mut |it| admit(it, &third, secs(2)));
    assert_eq!(ended, numbers[..1], "there was no room");
    let ended = waited(&mut |it| it.retract(&second.finding.id));
    assert_eq!(ended, numbers[1..], "it was taken back");
    let mut cause = third.clone();
    cause.finding.verdict = Verdict::Cause;
    let ended = waited(&mut |it| admit(it, &cause, secs(3)));
    assert_eq!(ended.len(), 1, "its own trace tells what follows");
    admit(&mut incidents, &first, secs(4));
    let cut = incidents.cut();
    let numbers: Vec<_> = cut.waiting.iter().map(|it| it.number).collect();
    incidents.advance(at(secs(4) + Limits::default().quiet * 2));
    assert_eq!(incidents.cut().waited, numbers, "its time is over");
}

#[test]
fn a_change_is_the_root_of_who_is_refused_by_it_after_its_shard_changed_hands() {
    let change = found_change("p", 1, secs(0)).expect("a change");
    let mut incidents = Incidents::sharded(rules(Limits::default()));
    admit(&mut incidents, &change, secs(1));
    let IncidentsCut { waiting, .. } = incidents.cut();
    let numbers: Vec<_> = waiting.iter().map(|it| it.number).collect();
    let mut next = Incidents::sharded(rules(Limits::default()));
    next.restore(IncidentsRestored { waiting, ..IncidentsRestored::default() });
    assert_eq!(next.cut(), IncidentsCut::default(), "it lies there");
    let other = found_change("q", 3, secs(2)).expect("a change");
    admit(&mut next, &other, secs(2));
    let client = found(&refused(2, secs(20))).expect("refused");
    admit(&mut next, &client, secs(20));
    let [question] = &next.take_questions()[..] else { panic!("one incident") };
    let told = next.answer(question.story, (&[], true), at(secs(20))).told;
    let [telling] = &told[..] else { panic!("told once: {told:?}") };
    assert_eq!(&*telling.story.pattern, "change");
    assert!(telling.evidence.contains(&change.events[0]), "nobody who reads stories had it");
    let cut = next.cut();
    let [other] = &cut.waiting[..] else { panic!("{cut:?}") };
    assert!(!numbers.contains(&other.number) && cut.waited.is_empty(), "it takes no other's place");
    next.advance(at(secs(1) + Limits::default().quiet * 2));
    assert_eq!(next.cut().waited, numbers, "it waits no longer than it would have");
}

#[test]
fn where_nobody_cuts_nothing_is_noted() {
    let mut incidents = Incidents::new(rules(Limits::default()));
    let change = found_change("p", 1, secs(0)).expect("a change");
    admit(&mut incidents, &change, secs(0));
    incidents.advance(at(secs(1_000)));
    assert_eq!(incidents.cut(), IncidentsCut::default());
}
