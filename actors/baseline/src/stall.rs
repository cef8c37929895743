//! Requests that a service keeps waiting: now and then a span stops for long, as they do where the
//! CPU is taken away for a while, and of those that do not stop, many take longer.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::Text;

use crate::{
    BaselineLimits,
    assembly::Digest,
    evidence::{change, share},
    latency::Latency,
    operation::{Op, Operations},
};

/// A span stops if it takes so much longer than was usually the longest: a large part of the
/// period in which a kernel deals out CPU time, which is 100 ms.
const STOP_US: f64 = 40_000.0;

/// Requests that must be known.
const LEARNT_MIN: f64 = 20.0;

/// Requests that must be seen to stop now.
const STALLED_MIN: f64 = 3.0;

/// Such a share of them must stop.
const STALLED_SHARE: f64 = 0.3;

/// Of the spans that stop, so many may do so in one operation.
const ONE_PLACE_MAX: f64 = 0.7;

/// The natural logarithm by which it must be likelier than chance.
const CHANGE_MIN: f64 = 5.0;

/// A request that stops weighs so much at most: some do on good days.
const STALL_SCORE_MAX: f64 = 4.0;

/// What takes longer than nine of ten did, does so for one of ten: if so many do, the service is
/// slower.
const SLOWER_SHARE: f64 = 0.5;

/// Spans that must say so.
const SLOWER_SPANS_MIN: f64 = 8.0;

/// Requests that are remembered with full weight.
const MEMORY: f64 = 1_000.0;

/// What the requests of a service met with.
#[derive(Debug, Clone, Default, PartialEq)]
struct Met {
    requests: f64,
    stalled: f64,
    spans: f64,
    /// Spans that took longer than was usually the longest.
    slower: f64,
    /// The longest that one was held up, and how long its like takes at most.
    longest_us: f64,
    usual_us: f64,
    /// Spans that stopped, by what they were at.
    stops: BTreeMap<Op, f64>,
}

impl Met {
    /// Says whether whatever runs may stop: what always stops at the same place waits for that.
    fn is_anywhere(&self) -> bool {
        let all: f64 = self.stops.values().sum();
        self.stops.values().all(|stops| *stops <= all * ONE_PLACE_MAX)
    }
}

/// A service that keeps requests waiting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stalled {
    pub(crate) service: Text,
    pub(crate) score: f64,
    pub(crate) before: f64,
    pub(crate) now: f64,
    pub(crate) requests: f64,
    pub(crate) longest_us: f64,
    pub(crate) usual_us: f64,
}

/// What requests met with, by service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stalls {
    by_service: BTreeMap<Text, Met>,
    /// Segments in a row in which a service was unlike, and not learnt.
    held: BTreeMap<Text, u32>,
}

impl Stalls {
    /// Returns what the requests of whole traces met with.
    pub(crate) fn of(digests: &[Digest], operations: &Operations, latency: &Latency) -> Self {
        let mut stalls = Self::default();
        let mut longest = BTreeMap::new();
        for digest in digests {
            let mut of_trace: BTreeMap<&Text, Met> = BTreeMap::new();
            for row in &digest.rows {
                let usual = longest.entry(row.op).or_insert_with(|| latency.longest(row.op));
                let (Some(own_us), Some(usual_us)) = (row.own_us, *usual) else { continue };
                let Some(operation) = operations.get(row.op) else { continue };
                let met = of_trace.entry(&operation.service).or_default();
                met.spans += 1.0;
                met.slower += f64::from(own_us > usual_us);
                if own_us - usual_us > met.longest_us {
                    (met.longest_us, met.usual_us) = (own_us - usual_us, usual_us);
                }
                if own_us - usual_us > STOP_US {
                    *met.stops.entry(row.op).or_default() += 1.0;
                }
            }
            for (service, mut met) in of_trace {
                met.requests = 1.0;
                met.stalled = f64::from(!met.stops.is_empty());
                stalls.add(service, &met);
            }
        }
        stalls
    }

