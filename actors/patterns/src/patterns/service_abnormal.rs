//! A service is unlike what was learnt of it, and of all that are it explains the most.
//!
//! Evidence: lines and calls of its spans that never were and are now, or always were and are gone;
//! its own time; the time of the ways to and from it; a resource used up to its limit; requests that
//! fail by themselves, where nobody sends more of them and nothing was changed. Of a trace only the
//! deepest unlike span counts, so callers of a broken service do not.
//! Services that the baseline holds apart (neither needs the other, nor anything that the other needs;
//! each is unlike where the other is as ever) are stories of their own.
//! Root: the first anomaly of the service with the greatest sum of evidence.
//! Not this: `bad_rollout` (a new version is unlike the old one, and is learnt anew),
//! `traffic_surge` (there is more of everything, and each request is as ever), `network_loss` (the
//! ways to several others are slow), `cpu_throttling` and `noisy_neighbour` (something else is seen
//! to hold it back),
//! `cascading_dependency` (spans say themselves that they failed).
//! First look: the example trace that the evidence names, then the service's log at that time.

mod scenes;

use std::collections::{BTreeMap, BTreeSet};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Value, keys};

pub(crate) use self::scenes::SCENES;
use crate::slowness::{is_more_work, may_be_of};

const SPEC: Spec = Spec {
    slug: "service_abnormal",
    title: "A service is unlike itself",
    wakes_on: &[Kind::Anomaly],
    leads_to: &["readiness_lost", "connection_failed", "cascading_dependency", "pool_exhaustion"],
};

/// The first suspect must have so many times the evidence of the second, or the two are named.
const MARGIN: f64 = 1.5;

/// How sure it is of a service that is unlike itself alone; never quite, for a load test is unlike
/// every day too.
const SURE: f64 = 0.97;

/// How much of that goes when another service is unlike itself as much.
const RIVALRY: f64 = 0.4;

/// How much of that goes where there is hardly enough evidence to tell it at all.
const THIN: f64 = 0.04;

/// What is hardly enough: the baseline tells of a service from here on.
const HARDLY: f64 = 15.0;

/// How much of that goes where it is only slow: whoever waits for something that is not seen is slow
/// by himself, too.
const ONLY_SLOW: f64 = 0.02;

/// Stories that are told apart at most: of more services at once, the cause is one that is not seen.
const STORIES_MAX: usize = 3;

/// Signs of one service that are cited.
const SIGNS_MAX: usize = 6;

/// Finds the service that explains the most of what is unlike.
#[derive(Debug)]
pub(crate) struct Detector;

/// What is unlike in one way: its first and its latest telling, and the most it weighed.
struct Sign<'a> {
    first: &'a Event,
    latest: &'a Event,
    score: f64,
}

/// A service that is unlike itself.
struct Suspect<'a> {
    service: &'a str,
    signs: Vec<Sign<'a>>,
    /// The services that it has nothing to do with, by the latest telling.
    apart: BTreeSet<&'a str>,
    /// Whether more is asked of it.
    has_more_work: bool,
}

impl Suspect<'_> {
    /// Says whether neither of two explains the other. What both are asked for may be one wish.
    fn is_apart(&self, other: &Suspect<'_>) -> bool {
        self.apart.contains(other.service)
            && other.apart.contains(self.service)
            && !(self.has_more_work && other.has_more_work)
    }

    fn score(&self) -> f64 {
        self.signs.iter().map(|sign| sign.score).sum()
    }

    /// Says whether nothing is known of it but that it fails: that is no cause yet.
    fn only_fails(&self) -> bool {
        let is_failing =
            |event: &Event| event.attributes.text(keys::ANOMALY_SIGNAL) == Some("error_rate");
        self.signs.iter().all(|sign| is_failing(sign.first))
    }

    /// Says whether nothing but time speaks against it.
    fn is_only_slow(&self) -> bool {
        let is_time = |sign: &Sign<'_>| {
            let signal = sign.first.attributes.text(keys::ANOMALY_SIGNAL);
            matches!(signal, Some("self_time" | "edge_latency"))
        };
        self.signs.iter().all(is_time)
    }

    /// Returns how sure it is that it is this one: the less, the closer others come, the less there
    /// is of evidence, and the fewer kinds of it there are.
    fn sure(&self, others: &[&Self]) -> f64 {
        let score = self.score().max(1.0);
        let rivals = others.first().map_or(0.0, |second| second.score() / score);
        let thin = (HARDLY / score).min(1.0);
        let only_slow = if self.is_only_slow() { ONLY_SLOW } else { 0.0 };
        SURE - RIVALRY * rivals - THIN * thin - only_slow
    }
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let suspects = suspects(view);
        let stories = stories(&suspects);
        let roots: Vec<_> = stories.iter().filter_map(|story| story.first().copied()).collect();
        stories.iter().filter_map(|story| draft(story, &roots)).collect()
    }
}

