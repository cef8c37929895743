//! Spans and lines on their way to being a whole trace, and what a whole trace shows.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use ahash::AHashMap;
use tapio_model::{Event, Kind, SpanId, Text, Timestamp, TraceId, keys};

use crate::{
    BaselineLimits, Part,
    feature::{Feature, Sort, is_unreached},
    hearing::Hearing,
    operation::{Mark, Op, Operations},
};

/// A span of a whole trace.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) op: Op,
    /// Of the trace's spans of this operation, its share.
    pub(crate) share: f64,
    /// What it shows, sorted.
    pub(crate) marks: Box<[Mark]>,
    /// The caller's place in the trace.
    pub(crate) parent: Option<usize>,
    /// Microseconds in which none of its children ran; nothing where these are the way to another
    /// service, or where the time is not to be looked at.
    pub(crate) own_us: Option<f64>,
    /// Whether it does nothing but call another service, so that its time is that of the way.
    pub(crate) is_way: bool,
    /// Microseconds that the way to another service took, there and back: the caller's span without
    /// this one.
    pub(crate) way_us: Option<f64>,
    /// Whether what is not there can be missed.
    pub(crate) is_heard: bool,
    /// Whether it says that somebody else was not reached.
    pub(crate) is_unreached: bool,
}

/// What a whole trace shows.
#[derive(Debug)]
pub(crate) struct Digest {
    pub(crate) trace: TraceId,
    pub(crate) end: Timestamp,
    pub(crate) rows: Vec<Row>,
}

impl Digest {
    /// Makes the spans of these operations say nothing.
    pub(crate) fn mute(&mut self, ops: &BTreeSet<Op>) {
        for row in self.rows.iter_mut().filter(|row| ops.contains(&row.op)) {
            row.is_heard = false;
            row.marks = Box::default();
            row.own_us = None;
            row.way_us = None;
        }
    }

    /// Returns what it takes to hold it.
    pub(crate) fn bytes(&self) -> usize {
        let marks = self.rows.iter().map(|row| size_of_val(&*row.marks));
        size_of::<Self>() + self.rows.len() * size_of::<Row>() + marks.sum::<usize>()
    }
}

/// A trace that may not be whole yet.
#[derive(Debug, Default)]
struct Open {
    spans: Vec<Arc<Event>>,
    lines: Vec<(SpanId, Arc<Event>)>,
    seen: Timestamp,
    bytes: usize,
    /// Whether it has more events than are looked at: what is missing then is not missing.
    is_cut: bool,
}

/// The traces that are being assembled.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    open: AHashMap<TraceId, Open>,
    /// When to look at which trace, in order of time.
    due: VecDeque<(Timestamp, TraceId)>,
    second: (Timestamp, u32),
    /// What it takes to hold them.
    bytes: usize,
    /// Events of traces that were not looked at.
    pub(crate) passed_over: u64,
}

impl Assembly {
    /// Takes a span or a line of an explicit trace.
    pub(crate) fn take(&mut self, event: &Arc<Event>, now: Timestamp, limits: &BaselineLimits) {
        let Some(span) = event.trace.span_id else { return };
        let trace = event.trace.trace_id;
        let bytes = event.bytes();
        let has_bytes = self.bytes + bytes <= limits.open_bytes_max;
        if !self.open.contains_key(&trace) {
            if !has_bytes || !self.has_room(now, limits) {
                self.passed_over += 1;
                return;
            }
            self.due.push_back((now.after(limits.trace_idle), trace));
        }
        let open = self.open.entry(trace).or_default();
        open.seen = now;
        if !has_bytes || open.spans.len() + open.lines.len() >= limits.trace_events_max {
            open.is_cut = true;
            self.passed_over += 1;
            return;
        }
        open.bytes += bytes;
        self.bytes += bytes;
        if event.kind == Kind::Span {
            open.spans.push(Arc::clone(event));
        } else {
            open.lines.push((span, Arc::clone(event)));
        }
    }

    /// Lets go of what is not whole yet.
    pub(crate) fn clear(&mut self) {
        let lost = self.open.drain().map(|(_, open)| open.spans.len() + open.lines.len());
        self.passed_over += lost.sum::<usize>() as u64;
        self.due.clear();
        self.bytes = 0;
    }

