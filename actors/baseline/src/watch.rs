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
    assembly::{Assembly, Desk, Digest, Row, service_of},
    blame::{Suspects, Unlike, blame},
    change::changes,
    counts::{Counts, Seen},
    episode::{Episodes, Look},
    hearing::Hearing,
    latency::{Latency, Times},
    loss::Loss,
    operation::{Op, Operations},
    owners::Owners,
    points::Points,
    rate::Rates,
    series::AllSeries,
    stall::Stalls,
    telling::{of_point, of_rate},
    window::{Segment, Window, long},
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
    /// Operations that were forgotten to make room.
    pub forgotten: u64,
    /// What it takes to hold what is learnt.
    pub learnt_bytes: usize,
    /// Anomalies that were told.
    pub anomalies: u64,
    /// Events that were dated too far ahead.
    pub ahead: u64,
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
    points: Points,
    rates: Rates,
    owners: Owners,
    latency: Latency,
    stalls: Stalls,
    episodes: Episodes,
    learnt: Counts,
    held: AHashMap<Op, u32>,
    /// Since when a new version of a service runs.
    renewed: AHashMap<Text, Timestamp>,
    /// Traces whose segment is not over yet.
    coming: Vec<Digest>,
    window: Window,
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
            points: Points::default(),
            rates: Rates::default(),
            owners: Owners::default(),
            latency: Latency::default(),
            stalls: Stalls::default(),
            episodes: Episodes::default(),
            learnt: Counts::default(),
            held: AHashMap::new(),
            renewed: AHashMap::new(),
            coming: Vec::new(),
            window: Window::default(),
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
    pub fn learns_from(event: &Event) -> bool {
        is_telemetry(event) || Owners::speaks(event)
    }

    /// Returns when it wants to be advanced next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.next.map(|end| end.after(self.limits.trace_idle))
    }

    /// Takes an event in at the engine's time `now`; those that are no telemetry pass by.
    pub fn observe(&mut self, event: &Arc<Event>, now: Timestamp) {
        self.owners.note(event);
        if !is_telemetry(event) {
            return;
        }
        // A clock that is far ahead must not silence everybody until that time has come.
        if event.time > now.after(self.limits.ahead_max) {
            self.stats.ahead += 1;
            return;
        }
        if event.kind == Kind::Metric {
            self.series.take(event, &self.limits);
            self.points.take(event, &self.limits);
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
            self.rates.take(event, &self.limits);
            self.hearing.see(event.time, self.limits.hearing_gap);
        } else {
            let node = event.place.node.clone().unwrap_or_default();
            self.hearing.hear(service, &node, event.time, self.limits.hearing_gap);
            self.points.note_home(event);
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
        self.stalls.forget(service);
        for segment in &mut self.window.segments {
            segment.counts.by_op.retain(|op, _| !ops.contains(op));
            segment.digests.iter_mut().for_each(|digest| digest.mute(&ops));
        }
        self.coming.iter_mut().for_each(|digest| digest.mute(&ops));
    }

    /// Says that telemetry was lost on its way here: what is not there is not missing.
    pub fn interrupt(&mut self) {
        self.hearing = Hearing::default();
        self.assembly.clear();
        self.rates.interrupt();
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
            self.admit(whole);
            let unlike = self.look(end);
            told.extend(self.shift(end));
            told.extend(unlike);
            // With nothing to look at, time goes on with the next event.
            self.next = (!self.is_idle(end)).then(|| end.after(self.limits.step));
        }
        self.stats.anomalies += told.len() as u64;
        let repeated = self.owners.repeat(&told, now);
        told.extend(repeated);
        told
    }

    /// Returns the rates and levels that have shifted, at the end of a segment.
    fn shift(&mut self, end: Timestamp) -> Vec<Arc<Event>> {
        let mut told = Vec::new();
        for rate in self.rates.look(end, &self.limits) {
            let place = self.episodes.place_of(&rate.service);
            told.extend(self.limits.has(Part::Rates).then(|| of_rate(&rate, place, end)));
        }
        if self.limits.has(Part::Metrics) {
            told.extend(self.points.look(end).iter().map(|point| of_point(point, end)));
        }
        told.into_iter().map(Arc::new).collect()
    }

    /// Takes whole traces in as far as there is room.
    fn admit(&mut self, whole: Vec<Digest>) {
        let coming = self.coming.iter().map(Digest::bytes).sum::<usize>();
        let mut bytes = self.window.bytes() + coming;
        for digest in whole {
            bytes += digest.bytes();
            if bytes > self.limits.window_bytes_max {
                bytes -= digest.bytes();
                self.assembly.passed_over += digest.rows.len() as u64;
            } else {
                self.coming.push(digest);
            }
        }
    }

    /// Forgets what was not seen for longest, as far as that takes too many bytes. What is looked
    /// at stays: if that is too much, no further operations are learnt.
    fn make_room(&mut self, end: Timestamp) {
        let learnt = |op: Op| self.learnt.by_op.get(&op).map_or(0, Seen::bytes);
        let known = self
            .operations
            .iter()
            .map(|(op, it)| (it.seen, op, it.bytes + learnt(op) + self.latency.bytes_of(op)));
        let mut known: Vec<_> = known.collect();
        let of_ops: usize = known.iter().map(|(.., bytes)| bytes).sum();
        let mut bytes = of_ops + self.latency.bytes_of_ways();
        let max = self.limits.learnt_bytes_max;
        if bytes > max {
            known.sort_unstable();
            let begin = end.before(long(&self.limits, self.limits.window_segments_max + 1));
            for (seen, op, of_op) in known {
                // A little more than needs be: not every time.
                if bytes <= max - max / 8 || seen > begin {
                    break;
                }
                self.operations.forget(op);
                self.learnt.by_op.remove(&op);
                self.held.remove(&op);
                self.latency.drop_operation(op);
                self.stats.forgotten += 1;
                bytes = bytes.saturating_sub(of_op);
            }
            self.latency.keep_ways(&self.operations.services());
        }
        self.operations.is_full = bytes > max;
        self.stats.learnt_bytes = bytes;
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        self.window.is_empty()
            && self.coming.is_empty()
            && self.assembly.is_empty()
            && self.series.is_quiet(now)
            && self.points.is_quiet(now)
            && self.rates.is_quiet()
            && !self.episodes.is_open()
    }

    /// Ends a segment, and looks at the window that it ends.
    fn look(&mut self, end: Timestamp) -> Vec<Arc<Event>> {
        self.segment(end);
        let mut seen = Counts::default();
        self.window.segments.iter().for_each(|segment| seen.merge(&segment.counts));
        let has_times = self.limits.has(Part::Latency);
        let loss = Loss::of(&self.learnt, &seen, &self.operations);
        let mut unlike = Unlike {
            changes: changes(&self.learnt, &seen, &self.operations, loss, &self.limits),
            is_lossy: loss != Loss::default(),
            slow: BTreeMap::new(),
        };
        // The way of a request that went wrong is not the network's.
        let mut times = Times::default();
        let as_ever = |digest: &Digest| {
            !digest.rows.iter().any(|row| unlike.is_unlike(row, &self.operations))
        };
        for segment in &self.window.segments {
            let shown = |row: &Row| segment.shows(row);
            times.add(&segment.digests, &self.operations, shown, as_ever);
        }
        if has_times {
            unlike.slow = self.latency.slow(&times);
        }
        let suspects = if unlike.is_empty() {
            Suspects::new()
        } else {
            blame(&self.window.segments, &unlike, &self.operations, &self.limits)
        };
        let mut met = Stalls::default();
        if has_times {
            self.window.present().for_each(|segment| met.merge(&segment.stalls));
        }
        let (stalled, mut slower) = (self.stalls.stalled(&met), met.slower());
        slower.extend(stalled.iter().map(|it| it.service.clone()));
        let slow_ways = self.latency.slow_ways(&times);
        let network = self.latency.slow_network(&times, &slow_ways).filter(|_| has_times);
        let has_series = self.limits.has(Part::Metrics);
        let look = Look {
            at: end,
            open_min: if unlike.is_lossy {
                self.limits.open_lossy_min
            } else {
                self.limits.open_min
            },
            is_lossy: unlike.is_lossy,
            suspects: &suspects,
            network: network.as_ref(),
            stalled: &stalled,
            reached: self
                .series
                .reached(end)
                .filter(|it| has_series && (it.is_sure || slower.contains(&it.service)))
                .cloned()
                .collect(),
            operations: &self.operations,
        };
        let told = self.episodes.tell(&look);
        for segment in &mut self.window.segments {
            segment.unlike.extend(unlike.changes.keys());
            segment.slow.ops.extend(unlike.slow.keys());
            segment.slow.ways.extend(slow_ways.keys().cloned());
            segment.stalled.extend(stalled.iter().map(|it| it.service.clone()));
        }
        told
    }

    /// Closes the segment that ends at `end`, and learns what has left the window.
    fn segment(&mut self, end: Timestamp) {
        let digests: Vec<_> = self.coming.extract_if(.., |digest| digest.end <= end).collect();
        if !digests.is_empty() {
            let stalls = Stalls::of(&digests, &self.operations, &self.latency);
            self.window.segments.push(Segment::new(end, digests).met(stalls));
        }
        let (latency, operations, limits) = (&mut self.latency, &self.operations, &self.limits);
        let mut learn = |segment: &Segment, is_it: &dyn Fn(&Row) -> bool| {
            let mut times = Times::default();
            times.add(&segment.digests, operations, is_it, |_| true);
            latency.learn(&times, &segment.slow, limits.held_segments_max);
        };
        self.window.age(end, limits, |segment| {
            self.stalls.learn(&segment.stalls, &segment.stalled, limits);
            // What nobody listened to is not looked at for longer.
            learn(segment, &|row| !segment.counts.by_op.contains_key(&row.op));
        });
        let left = self.window.leave(end, limits, |segment, ops| {
            learn(segment, &|row| ops.binary_search(&row.op).is_ok());
        });
        for (op, seen, is_unlike) in left {
            self.learn(op, &seen, is_unlike && self.limits.has(Part::Held));
        }
        self.make_room(end);
    }

    fn learn(&mut self, op: Op, seen: &Seen, is_unlike: bool) {
        let held = self.held.entry(op).or_default();
        if is_unlike && *held < self.limits.held_segments_max {
            *held += 1;
            return;
        }
        // Once it was held back long enough, it is learnt until it is like what was learnt.
        if !is_unlike {
            *held = 0;
        }
        self.learnt.learn(op, seen, self.limits.memory_traces);
    }
}

/// Says whether an event is of what is learnt.
const fn is_telemetry(event: &Event) -> bool {
    matches!(
        event.kind,
        Kind::Span | Kind::Log | Kind::Exception | Kind::Metric | Kind::RolloutStarted
    )
}

/// Returns the first multiple of `step` that is later than `now`: every node has the same ones.
pub(crate) fn boundary(now: Timestamp, step: Duration) -> Timestamp {
    let step = i64::try_from(step.as_nanos()).unwrap_or(i64::MAX).max(1);
    let nanos = now.as_nanos();
    Timestamp::from_nanos(nanos.saturating_sub(nanos.rem_euclid(step)).saturating_add(step))
}