/// Parts the suspects into stories: who has nothing to do with the first of any is the first of a
/// further one.
fn stories<'a, 'b>(suspects: &'b [Suspect<'a>]) -> Vec<Vec<&'b Suspect<'a>>> {
    let mut stories: Vec<Vec<&Suspect<'_>>> = Vec::new();
    for suspect in suspects {
        let explains = |story: &&mut Vec<&Suspect<'_>>| {
            story.first().is_some_and(|first| !first.is_apart(suspect))
        };
        match stories.iter_mut().find(explains) {
            Some(story) => story.push(suspect),
            None => stories.push(vec![suspect]),
        }
    }
    if stories.len() > STORIES_MAX {
        return vec![suspects.iter().collect()];
    }
    stories
}

/// Returns the services that are unlike themselves, the one with the most evidence first.
fn suspects<'a>(view: &View<'a>) -> Vec<Suspect<'a>> {
    let mut by_service: BTreeMap<&str, BTreeMap<[&str; 4], Sign<'a>>> = BTreeMap::new();
    let mut apart: BTreeMap<&str, &str> = BTreeMap::new();
    for event in view.of(Kind::Anomaly).filter(|event| is_unlike(view, event)) {
        let Some(service) = event.place.service.as_deref() else { continue };
        let text = |key| event.attributes.text(key).unwrap_or_default();
        let what = [
            text(keys::ANOMALY_SIGNAL),
            text(keys::ANOMALY_CHANGE),
            text(keys::SPAN_NAME),
            text(keys::TEMPLATE),
        ];
        // Rates are told without a look at others.
        if text(keys::ANOMALY_SIGNAL) != "error_rate" {
            apart.insert(service, text(keys::ANOMALY_APART));
        }
        let score = number(event, keys::ANOMALY_SCORE);
        let sign = by_service.entry(service).or_default().entry(what);
        let sign = sign.or_insert(Sign { first: event, latest: event, score });
        sign.latest = event;
        sign.score = sign.score.max(score);
    }
    let mut suspects: Vec<_> = by_service
        .into_iter()
        .map(|(service, signs)| {
            let mut signs: Vec<_> = signs.into_values().collect();
            signs.sort_by(|a, b| {
                b.score.total_cmp(&a.score).then_with(|| a.first.order().cmp(&b.first.order()))
            });
            let place = signs.first().map(|sign| &*sign.first.place);
            let has_more_work = place.is_some_and(|place| {
                view.of(Kind::Anomaly).any(|event| is_more_work(event, place))
            });
            let apart = apart.get(service).copied().unwrap_or_default();
            Suspect { service, signs, apart: apart.split(", ").collect(), has_more_work }
        })
        .collect();
    suspects.sort_by(|a, b| b.score().total_cmp(&a.score()).then(a.service.cmp(b.service)));
    suspects
}

/// Says whether an event tells that a service does something else than it did, or does it slower.
fn is_unlike(view: &View<'_>, event: &Event) -> bool {
    // What is repeated beside the other events of its workload is compared where it was first told.
    if event.attributes.get(keys::ANOMALY_OF).is_some() {
        return false;
    }
    match event.attributes.text(keys::ANOMALY_SIGNAL) {
        // More of the same is nothing that it never did.
        Some("request_rate") => false,
        Some("error_rate") => !is_brought(view, event),
        // A way that names its other end is slow by itself, whoever of both is well.
        Some("edge_latency") => event.attributes.get(keys::PEER_SERVICE).is_none(),
        Some("self_time") => !is_held_back(view, event),
        Some(_) | None => true,
    }
}

/// Says whether somebody brought it about that requests fail: with more of them, or with a change.
fn is_brought(view: &View<'_>, failing: &Event) -> bool {
    view.events().any(|event| {
        let is_change = matches!(event.kind, Kind::RolloutStarted | Kind::ConfigChanged);
        is_more_work(event, &failing.place)
            || (is_change && event.place.is_same_workload(&failing.place))
    })
}

/// Says whether it is seen what a service waits for: then it is slow, and not by itself.
fn is_held_back(view: &View<'_>, slow: &Event) -> bool {
    view.events().any(|event| {
        matches!(event.kind, Kind::CpuThrottled | Kind::CpuDelayed | Kind::Pressure)
            && may_be_of(&slow.place, &event.place)
    })
}