    /// Says whether no trace is being assembled.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn has_room(&mut self, now: Timestamp, limits: &BaselineLimits) -> bool {
        if now.since(self.second.0) >= Duration::from_secs(1) || now < self.second.0 {
            self.second = (now, 0);
        }
        let has_room =
            self.open.len() < limits.traces_max && self.second.1 < limits.traces_per_second_max;
        self.second.1 += u32::from(has_room);
        has_room
    }

    /// Returns the traces that have been idle long enough, in the order in which they began.
    pub(crate) fn whole(
        &mut self,
        now: Timestamp,
        desk: &mut Desk<'_>,
        limits: &BaselineLimits,
    ) -> Vec<Digest> {
        let mut whole = Vec::new();
        while self.due.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, trace)) = self.due.pop_front() else { break };
            let Some(open) = self.open.get(&trace) else { continue };
            let due = open.seen.after(limits.trace_idle);
            if due > now {
                // It went on meanwhile. The queue stays nearly in order, which is good enough.
                self.due.push_back((due, trace));
                continue;
            }
            let open = self.open.remove(&trace);
            self.bytes = self.bytes.saturating_sub(open.as_ref().map_or(0, |open| open.bytes));
            match open {
                Some(open) if open.is_cut => {
                    self.passed_over += (open.spans.len() + open.lines.len()) as u64;
                }
                open => whole.extend(open.and_then(|open| desk.digest(trace, &open, limits))),
            }
        }
        whole
    }
}

/// What it takes to read a trace.
pub(crate) struct Desk<'a> {
    pub(crate) operations: &'a mut Operations,
    pub(crate) hearing: &'a Hearing,
    /// Since when a new version of a service runs.
    pub(crate) renewed: &'a AHashMap<Text, Timestamp>,
}

/// Returns the service an event speaks of.
pub(crate) fn service_of(event: &Event) -> Option<&Text> {
    event.place.service_name().filter(|name| !name.is_empty())
}

/// A span while its trace is read.
struct Reading<'a> {
    event: &'a Event,
    service: &'a Text,
    op: Op,
    begin: Timestamp,
    parent: Option<usize>,
    children: Vec<usize>,
    marks: Vec<Mark>,
    is_unreached: bool,
}