    fn add(&mut self, service: &Text, met: &Met) {
        let known = self.by_service.entry(service.clone()).or_default();
        known.requests += met.requests;
        known.stalled += met.stalled;
        known.spans += met.spans;
        known.slower += met.slower;
        if met.longest_us > known.longest_us {
            (known.longest_us, known.usual_us) = (met.longest_us, met.usual_us);
        }
        for (op, stops) in &met.stops {
            *known.stops.entry(*op).or_default() += stops;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (service, met) in &other.by_service {
            self.add(service, met);
        }
    }

    /// Learns what requests met with, but for services that are `unlike` now and have not been for
    /// long.
    pub(crate) fn learn(&mut self, other: &Self, unlike: &BTreeSet<Text>, limits: &BaselineLimits) {
        for (service, met) in &other.by_service {
            let is_known = self.by_service.contains_key(service);
            if !is_known && self.by_service.len() >= limits.operations_max {
                continue;
            }
            let held = self.held.entry(service.clone()).or_default();
            *held = if unlike.contains(service) { held.saturating_add(1) } else { 0 };
            if (1..=limits.held_segments_max).contains(held) {
                continue;
            }
            let known = self.by_service.entry(service.clone()).or_default();
            known.requests += met.requests;
            known.stalled += met.stalled;
            if known.requests > MEMORY {
                known.requests /= 2.0;
                known.stalled /= 2.0;
            }
        }
    }

    /// Forgets a service of which a new version runs.
    pub(crate) fn forget(&mut self, service: &str) {
        self.by_service.remove(service);
        self.held.remove(service);
    }

    /// Returns the services that keep requests waiting, and did not.
    pub(crate) fn stalled(&self, now: &Self) -> Vec<Stalled> {
        let stalled = now.by_service.iter().filter_map(|(service, met)| {
            let known = self.by_service.get(service).filter(|it| it.requests >= LEARNT_MIN)?;
            let (before, after) =
                (share(known.stalled, known.requests), share(met.stalled, met.requests));
            let is_stalled = met.stalled >= STALLED_MIN
                && met.stalled / met.requests >= STALLED_SHARE
                && met.is_anywhere()
                && change(known.stalled, known.requests, met.stalled, met.requests) > CHANGE_MIN;
            is_stalled.then(|| Stalled {
                service: service.clone(),
                score: met.stalled * (after / before).ln().clamp(0.0, STALL_SCORE_MAX),
                before,
                now: after,
                requests: met.requests,
                longest_us: met.longest_us,
                usual_us: met.usual_us,
            })
        });
        stalled.collect()
    }

    /// Returns the services most of whose spans take longer than was usually the longest.
    pub(crate) fn slower(&self) -> BTreeSet<Text> {
        let is_slower =
            |met: &Met| met.spans >= SLOWER_SPANS_MIN && met.slower >= met.spans * SLOWER_SHARE;
        let slower = self.by_service.iter().filter(|(_, met)| is_slower(met));
        slower.map(|(service, _)| service.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalls(requests: f64, stalled: f64) -> Stalls {
        let met = Met { requests, stalled, spans: requests, ..Met::default() };
        Stalls { by_service: [("cart".into(), met)].into(), ..Stalls::default() }
    }

    #[test]
    fn requests_that_never_waited_and_do_are_unlike() {
        let known = stalls(60.0, 1.0);
        let found = known.stalled(&stalls(6.0, 5.0));
        assert_eq!(found.len(), 1);
        assert!(found[0].score > 12.0 && found[0].score <= 20.0, "{found:?}");
        for (requests, held_up) in [(6.0, 2.0), (30.0, 4.0), (6.0, 0.0)] {
            assert!(known.stalled(&stalls(requests, held_up)).is_empty(), "{requests} {held_up}");
        }
        // Who always kept some waiting is as ever, and of who is hardly known nothing is said.
        assert!(stalls(60.0, 30.0).stalled(&stalls(6.0, 5.0)).is_empty());
        assert!(stalls(10.0, 0.0).stalled(&stalls(6.0, 5.0)).is_empty());
    }

    #[test]
    fn what_always_stops_at_one_place_waits_for_that() {
        let mut operations = Operations::default();
        let mut op = |name: &str| {
            operations
                .number(&"cart".into(), &name.into(), tapio_model::Timestamp::ZERO, 9)
                .unwrap()
        };
        let (select, render) = (op("SELECT"), op("render"));
        for (stops, want) in [
            (vec![(select, 9.0)], 0),
            (vec![(select, 8.0), (render, 1.0)], 0),
            (vec![(select, 5.0), (render, 4.0)], 1),
        ] {
            let mut now = stalls(6.0, 5.0);
            let met = now.by_service.values_mut().next().unwrap();
            met.stops = stops.iter().copied().collect();
            assert_eq!(stalls(60.0, 1.0).stalled(&now).len(), want, "{stops:?}");
        }
    }

    #[test]
    fn what_is_unlike_is_not_learnt() {
        let mut known = stalls(60.0, 0.0);
        let limits = BaselineLimits { held_segments_max: 1, ..BaselineLimits::default() };
        let cart = [Text::from("cart")].into();
        known.learn(&stalls(60.0, 60.0), &cart, &limits);
        assert!(known.stalled(&stalls(6.0, 5.0)).len() == 1);
        // What stays is normal.
        known.learn(&stalls(60.0, 60.0), &cart, &limits);
        assert!(known.stalled(&stalls(6.0, 5.0)).is_empty());
    }

    #[test]
    fn a_service_is_slower_if_most_of_its_spans_are() {
        let met = |spans, slower| Met { spans, slower, ..Met::default() };
        let slower = |met| {
            let by_service = [("cart".into(), met)].into();
            Stalls { by_service, ..Stalls::default() }.slower().len()
        };
        assert_eq!(
            (slower(met(9.0, 6.0)), slower(met(9.0, 2.0)), slower(met(4.0, 4.0))),
            (1, 0, 0)
        );
    }
}
