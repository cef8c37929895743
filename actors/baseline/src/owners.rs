//! In which trace others tell of an owner, so that an anomaly of it can be told there too.
//!
//! All anomalies of a cluster share a trace, in which services are compared. A pattern about a
//! workload sees another one: that of its rollouts, probes and kernel events. Nothing is told there
//! unless somebody else speaks there.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tapio_model::{
    Attributes, Binding, Entity, Event, EventId, Kind, Rule, Text, Timestamp, TraceContext, Value,
    keys,
};
use xxhash_rust::xxh3::xxh3_128;

/// Owners that are remembered: names come from outside.
const OWNERS_MAX: usize = 50_000;

/// How long after its last event an owner's trace is told to: as long as a change stays in it.
const SPEAKS_FOR: Duration = Duration::from_secs(600);

/// How long an anomaly waits for somebody to speak in its owner's trace: what follows from a surge
/// follows within a minute, and wants to know what came first.
const WAITS_MAX: Duration = Duration::from_secs(60);

/// Anomalies that wait.
const WAITING_MAX: usize = 1_024;

/// An owner in its cluster.
type Owner = (Option<Text>, Entity);

/// The traces of owners.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    traces: BTreeMap<Owner, (TraceContext, Timestamp)>,
    /// Anomalies of late in whose owner's trace nobody has spoken yet, oldest first.
    waiting: VecDeque<Arc<Event>>,
}

impl Owners {
    /// Says whether an event tells of its owner in that owner's trace.
    pub(crate) fn speaks(event: &Event) -> bool {
        let Binding::Inferred(rule) = event.trace.binding else { return false };
        matches!(rule, Rule::Workload | Rule::Pod | Rule::Node)
            && event.kind != Kind::Anomaly
            && event.is_sign()
    }

    /// Notes an event's trace as that of its owner.
    pub(crate) fn note(&mut self, event: &Event) {
        if !Self::speaks(event) {
            return;
        }
        let place = &event.place;
        let owner = match event.trace.binding {
            Binding::Inferred(Rule::Workload) => Entity::workload(place),
            Binding::Inferred(Rule::Pod) => Entity::pod(place),
            Binding::Inferred(Rule::Node) => Entity::node(place),
            Binding::Inferred(_) | Binding::Explicit => None,
        };
        let Some(owner) = owner.map(|owner| (place.cluster.clone(), owner)) else { return };
        if !self.traces.contains_key(&owner) && self.traces.len() >= OWNERS_MAX {
            self.traces.retain(|_, (_, at)| event.time.since(*at) < SPEAKS_FOR);
            if self.traces.len() >= OWNERS_MAX {
                return;
            }
        }
        let trace = TraceContext { span_id: None, parent_span_id: None, ..event.trace };
        let known = self.traces.entry(owner).or_insert((trace, event.time));
        *known = (trace, known.1.max(event.time));
    }

    /// Repeats anomalies, those of now and those of late, in their owners' traces where somebody
    /// spoke of late.
    pub(crate) fn repeat(&mut self, told: &[Arc<Event>], now: Timestamp) -> Vec<Arc<Event>> {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend(told.iter().cloned());
        let mut repeated = Vec::new();
        waiting.retain(|anomaly| {
            if now.since(anomaly.time) >= WAITS_MAX {
                return false;
            }
            let copy = self.copy(anomaly);
            let waits = copy.is_none();
            repeated.extend(copy);
            waits
        });
        while waiting.len() > WAITING_MAX {
            waiting.pop_front();
        }
        self.waiting = waiting;
        repeated
    }

    /// Returns the same anomaly in its owner's trace, if somebody spoke there of late.
    fn copy(&self, anomaly: &Event) -> Option<Arc<Event>> {
        let place = &anomaly.place;
        let owners = [Entity::workload(place), Entity::pod(place)];
        // A change point of a pod or a node is told in its owner's trace to begin with.
        if anomaly.trace.binding != Binding::Inferred(Rule::Source) {
            return None;
        }
        // What is of a pod is not its node's.
        let node = Entity::node(place).filter(|_| Entity::of(place).is_empty());
        let trace = owners.into_iter().flatten().chain(node).find_map(|owner| {
            let (trace, at) = self.traces.get(&(place.cluster.clone(), owner))?;
            (anomaly.time.since(*at) < SPEAKS_FOR).then_some(*trace)
        })?;
        let id = xxh3_128(&[&anomaly.id.as_bytes()[..], trace.trace_id.as_bytes()].concat());
        let of = (keys::ANOMALY_OF.into(), Value::from(anomaly.id.to_string()));
        let attributes = anomaly.attributes.iter().map(|(key, value)| (key.clone(), value.clone()));
        Some(Arc::new(Event {
            id: EventId::from_bytes(id.to_be_bytes()),
            trace,
            attributes: Attributes::new(attributes.chain([of])),
            ..anomaly.clone()
        }))
    }
}

