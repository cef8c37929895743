//! The watch: telemetry in, anomalies out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;
use tapio_model::{Event, Kind, Text, Timestamp};

use crate::{
    BaselineLimits, Part,
    assembly::{Assembly, Desk, Digest, service_of},
    blame::{Suspects, Unlike, blame},
    change::changes,
    counts::Counts,
    episode::{Episodes, Look},
    hearing::Hearing,
    latency::{Latency, Times},
    operation::{Op, Operations},
    series::AllSeries,
};

/// What the watch has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BaselineStats {
    /// Traces that were looked at as a whole.
    pub traces: u64,
    /// Events of traces that were not looked at, for want of room.
    pub passed_over: u64,
    /// Operations that are known.
    pub operations: usize,
    /// Anomalies that were told.
    pub anomalies: u64,
    /// Events that were dated too far ahead.
    pub ahead: u64,
}

/// A segment of time: what its traces showed.
#[derive(Debug, Default)]
struct Segment {
    end: Timestamp,
    digests: Vec<Digest>,
    counts: Counts,
    /// Operations that were unlike in a window with this segment: they are not learnt from it.
    unlike: BTreeSet<Op>,
    slow: BTreeSet<Op>,
}

/// What is normal, and what is not.
///
/// A state machine: the same events at the same times give the same anomalies.
#[derive(Debug)]
pub struct Watch {
    limits: BaselineLimits,
    operations: Operations,
    hearing: Hearing,
    assembly: Assembly,
    series: AllSeries,
    latency: Latency,
    episodes: Episodes,
    learnt: Counts,
    held: AHashMap<Op, u32>,
    /// Since when a new version of a service runs.
    renewed: AHashMap<Text, Timestamp>,
    /// Traces whose segment is not over yet.
    coming: Vec<Digest>,
    window: Vec<Segment>,
    /// The end of the next segment.
    next: Option<Timestamp>,
    stats: BaselineStats,
}

impl Watch {
    /// Makes a watch that knows nothing.
    #[must_use]
    pub fn new(limits: BaselineLimits) -> Self {
        Self {
            limits,
            operations: Operations::default(),
            hearing: Hearing::default(),
            assembly: Assembly::default(),
            series: AllSeries::default(),
            latency: Latency::default(),
            episodes: Episodes::default(),
            learnt: Counts::default(),
            held: AHashMap::new(),
            renewed: AHashMap::new(),
            coming: Vec::new(),
            window: Vec::new(),
            next: None,
            stats: BaselineStats::default(),
        }
    }

    /// Returns what it has done.
    #[must_use]
    pub fn stats(&self) -> BaselineStats {
        let (passed_over, operations) = (self.assembly.passed_over, self.operations.len());
        BaselineStats { passed_over, operations, ..self.stats }
    }

    /// Says whether there is anything to learn from an event.
    #[must_use]
    pub const fn learns_from(event: &Event) -> bool {
        matches!(
            event.kind,
            Kind::Span | Kind::Log | Kind::Exception | Kind::Metric | Kind::RolloutStarted
        )
    }