fn number(event: &Event, key: &str) -> f64 {
    match event.attributes.get(key) {
        Some(Value::Float(number)) => *number,
        Some(Value::Int(number)) => i32::try_from(*number).map_or(0.0, f64::from),
        Some(Value::Text(_) | Value::Bool(_)) | None => 0.0,
    }
}

fn draft(suspects: &[&Suspect<'_>], roots: &[&Suspect<'_>]) -> Option<Draft> {
    let (first, others) = suspects.split_first()?;
    let strongest = first.signs.first()?;
    let root = first.signs.iter().map(|sign| sign.first).min_by_key(|event| event.order())?;
    let service = first.service;
    let subject = Entity::service(&root.place)?;
    let draft = Draft::new(subject, class(strongest.first), root, root.message())
        .touching(&root.place)
        .title(format!("{service} is unlike itself: {}", strongest.latest.message()))
        .because(format!("{}.", cause(service, strongest.latest)));
    let draft = first.signs.iter().take(SIGNS_MAX).fold(draft, |draft, sign| {
        draft
            .touching(&sign.first.place)
            .step(sign.first, sign.first.message())
            .step(sign.latest, sign.latest.message())
    });
    let draft = others.iter().fold(draft, |draft, suspect| {
        let Some(sign) = suspect.signs.first() else { return draft };
        let because = format!(
            "{} is unlike itself too, with {:.0} against {:.0} of evidence: {}",
            suspect.service,
            suspect.score(),
            first.score(),
            sign.first.message(),
        );
        let event = sign.first;
        // Whoever was thought to be at fault before is explained by this one.
        draft.touching(&event.place).symptom(event, event.message()).rule_out(
            SPEC.slug,
            because,
            &[event],
        )
    });
    let apart = roots.iter().filter(|root| root.service != service);
    let draft = apart.fold(draft, |draft, root| {
        let because = format!(
            "{} is unlike itself too, which is another story: neither needs the other, and {service} \
             is unlike where {} is as ever",
            root.service, root.service,
        );
        draft.rule_out(SPEC.slug, because, &[strongest.first])
    });
    let draft = advise(draft, service, strongest.latest).sure(first.sure(others));
    let draft = if first.is_only_slow() {
        draft.missing(format!("what {service} waits for while it is slow"))
    } else {
        draft
    };
    match others.first().filter(|second| second.score() * MARGIN > first.score()) {
        Some(second) => Some(draft.or(
            "cascading_dependency",
            format!("{} is at fault, and {service} suffers from it", second.service),
            format!("compare the logs of {service} and {} from when this began", second.service),
        )),
        None if first.only_fails() => Some(draft.missing("what is unlike before it fails").or(
            "cascading_dependency",
            format!("something that {service} needs fails, and sends no spans"),
            format!("read the log of {service} from when this began: it names what it did not get"),
        )),
        None => Some(draft),
    }
}

/// Returns how strong the sign is by its nature.
fn class(sign: &Event) -> EvidenceClass {
    match sign.attributes.text(keys::ANOMALY_SIGNAL) {
        Some("cpu" | "memory") => EvidenceClass::ObjectStatus,
        Some(_) | None => EvidenceClass::LogTemplate,
    }
}

fn cause(service: &str, sign: &Event) -> String {
    let said = sign.message();
    match sign.attributes.text(keys::ANOMALY_SIGNAL) {
        Some("cpu") => {
            format!("{service} has no CPU time left, and everything it does waits: {said}")
        }
        Some("memory") => format!("{service} is about to reach its memory limit: {said}"),
        Some("edge_latency") => format!("The network of {service} is slow: {said}"),
        Some("self_time") => format!("{service} is slow by itself: {said}"),
        Some("error_rate") => format!("{service} fails, and nothing that it called did: {said}"),
        Some(_) | None => format!("{service} takes another path through its code: {said}"),
    }
}

fn advise(draft: Draft, service: &str, sign: &Event) -> Draft {
    let draft = match sign.attributes.text(keys::ANOMALY_SIGNAL) {
        Some("cpu") => draft.advise(format!(
            "`kubectl top pod` for {service}: find the process that takes the CPU; raise the limit \
             only when the load is real."
        )),
        Some("edge_latency") => draft.advise(format!(
            "Check NIC, qdisc and MTU of the node of {service}, and move the pod."
        )),
        Some(_) | None => draft
            .advise(format!("Read the log of {service} around the lines that the evidence names.")),
    };
    match sign.attributes.text(keys::ANOMALY_EXAMPLE) {
        Some(trace) => draft.advise(format!("Look at trace {trace}: it shows it.")),
        None => draft,
    }
}

#[cfg(test)]
mod tests;