#[cfg(test)]
mod tests {
    use tapio_model::{Attributes, Class, Impact, Place, Severity, Source, TraceId, Workload};

    use super::*;

    fn event(kind: Kind, workload: &str, second: i64, (rule, trace): (Rule, u8)) -> Arc<Event> {
        let workload = Workload { kind: "Deployment".into(), name: workload.into() };
        let namespace = Some("shop".into());
        Arc::new(Event {
            id: EventId::from_bytes([u8::try_from(second % 250).unwrap(); 16]),
            time: Timestamp::from_secs(second),
            source: Source::Kubernetes,
            kind,
            trace: TraceContext {
                trace_id: TraceId::from_bytes([trace; 16]),
                span_id: None,
                parent_span_id: None,
                binding: Binding::Inferred(rule),
            },
            place: Arc::new(Place { namespace, workload: Some(workload), ..Place::default() }),
            severity: Severity::Info,
            impact: Impact::NONE,
            class: Class::Other,
            attributes: Attributes::default(),
        })
    }

    /// Returns the seconds of what is repeated after `spoken`, and checks where it is.
    fn repeated(spoken: &[Arc<Event>], anomalies: &[Arc<Event>], now: i64) -> Vec<i64> {
        let mut owners = Owners::default();
        assert_eq!(owners.repeat(anomalies, anomalies[0].time), []);
        spoken.iter().for_each(|event| owners.note(event));
        let told = owners.repeat(&[], Timestamp::from_secs(now));
        let again = owners.repeat(&[], Timestamp::from_secs(now));
        assert_eq!(again, [], "nothing is repeated twice");
        told.iter()
            .map(|copy| {
                assert_eq!(copy.trace.trace_id, TraceId::from_bytes([2; 16]));
                assert!(copy.attributes.text(keys::ANOMALY_OF).is_some());
                assert!(anomalies.iter().all(|anomaly| anomaly.id != copy.id));
                copy.time.as_millis() / 1_000
            })
            .collect()
    }

    #[test]
    fn an_anomaly_is_repeated_where_others_speak_of_its_workload() {
        let anomaly = |second| event(Kind::Anomaly, "cart", second, (Rule::Source, 1));
        let anomalies = [anomaly(100), anomaly(115)];
        let spoken = |kind, workload, rule| [event(kind, workload, 120, (rule, 2))];
        let cases = [
            (Kind::ProbeFailed, "cart", Rule::Workload, 130, vec![100, 115]),
            (Kind::ProbeFailed, "cart", Rule::Workload, 170, vec![115]),
            (Kind::ProbeFailed, "pay", Rule::Workload, 130, vec![]),
            // A line of everyday is no word.
            (Kind::Log, "cart", Rule::Workload, 130, vec![]),
            (Kind::ProbeFailed, "cart", Rule::Service, 130, vec![]),
        ];
        for (kind, workload, rule, now, want) in cases {
            let told = repeated(&spoken(kind, workload, rule), &anomalies, now);
            assert_eq!(told, want, "{kind:?} {workload} {rule:?} {now}");
        }
    }

    #[test]
    fn what_was_said_long_ago_is_no_company_and_what_waits_does_not_for_ever() {
        let mut owners = Owners::default();
        owners.note(&event(Kind::RolloutStarted, "cart", 0, (Rule::Workload, 2)));
        let anomaly = |second| event(Kind::Anomaly, "cart", second, (Rule::Source, 1));
        let told = |owners: &mut Owners, second: i64| {
            owners.repeat(&[anomaly(second)], Timestamp::from_secs(second)).len()
        };
        assert_eq!((told(&mut owners, 599), told(&mut owners, 601)), (1, 0));
        owners.note(&event(Kind::RolloutStarted, "cart", 662, (Rule::Workload, 2)));
        assert_eq!(told(&mut owners, 662), 1, "the one of 601 has waited for a minute");
        let other: Vec<_> = (0..2_000)
            .map(|number| event(Kind::Anomaly, &format!("pay-{number}"), 700, (Rule::Source, 1)))
            .collect();
        assert_eq!(owners.repeat(&other, Timestamp::from_secs(700)), []);
        assert_eq!(owners.waiting.len(), WAITING_MAX);
    }
}