    /// Returns when it wants to be advanced next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.next.map(|end| end.after(self.limits.trace_idle))
    }

    /// Takes an event in at the engine's time `now`; those that are no telemetry pass by.
    pub fn observe(&mut self, event: &Arc<Event>, now: Timestamp) {
        if !Self::learns_from(event) {
            return;
        }
        // A clock that is far ahead must not silence everybody until that time has come.
        if event.time > now.after(self.limits.ahead_max) {
            self.stats.ahead += 1;
            return;
        }
        if event.kind == Kind::Metric {
            self.series.take(event, &self.limits);
        } else if event.kind == Kind::RolloutStarted {
            self.forget(event);
        } else {
            self.take(event, now);
        }
        self.next.get_or_insert_with(|| boundary(now, self.limits.step));
    }

    fn take(&mut self, event: &Arc<Event>, now: Timestamp) {
        let Some(service) = service_of(event) else { return };
        if event.kind == Kind::Span {
            self.episodes.place(service, event);
            self.hearing.see(event.time, self.limits.hearing_gap);
        } else {
            let node = event.place.node.clone().unwrap_or_default();
            self.hearing.hear(service, &node, event.time, self.limits.hearing_gap);
        }
        if !event.trace.binding.is_inferred() {
            self.assembly.take(event, now, &self.limits);
        }
    }

    /// Forgets a service of which a new version runs: it may well be unlike the old one.
    fn forget(&mut self, rollout: &Event) {
        let Some(service) = service_of(rollout) else { return };
        if self.renewed.contains_key(service) || self.renewed.len() < self.limits.operations_max {
            self.renewed.insert(service.clone(), rollout.time);
        }
        let ops: BTreeSet<Op> = self.operations.of_service(service).collect();
        for op in &ops {
            self.learnt.by_op.remove(op);
            self.held.remove(op);
        }
        self.latency.forget(service, &ops);
        for segment in &mut self.window {
            segment.counts.by_op.retain(|op, _| !ops.contains(op));
            segment.digests.iter_mut().for_each(|digest| digest.mute(&ops));
        }
        self.coming.iter_mut().for_each(|digest| digest.mute(&ops));
    }

    /// Says that telemetry was lost on its way here: what is not there is not missing.
    pub fn interrupt(&mut self) {
        self.hearing = Hearing::default();
        self.assembly.clear();
    }

    /// Lets time pass; returns what is unlike as events, each with its time and a stable id.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Arc<Event>> {
        let mut told = Vec::new();
        while let Some(end) = self.next.filter(|end| end.after(self.limits.trace_idle) <= now) {
            let mut desk = Desk {
                operations: &mut self.operations,
                hearing: &self.hearing,
                renewed: &self.renewed,
            };
            let at = end.after(self.limits.trace_idle);
            let whole = self.assembly.whole(at, &mut desk, &self.limits);
            self.stats.traces += whole.len() as u64;
            self.coming.extend(whole);
            told.extend(self.look(end));
            // With nothing to look at, time goes on with the next event.
            self.next = (!self.is_idle(end)).then(|| end.after(self.limits.step));
        }
        self.stats.anomalies += told.len() as u64;
        told
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        self.window.is_empty()
            && self.coming.is_empty()
            && self.assembly.is_empty()
            && self.series.is_quiet(now)
            && !self.episodes.is_open()
    }

    /// Ends a segment, and looks at the window that it ends.
    fn look(&mut self, end: Timestamp) -> Vec<Arc<Event>> {
        self.segment(end);
        let mut seen = Counts::default();
        self.window.iter().for_each(|segment| seen.merge(&segment.counts));
        let digests: Vec<_> = self.window.iter().flat_map(|it| &it.digests).collect();
        let times = Times::of(&digests, &self.operations);
        let has_times = self.limits.has(Part::Latency);
        let unlike = Unlike {
            changes: changes(&self.learnt, &seen, &self.operations, &self.limits),
            slow: if has_times { self.latency.slow(&times) } else { BTreeMap::new() },
        };
        let suspects = if unlike.is_empty() {
            Suspects::new()
        } else {
            blame(&digests, &unlike, &self.operations, &self.limits)
        };
        let network = self.latency.slow_network(&times).filter(|_| has_times);
        let has_series = self.limits.has(Part::Metrics);
        let look = Look {
            at: end,
            suspects: &suspects,
            network: network.as_ref(),
            reached: self.series.reached(end).filter(|_| has_series).cloned().collect(),
            operations: &self.operations,
            window: self.limits.step * u32::try_from(self.limits.window_segments).unwrap_or(1),
        };
        let told = self.episodes.tell(&look, &self.limits);
        for segment in &mut self.window {
            segment.unlike.extend(unlike.changes.keys());
            segment.slow.extend(unlike.slow.keys());
        }
        told
    }

    /// Closes the segment that ends at `end`, and learns those that have left the window.
    fn segment(&mut self, end: Timestamp) {
        let digests: Vec<_> = self.coming.extract_if(.., |digest| digest.end <= end).collect();
        let mut segment = Segment { end, digests, ..Segment::default() };
        for row in segment.digests.iter().flat_map(|digest| &digest.rows) {
            segment.counts.add(row);
        }
        if !segment.digests.is_empty() {
            self.window.push(segment);
        }
        let segments = u32::try_from(self.limits.window_segments).unwrap_or(u32::MAX);
        let begin = end.before(self.limits.step.saturating_mul(segments));
        let left: Vec<_> = self.window.extract_if(.., |segment| segment.end <= begin).collect();
        left.iter().for_each(|segment| self.learn(segment));
    }

    fn learn(&mut self, segment: &Segment) {
        for (op, seen) in &segment.counts.by_op {
            let held = self.held.entry(*op).or_default();
            let is_unlike = segment.unlike.contains(op) && self.limits.has(Part::Held);
            if is_unlike && *held < self.limits.held_segments_max {
                *held += 1;
                continue;
            }
            // Once it was held back long enough, it is learnt until it is like what was learnt.
            if !is_unlike {
                *held = 0;
            }
            self.learnt.learn(*op, seen, self.limits.memory_spans);
        }
        let digests: Vec<_> = segment.digests.iter().collect();
        let times = Times::of(&digests, &self.operations);
        let held_max = self.limits.held_segments_max;
        self.latency.learn(&times, &segment.slow, held_max);
    }
}

/// Returns the first multiple of `step` that is later than `now`: every node has the same ones.
fn boundary(now: Timestamp, step: Duration) -> Timestamp {
    let step = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX).max(1);
    let nanos = now.as_nanos();
    Timestamp::from_nanos(nanos.saturating_sub(nanos.rem_euclid(step)).saturating_add(step))
}