impl Desk<'_> {
    fn digest(&mut self, trace: TraceId, open: &Open, limits: &BaselineLimits) -> Option<Digest> {
        let mut at: BTreeMap<SpanId, usize> = BTreeMap::new();
        let mut spans: Vec<Reading<'_>> = Vec::new();
        for event in &open.spans {
            let (Some(id), Some(service)) = (event.trace.span_id, service_of(event)) else {
                continue;
            };
            let name = event.attributes.text(keys::SPAN_NAME).unwrap_or("span").into();
            let Some(op) =
                self.operations.number(service, &name, event.time, limits.operations_max)
            else {
                continue;
            };
            // A copy that came twice is one span.
            if at.contains_key(&id) {
                continue;
            }
            at.insert(id, spans.len());
            spans.push(Reading {
                event,
                service,
                op,
                begin: event.time.before(duration(event)),
                parent: None,
                children: Vec::new(),
                marks: Vec::new(),
                is_unreached: false,
            });
        }
        self.connect(&mut spans, &at, limits);
        for (span, line) in &open.lines {
            let Some(reading) = at.get(span).and_then(|index| spans.get_mut(*index)) else {
                continue;
            };
            if limits.has(Part::Unreached) && is_unreached(line) {
                reading.is_unreached = true;
                continue;
            }
            let feature = Feature::of_line(line);
            reading.marks.extend(self.operations.mark(reading.op, feature, limits.features_max));
        }
        let end = spans.iter().map(|span| span.event.time).max()?;
        let mut rows: Vec<Row> =
            (0..spans.len()).filter_map(|index| self.row(&spans, index, limits)).collect();
        share_out(&mut rows);
        Some(Digest { trace, end, rows })
    }

    /// Finds each span's parent, and what each calls.
    fn connect(
        &mut self,
        spans: &mut [Reading<'_>],
        at: &BTreeMap<SpanId, usize>,
        limits: &BaselineLimits,
    ) {
        for index in 0..spans.len() {
            let Some(span) = spans.get(index) else { continue };
            let parent = span.event.trace.parent_span_id.and_then(|id| at.get(&id).copied());
            let Some(parent) = parent.filter(|parent| *parent != index) else { continue };
            if let Some(span) = spans.get_mut(index) {
                span.parent = Some(parent);
            }
            if let Some(caller) = spans.get_mut(parent) {
                caller.children.push(index);
            }
        }
        for index in 0..spans.len() {
            self.note_call(spans, index, limits);
        }
    }

    /// Notes a call with whoever makes it: where a span is but the way, that is the span's caller.
    fn note_call(&mut self, spans: &mut [Reading<'_>], index: usize, limits: &BaselineLimits) {
        let Some(span) = spans.get(index) else { return };
        let Some(parent) = span.parent.and_then(|parent| spans.get(parent)) else { return };
        let caller = if is_way(spans, parent) { parent.parent } else { span.parent };
        self.operations.note_call(parent.op, span.op, limits.features_max);
        let called = self.operations.get(span.op);
        let called = called.map(|called| format!("{} {}", called.service, called.name));
        let Some((called, caller)) = called.zip(caller) else { return };
        let feature = Feature { sort: Sort::Call, text: called.into() };
        if let Some(caller) = spans.get_mut(caller) {
            caller.marks.extend(self.operations.mark(caller.op, feature, limits.features_max));
        }
    }

    fn row(&self, spans: &[Reading<'_>], index: usize, limits: &BaselineLimits) -> Option<Row> {
        let span = spans.get(index)?;
        let mut marks = span.marks.clone();
        marks.sort_unstable();
        marks.dedup();
        let caller = span.parent.and_then(|parent| spans.get(parent));
        let way = caller
            // Of a caller with several calls it is not known which of them took the time.
            .filter(|caller| caller.service != span.service && caller.children.len() == 1)
            .map(|caller| micros(duration(caller.event).saturating_sub(duration(span.event))));
        let (begin, end) = (span.begin, span.event.time);
        let is_heard = !limits.has(Part::Hearing) || self.hearing.covers(span.service, begin, end);
        let is_old = self.renewed.get(span.service).is_some_and(|at| begin < *at);
        Some(Row {
            op: span.op,
            share: 1.0,
            marks: marks.into_boxed_slice(),
            parent: span.parent,
            is_way: is_way(spans, span),
            own_us: (!is_way(spans, span)).then(|| micros(own_time(spans, span))),
            way_us: way,
            is_heard: is_heard && !is_old,
            is_unreached: span.is_unreached,
        })
    }
}

/// Gives each span its share of a trace's spans of its operation.
fn share_out(rows: &mut [Row]) {
    let mut spans: BTreeMap<Op, f64> = BTreeMap::new();
    for row in &*rows {
        *spans.entry(row.op).or_default() += 1.0;
    }
    for row in rows {
        row.share = spans.get(&row.op).map_or(1.0, |count| 1.0 / count);
    }
}

/// Says whether a span stands for the way to another service: a client's span, which does nothing
/// but wait for the other one.
///
/// Where nobody says so, it is the span that has a caller in its own service, and calls once.
fn is_way(spans: &[Reading<'_>], span: &Reading<'_>) -> bool {
    let service = |index: &usize| spans.get(*index).map(|span| span.service);
    let [child] = span.children.as_slice() else { return false };
    let calls_another = service(child) != Some(span.service);
    let is_client = match span.event.attributes.text(keys::SPAN_KIND) {
        Some(kind) => kind == "client",
        None => span.parent.as_ref().and_then(service) == Some(span.service),
    };
    calls_another && is_client
}

/// Returns the time in which none of a span's children ran.
fn own_time(spans: &[Reading<'_>], span: &Reading<'_>) -> Duration {
    let children = span.children.iter().filter_map(|child| spans.get(*child));
    let mut times: Vec<_> = children.map(|child| (child.begin, child.event.time)).collect();
    times.sort_unstable();
    let (mut covered, mut upto) = (Duration::ZERO, span.begin);
    for (begin, end) in times {
        let (begin, end) = (begin.max(upto), end.min(span.event.time));
        covered += end.since(begin);
        upto = upto.max(end);
    }
    duration(span.event).saturating_sub(covered)
}

fn duration(event: &Event) -> Duration {
    let nanos = event.attributes.int(keys::DURATION).unwrap_or_default();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
