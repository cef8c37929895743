//! A time in which something is unlike: from suspects to events.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Place, Rule, Severity, Source, Text,
    Timestamp, TraceContext, TraceId, Value, keys,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    blame::{Held, Reason, Suspects},
    change::{Change, How},
    feature::Sort,
    latency::SlowWays,
    operation::Operations,
    series::Reached,
    stall::Stalled,
};

/// Services that are told of in one episode.
const SUSPECTS_MAX: usize = 5;

/// Reasons that are told of the first suspect at once.
const REASONS_MAX: usize = 3;

/// Looks in a row without anything unlike that end an episode.
const QUIET_LOOKS_MAX: u32 = 2;

/// What a resource that is used up weighs: more than lines and calls that follow from it.
const REACHED_SCORE: f64 = 240.0;

/// What a resource weighs of which far more is used than ever, and not all.
const RISEN_SCORE: f64 = 60.0;

/// What each slow way of a service whose network is slow weighs.
const WAY_SCORE: f64 = 30.0;

/// Services whose place is remembered: names come from outside.
const PLACES_MAX: usize = 50_000;

/// Suspects with less than this share of the first one's score are not told of.
const SHARE_MIN: f64 = 0.1;

/// Something that is unlike, in the shape in which it is told.
#[derive(Debug, Clone)]
struct Sign {
    service: Text,
    place: Option<Arc<Place>>,
    source: Source,
    signal: &'static str,
    change: &'static str,
    before: f64,
    now: f64,
    score: f64,
    operation: Option<Text>,
    template: Option<Text>,
    severity: Severity,
    example: Option<TraceId>,
    message: String,
}

/// The present episode, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Episodes {
    began: Option<Timestamp>,
    quiet: u32,
    told: BTreeSet<u128>,
    /// Where each service was first seen.
    places: BTreeMap<Text, Arc<Place>>,
}

/// What one look found.
pub(crate) struct Look<'a> {
    pub(crate) at: Timestamp,
    /// The score from which a service is told.
    pub(crate) open_min: f64,
    pub(crate) suspects: &'a Suspects,
    pub(crate) network: Option<&'a SlowWays>,
    pub(crate) stalled: &'a [Stalled],
    pub(crate) reached: Vec<Reached>,
    pub(crate) operations: &'a Operations,
}

impl Episodes {
    /// Remembers where a service is: where it was first seen whose workload was known.
    pub(crate) fn place(&mut self, service: &Text, event: &Event) {
        let known = self.places.get(service);
        let is_news =
            known.is_none_or(|it| it.workload.is_none() && event.place.workload.is_some());
        if is_news && (known.is_some() || self.places.len() < PLACES_MAX) {
            let Place { cluster, namespace, workload, .. } = (*event.place).clone();
            let service = Some(service.clone());
            let place = Place { cluster, namespace, workload, service, ..Place::default() };
            self.places.insert(place.service.clone().unwrap_or_default(), Arc::new(place));
        }
    }

    /// Returns where a service is.
    pub(crate) fn place_of(&self, service: &Text) -> Arc<Place> {
        self.places.get(service).cloned().unwrap_or_default()
    }

    /// Says whether something is unlike at present.
    pub(crate) const fn is_open(&self) -> bool {
        self.began.is_some()
    }

    /// Turns what a look found into events: what is new of it, and what goes on.
    pub(crate) fn tell(&mut self, look: &Look<'_>) -> Vec<Arc<Event>> {
        let by_service = signs(look);
        let mut ranked: Vec<(f64, &Text, &Vec<Sign>)> = by_service
            .iter()
            .map(|(service, signs)| (signs.iter().map(|sign| sign.score).sum(), service, signs))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let top = ranked.first().map_or(0.0, |(score, ..)| *score);
        if top < look.open_min {
            self.quiet += 1;
            if self.quiet >= QUIET_LOOKS_MAX {
                self.began = None;
                self.told.clear();
            }
            return Vec::new();
        }
        self.quiet = 0;
        let began = *self.began.get_or_insert(look.at);
        let mut events = Vec::new();
        let told = ranked.iter().take(SUSPECTS_MAX).filter(|(score, ..)| *score >= top * SHARE_MIN);
        for (rank, (_, _, signs)) in told.enumerate() {
            let reasons = if rank == 0 { REASONS_MAX } else { 1 };
            for (number, sign) in signs.iter().take(reasons).enumerate() {
                let key = sign.key();
                let is_new = self.told.insert(key);
                // The first sign of the first suspect goes on being told, so that the story does.
                if is_new || (rank == 0 && number == 0) {
                    events.push(Arc::new(self.event(sign, began, look.at)));
                }
            }
        }
        events
    }

