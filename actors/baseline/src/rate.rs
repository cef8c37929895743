//! How many requests a service gets, and how many of them fail, against what was learnt.

mod service;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use tapio_model::{Event, Kind, Text, Timestamp, keys};

use self::service::{Counts, Service};
pub(crate) use self::service::{RateStep, Signal};
use crate::{
    BaselineLimits,
    assembly::service_of,
    failure::{Callers, Failure, callers, is_failed, is_request, own},
};

/// Failed spans of one segment that are looked at; what fails beyond changes no share much.
const FAILURES_MAX: usize = 20_000;

/// A span that comes later than this after its segment is not counted: after an outage of whoever
/// sends them, many come at once.
const LATE_MAX: Duration = Duration::from_secs(60);

/// A fall of one service is told while all together have at least this share of what they had: if
/// everybody falls silent, it may be the telemetry.
const OTHERS_MIN: f64 = 0.5;

/// What one segment of time showed.
#[derive(Debug, Default)]
struct Tally {
    services: BTreeMap<Text, Counts>,
    failures: Vec<Failure>,
}

/// The rates of all services.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// By the end of their segment.
    coming: BTreeMap<Timestamp, Tally>,
    services: BTreeMap<Text, Service>,
    /// Of failures that ended in the segment before.
    callers: Callers,
    /// Whether the segment before was heard from its beginning.
    is_heard: bool,
    /// The end of the latest segment.
    upto: Option<Timestamp>,
    bytes: usize,
}

impl Rates {
    /// Counts a span in its segment, which ends at a multiple of `step`.
    pub(crate) fn take(&mut self, span: &Event, limits: &BaselineLimits) {
        if span.kind != Kind::Span {
            return;
        }
        let Some(service) = service_of(span) else { return };
        let mut end = crate::watch::boundary(span.time, limits.step);
        if let Some(upto) = self.upto {
            if end.after(LATE_MAX) < upto {
                return;
            }
            // Whoever is a little late, and always is, counts in the next one.
            end = end.max(upto.after(limits.step));
        }
        let is_known = self.services.contains_key(service);
        let tally = self.coming.entry(end).or_default();
        if !is_known && self.services.len() + tally.services.len() >= limits.operations_max {
            return;
        }
        let name = span.attributes.text(keys::SPAN_NAME).unwrap_or("span");
        let is_request = is_request(span);
        if is_request {
            let counts = match tally.services.get_mut(service) {
                Some(known) => known,
                None => tally.services.entry(service.clone()).or_default(),
            };
            counts.request(name, limits.features_max);
        }
        if is_failed(span) && tally.failures.len() < FAILURES_MAX {
            tally.failures.push(Failure {
                trace: span.trace.trace_id,
                span: span.trace.span_id,
                parent: span.trace.parent_span_id,
                service: service.clone(),
                operation: name.into(),
                is_request,
            });
        }
    }

    /// Says that telemetry was lost on its way here: what is counted is not all.
    pub(crate) fn interrupt(&mut self) {
        self.coming.clear();
        self.is_heard = false;
    }

    /// Says whether nothing is counted that was not looked at.
    pub(crate) fn is_quiet(&self) -> bool {
        self.coming.is_empty()
    }

    /// Returns about what it takes to hold them.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the segment at `end`; returns what is unlike in the minute before it.
    pub(crate) fn look(&mut self, end: Timestamp, limits: &BaselineLimits) -> Vec<RateStep> {
        let later = self.coming.split_off(&end.after(Duration::from_nanos(1)));
        let mut due = std::mem::replace(&mut self.coming, later);
        let tally = due.remove(&end).unwrap_or_default();
        let is_next = self.upto.is_some_and(|upto| upto.after(limits.step) == end);
        self.upto = Some(end);
        // A segment that was heard in part has a count that says nothing.
        let was_heard = std::mem::replace(&mut self.is_heard, !tally.services.is_empty());
        if !is_next || !was_heard || !self.is_heard {
            self.callers = callers(&tally.failures);
            self.services.values_mut().for_each(Service::interrupt);
            return Vec::new();
        }
        self.admit(tally, end, limits);
        let told = self.judge(end, limits);
        self.make_room(end, limits);
        told
    }

    /// Hands each service what it showed.
    fn admit(&mut self, mut tally: Tally, end: Timestamp, limits: &BaselineLimits) {
        for (service, operation) in own(&tally.failures, &self.callers) {
            if let Some(counts) = tally.services.get_mut(service) {
                counts.failure(operation);
            }
        }
        self.callers = callers(&tally.failures);
        for (name, service) in &mut self.services {
            let counts = tally.services.remove(name).unwrap_or_default();
            service.take(counts, end, limits.window_segments);
        }
        for (name, counts) in tally.services {
            if let Entry::Vacant(vacant) = self.services.entry(name)
                && self.bytes < limits.rates_bytes_max
            {
                vacant.insert(Service::default()).take(counts, end, limits.window_segments);
            }
        }
    }

    fn judge(&mut self, end: Timestamp, limits: &BaselineLimits) -> Vec<RateStep> {
        let usual = self.services.values().filter_map(Service::usual_and_now);
        let (usual, now) = usual.fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let has_others = now >= usual * OTHERS_MIN;
        let mut told = Vec::new();
        for (name, service) in &mut self.services {
            told.extend(service.judge(name, end, has_others, limits));
        }
        told
    }

    /// Forgets the services that were not seen for longest, as far as all take too many bytes.
    fn make_room(&mut self, end: Timestamp, limits: &BaselineLimits) {
        // A segment is a quarter of a minute, and what it takes changes slowly.
        self.bytes = self.services.iter().map(|(name, it)| name.len() + it.bytes()).sum();
        if self.bytes <= limits.rates_bytes_max {
            return;
        }
        let mut by_age: Vec<_> =
            self.services.iter().map(|(name, it)| (it.seen(), name.clone(), it.bytes())).collect();
        by_age.sort_unstable();
        for (seen, name, bytes) in by_age {
            if self.bytes <= limits.rates_bytes_max - limits.rates_bytes_max / 8 || seen >= end {
                break;
            }
            self.services.remove(&name);
            self.bytes = self.bytes.saturating_sub(bytes + name.len());
        }
        // All speak all the time: operations go before services do.
        if self.bytes > limits.rates_bytes_max {
            self.services.values_mut().for_each(Service::forget_operations);
        }
    }
}

#[cfg(test)]
mod tests;
