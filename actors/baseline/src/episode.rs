//! A time in which something is unlike: from suspects to events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Place, Rule, Text, Timestamp,
    TraceContext, TraceId, Value, keys,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    apart::{Apart, Party, Standing},
    blame::Suspects,
    latency::SlowWays,
    operation::Operations,
    series::Reached,
    sign::{Sign, signs},
    stall::Stalled,
};

/// Services that are told of in one episode.
const SUSPECTS_MAX: usize = 5;

/// Reasons that are told at once of whoever explains the others.
const REASONS_MAX: usize = 3;

/// Looks in a row without anything unlike that end an episode.
const QUIET_LOOKS_MAX: u32 = 2;

/// Services whose place is remembered: names come from outside.
const PLACES_MAX: usize = 50_000;

/// Suspects with less than this share of the first one's score are not told of.
const SHARE_MIN: f64 = 0.1;

/// The present episode, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Episodes {
    began: Option<Timestamp>,
    quiet: u32,
    told: BTreeSet<u128>,
    apart: Apart,
    /// Where each service was first seen.
    places: BTreeMap<Text, Arc<Place>>,
}

/// What one look found.
pub(crate) struct Look<'a> {
    pub(crate) at: Timestamp,
    /// The score from which a service is told.
    pub(crate) open_min: f64,
    /// Whether lines get lost on their way here.
    pub(crate) is_lossy: bool,
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
                self.apart.clear();
            }
            return Vec::new();
        }
        self.quiet = 0;
        let began = *self.began.get_or_insert(look.at);
        let told = ranked.iter().take_while(|(score, ..)| {
            // What is told by itself is told beside whatever else.
            *score >= (top * SHARE_MIN).min(look.open_min)
        });
        let parties: Vec<_> = told
            .take(SUSPECTS_MAX)
            .map(|(_, service, signs)| Party::new(service, signs, look))
            .collect();
        let standings = self.apart.compare(&parties, look);
        let mut events = Vec::new();
        // Who may yet be apart is not told: once in another's story, it would stay there.
        let is_told = |(_, standing): &(&Party<'_>, Standing)| *standing != Standing::Open;
        for (party, standing) in parties.iter().zip(standings).filter(is_told) {
            let is_root = standing == Standing::Root;
            let reasons = if is_root { REASONS_MAX } else { 1 };
            for (number, sign) in party.signs.iter().take(reasons).enumerate() {
                let mut key = sign.key();
                if number == 0 {
                    // With whom it has nothing to do is news, too.
                    key ^= xxh3_128(self.apart_from(&sign.service).as_bytes());
                }
                let is_new = self.told.insert(key);
                // The first sign of a root goes on being told, so that its story does.
                if is_new || (is_root && number == 0) {
                    events.push(Arc::new(self.event(sign, began, look.at)));
                }
            }
        }
        events
    }

    fn apart_from(&self, service: &Text) -> String {
        self.apart.others(service).map(|other| &**other).collect::<Vec<_>>().join(", ")
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
        let apart = self.apart_from(&sign.service);
        if !apart.is_empty() {
            attributes.push((keys::ANOMALY_APART.into(), apart.into()));
        }
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