    fn event(&self, sign: &Sign, began: Timestamp, at: Timestamp) -> Event {
        let place = sign.place.clone().or_else(|| self.places.get(&sign.service).cloned());
        let place = place.unwrap_or_default();
        let numbers = [began.as_nanos().to_le_bytes(), at.as_nanos().to_le_bytes()].concat();
        let id = xxh3_128(&[&sign.key().to_le_bytes()[..], &numbers].concat());
        let mut attributes: Vec<(Text, Value)> = vec![
            (keys::MESSAGE.into(), sign.message.clone().into()),
            (keys::ANOMALY_SIGNAL.into(), sign.signal.into()),
            (keys::ANOMALY_CHANGE.into(), sign.change.into()),
            (keys::ANOMALY_SCORE.into(), Value::Float(sign.score)),
            (keys::ANOMALY_BEFORE.into(), Value::Float(sign.before)),
            (keys::ANOMALY_AFTER.into(), Value::Float(sign.now)),
        ];
        let texts = [(keys::SPAN_NAME, &sign.operation), (keys::TEMPLATE, &sign.template)];
        for (key, text) in texts {
            attributes.extend(text.clone().map(|text| (key.into(), Value::Text(text))));
        }
        let example = sign.example.map(|trace| Value::from(trace.to_string()));
        attributes.extend(example.map(|trace| (keys::ANOMALY_EXAMPLE.into(), trace)));
        Event {
            id: EventId::from_bytes(id.to_be_bytes()),
            time: at,
            source: sign.source,
            kind: Kind::Anomaly,
            trace: trace_of(&place),
            place,
            severity: sign.severity,
            // High: it was a minute in the making, and need not wait for its trace to be looked at.
            impact: Impact::new(0.75),
            class: if sign.signal == "cpu" { Class::Cpu } else { Class::Application },
            attributes: Attributes::new(attributes),
        }
    }
}

/// Returns the trace of all that is unlike in a cluster: what services are compared in.
pub(crate) fn trace_of(place: &Place) -> TraceContext {
    let cluster = place.cluster.as_deref().unwrap_or_default();
    let id = xxh3_128(&[b"tapio baseline ", cluster.as_bytes()].concat());
    TraceContext {
        trace_id: TraceId::from_bytes(id.max(1).to_be_bytes()),
        span_id: None,
        parent_span_id: None,
        binding: Binding::Inferred(Rule::Source),
    }
}

/// Returns all signs by service, the weightiest first.
fn signs(look: &Look<'_>) -> BTreeMap<Text, Vec<Sign>> {
    let mut signs: Vec<Sign> = Vec::new();
    for (service, suspect) in look.suspects {
        signs.extend(suspect.held.iter().filter_map(|held| sign(service, held, look)));
    }
    signs.extend(look.reached.iter().map(of_reached));
    signs.extend(look.stalled.iter().map(of_stalled));
    signs.extend(look.network.map(of_network));
    // What vanished beside one line and beside another is one sign.
    let mut united: BTreeMap<u128, Sign> = BTreeMap::new();
    for sign in signs {
        match united.entry(sign.key()) {
            Entry::Vacant(vacant) => drop(vacant.insert(sign)),
            Entry::Occupied(known) => unite(known.into_mut(), sign),
        }
    }
    let mut signs: Vec<Sign> = united.into_values().collect();
    signs.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.message.cmp(&b.message)));
    let mut by_service: BTreeMap<Text, Vec<Sign>> = BTreeMap::new();
    for sign in signs {
        by_service.entry(sign.service.clone()).or_default().push(sign);
    }
    by_service
}

/// Adds what a sign weighs to the same one, told in the words of the weightier.
fn unite(known: &mut Sign, other: Sign) {
    let score = known.score + other.score;
    if other.score > known.score {
        *known = other;
    }
    known.score = score;
}

impl Sign {
    /// Returns what identifies it within an episode.
    fn key(&self) -> u128 {
        let text = |text: &Option<Text>| text.clone().unwrap_or_default();
        let (operation, template) = (text(&self.operation), text(&self.template));
        let parts = [&*self.service, self.signal, self.change, &operation, &template];
        xxh3_128(parts.join("\u{0}").as_bytes())
    }
}

