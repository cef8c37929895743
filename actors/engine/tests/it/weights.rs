//! What makes a story more or less sure, seen from outside.

use std::sync::Arc;

use tapio_engine::{Draft, Limits, Pattern, Patterns, Ring, Rules, Spec, Told, View};
use tapio_model::{EvidenceClass, Kind, Story, Verdict};

use crate::support::{Echo, Sketch, Toy, at, event, rules, secs};

/// Holds for every probe that failed, and misses some things.
#[derive(Debug)]
struct Lacking {
    missing: usize,
    is_in_doubt: bool,
}

const LACKING: Spec =
    Spec { slug: "lacking", title: "Lacking", wakes_on: &[Kind::ProbeFailed], leads_to: &[] };

impl Pattern for Lacking {
    fn spec(&self) -> &'static Spec {
        &LACKING
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let probes = view.of(Kind::ProbeFailed).filter_map(|probe| {
            let subject = tapio_model::Entity::narrowest(&probe.place)?;
            let draft = Draft::new(subject, EvidenceClass::KernelProof, probe, "failed")
                .title("a probe failed")
                .because("it failed");
            let draft = (0..self.missing).fold(draft, |it, at| it.missing(format!("thing {at}")));
            Some(if self.is_in_doubt { draft.or("other", "another", "look") } else { draft })
        });
        probes.collect()
    }
}

/// Tells events of these kinds, all at one time and place.
fn story(rules: &Arc<Rules>, kinds: &[Kind]) -> Option<Story> {
    let mut ring = Ring::new(rules);
    for (number, kind) in (1..).zip(kinds) {
        let sketch = Sketch { number, kind: *kind, impact: 0.8, ..Sketch::default() };
        ring.observe(event(&sketch), at(secs(0)));
    }
    ring.advance(at(secs(5)));
    let told = ring.take_told().into_iter().filter_map(|told| match told {
        Told::Story(story) => Some(*story),
        Told::Evidence(_) | Told::Dead { .. } => None,
    });
    told.last()
}

fn only(pattern: impl Pattern + 'static, limits: Limits) -> Arc<Rules> {
    let pattern: Arc<dyn Pattern> = Arc::new(pattern);
    let patterns: Patterns = Arc::from([pattern]);
    Arc::new(Rules::new(&patterns, limits))
}

#[test]
fn each_missing_thing_makes_a_story_less_sure_decided_or_not() {
    for is_in_doubt in [false, true] {
        let sure = [0, 1, 2, 3].map(|missing| {
            let rules = only(Lacking { missing, is_in_doubt }, Limits::default());
            let story = story(&rules, &[Kind::ProbeFailed; 2]).unwrap();
            assert_eq!(story.missing.len(), missing);
            assert_eq!(matches!(story.verdict, Verdict::Unknown { .. }), is_in_doubt);
            story.confidence.get()
        });
        assert!(sure.is_sorted_by(|more, less| more > less), "{sure:?}");
    }
}

#[test]
fn lost_events_make_a_story_less_sure_and_are_told() {
    let full = Limits { trace_events_max: 2, ..Limits::default() };
    let kinds = [Kind::ProbeFailed, Kind::ContainerKilling, Kind::ContainerKilling];
    let whole = story(&rules(Limits::default()), &kinds[..2]).unwrap();
    let lossy = story(&rules(full), &kinds).unwrap();
    assert_eq!((whole.lost, lossy.lost), (0, 1));
    assert_eq!(whole.root_cause.events.len(), lossy.root_cause.events.len());
    assert!(lossy.confidence < whole.confidence, "{} {}", lossy.confidence, whole.confidence);
}

#[test]
fn what_another_pattern_causes_is_less_sure_alone() {
    let kinds = [Kind::EndpointsChanged, Kind::Log];
    let alone = story(&only(Echo, Limits::default()), &kinds).unwrap();
    let effect = story(&rules(Limits::default()), &kinds).unwrap();
    assert_eq!((&*alone.pattern, &*effect.pattern), ("echo", "echo"));
    assert!(effect.confidence < alone.confidence, "{} {}", effect.confidence, alone.confidence);
}

#[test]
fn what_cannot_be_told_from_its_look_alike_is_at_most_half_sure() {
    let rules = only(Lacking { missing: 0, is_in_doubt: true }, Limits::default());
    let story = story(&rules, &[Kind::ProbeFailed; 4]).unwrap();
    assert!(story.confidence.get() <= 0.5, "{}", story.confidence);
    let decided = only(Toy, Limits::default());
    let kinds = [Kind::ProbeFailed, Kind::ContainerKilling];
    assert!(self::story(&decided, &kinds).unwrap().confidence > story.confidence);
}