fn sign(service: &Text, held: &Held, look: &Look<'_>) -> Option<Sign> {
    let operation = look.operations.get(held.op)?.name.clone();
    let sign = |signal, change, before, now, message| Sign {
        service: service.clone(),
        place: None,
        source: Source::Otlp,
        signal,
        change,
        before,
        now,
        score: held.score,
        operation: Some(operation.clone()),
        template: None,
        severity: Severity::Warn,
        example: Some(held.example),
        message,
    };
    match held.reason {
        Reason::Slow(slow) => {
            let (before, now) = (slow.before_us / 1e3, slow.now_us / 1e3);
            let message =
                format!("{operation} takes {now:.0} ms by itself; it took {before:.0} ms at most");
            Some(sign("self_time", "rose", before, now, message))
        }
        Reason::Changed(change) => {
            let feature = look.operations.feature(held.op, change.mark)?;
            let signal = if feature.sort == Sort::Call { "call" } else { "log_template" };
            let how = match change.how {
                How::Appeared => "appeared",
                How::Vanished { .. } => "vanished",
            };
            let message = tell_change(&operation, &feature.text, feature.sort, &change);
            let severity = match feature.sort {
                Sort::Line(severity) => severity.max(Severity::Warn),
                Sort::Call => Severity::Warn,
            };
            let template = Some(feature.text.clone());
            let sign = sign(signal, how, change.before, change.now, message);
            Some(Sign { template, severity, ..sign })
        }
    }
}

fn tell_change(operation: &str, feature: &str, sort: Sort, change: &Change) -> String {
    let (does, lacks) = match sort {
        Sort::Line(_) => ("writes", "no longer writes"),
        Sort::Call => ("calls", "no longer calls"),
    };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let (before, now) = (percent(change.before), percent(change.now));
    let traces = change.traces.round();
    match change.how {
        How::Appeared => format!(
            "{operation} {does} {feature} in {now} of its last {traces} traces; it was {before}"
        ),
        How::Vanished { .. } => format!(
            "{operation} {lacks} {feature}: {now} of its last {traces} traces; it was {before}"
        ),
    }
}

fn of_reached(reached: &Reached) -> Sign {
    let Reached { service, place, resource, before, now, is_limit, .. } = reached;
    let (percent, usual) = (now * 100.0, before * 100.0);
    Sign {
        service: service.clone(),
        place: Some(Arc::clone(place)),
        source: Source::Metrics,
        signal: resource,
        change: "rose",
        before: *before,
        now: *now,
        score: if *is_limit { REACHED_SCORE } else { RISEN_SCORE },
        operation: None,
        template: None,
        severity: Severity::Warn,
        example: None,
        message: format!(
            "{service} uses {percent:.0} % of its {resource} limit; {usual:.1} % is usual"
        ),
    }
}

fn of_stalled(stalled: &Stalled) -> Sign {
    let Stalled { service, score, before, now, requests, longest_us, usual_us } = stalled;
    let (percent, usual, ms) = (now * 100.0, before * 100.0, longest_us / 1e3);
    Sign {
        service: service.clone(),
        place: None,
        source: Source::Otlp,
        signal: "self_time",
        change: "rose",
        before: usual_us / 1e3,
        now: (usual_us + longest_us) / 1e3,
        score: *score,
        operation: None,
        template: None,
        severity: Severity::Warn,
        example: None,
        message: format!(
            "{service} keeps {percent:.0} % of its last {requests} requests waiting, for up to \
             {ms:.0} ms; it was {usual:.0} %"
        ),
    }
}

fn of_network(ways: &SlowWays) -> Sign {
    let SlowWays { service, slow, of, worst } = ways;
    let (before, now) = (worst.before_us / 1e3, worst.now_us / 1e3);
    let ways = u32::try_from(*slow).map_or(0.0, f64::from);
    Sign {
        service: service.clone(),
        place: None,
        source: Source::Otlp,
        signal: "edge_latency",
        change: "rose",
        before,
        now,
        score: WAY_SCORE * ways,
        operation: None,
        template: None,
        severity: Severity::Warn,
        example: None,
        message: format!(
            "the way to and from {service} takes up to {now:.0} ms on {slow} of {of} edges; it took \
             {before:.0} ms at most"
        ),
    }
}
