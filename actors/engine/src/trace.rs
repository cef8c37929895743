//! What one trace thinks.

mod written;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ahash::AHashSet;
use tapio_model::{
    Entity, Event, EventId, EvidenceClass, Finding, FindingId, Incarnation, Kind, Level, Outcome,
    ShedReason, Timestamp, TraceId,
};

use crate::{Limits, Output, Rules, View, candidate::is_candidate, weigh};

/// A finding, new or amended, with the events it cites for the first time.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The finding.
    pub finding: Finding,
    /// Events that no finding of the trace cited before. Those of a change that waits stay open: no
    /// story may ever cite them.
    pub events: Vec<Arc<Event>>,
}

/// What follows from one input to a trace.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// Events that were open and are now cited by a finding.
    pub cited: u64,
    /// Events that were open and left the window uncited.
    pub expired: u64,
    /// Which those are, if the rules are audited.
    pub expired_events: Vec<EventId>,
    /// Findings that are new or changed.
    pub found: Vec<Found>,
    /// Findings that a better one about the same thing replaces, each with its anchor.
    pub retracted: Vec<(FindingId, Entity)>,
    /// The trace is over: take it away.
    pub closed: bool,
}

impl Effects {
    /// Takes what is to be handed on.
    pub fn outputs(self) -> impl Iterator<Item = Output> {
        let found = self.found.into_iter().map(|found| Output::Found(Box::new(found)));
        found.chain(self.retracted.into_iter().map(|(id, anchor)| Output::Retracted(id, anchor)))
    }
}

/// The state of one trace: its events inside the window, and what it found in them.
///
/// `observe` takes an event in and never thinks; `tick` thinks, on a borrowed view. So a pattern that
/// panics leaves the trace whole, and whoever restarts it goes on with the same state.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    id: TraceId,
    incarnation: Incarnation,
    dirty: bool,
    urgent: bool,
    opened_at: Timestamp,
    last_at: Timestamp,
    deadline: Timestamp,
    signs: u64,
    bytes: usize,
    lost: u32,
    late: u32,
    events: Vec<Arc<Event>>,
    memory: Option<Box<Memory>>,
}

/// Events up to which a repeat is found by walking; beyond, a set of ids is worth its bytes.
const WALK_EVENTS_MAX: usize = 48;

/// What few traces have: findings, and a past.
#[derive(Debug, Clone, PartialEq, Default)]
struct Memory {
    findings: Vec<Finding>,
    /// Events held that a finding has cited, sorted.
    cited: Vec<EventId>,
    /// Ids of events that left the window, oldest first.
    past: VecDeque<EventId>,
    /// Ids held and past, once there are too many to walk through.
    ids: AHashSet<EventId>,
    /// Every event ever held is at most this young; for telling late repeats from news.
    newest: Timestamp,
}

impl Trace {
    /// Opens a trace at the engine's time `now`.
    #[must_use]
    pub fn open(id: TraceId, incarnation: Incarnation, now: Timestamp) -> Self {
        Self {
            id,
            incarnation,
            dirty: false,
            urgent: false,
            opened_at: now,
            last_at: now,
            deadline: Timestamp::MAX,
            signs: 0,
            bytes: 0,
            lost: 0,
            late: 0,
            events: Vec::new(),
            memory: None,
        }
    }

    /// Returns the trace's id.
    #[must_use]
    pub const fn id(&self) -> TraceId {
        self.id
    }

    /// Returns which life of the trace this is.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns when the trace wants its next `tick`, by the engine's time.
    #[must_use]
    pub const fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Returns the events held, in order of (time, id).
    #[must_use]
    pub fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// Returns how many events are held that no finding cites.
    #[must_use]
    pub fn open_events(&self) -> u64 {
        match &self.memory {
            None => self.events.len() as u64,
            Some(_) => self.open_event_ids().count() as u64,
        }
    }

    fn open_event_ids(&self) -> impl Iterator<Item = EventId> {
        let cited = self.memory.as_ref().map_or(&[][..], |memory| &memory.cited);
        let events = self.events.iter().map(|event| event.id);
        events.filter(|event| cited.binary_search(event).is_err())
    }

    /// Takes the events that no finding cites, and keeps the others.
    #[must_use]
    pub fn take_open_events(&mut self) -> Vec<Arc<Event>> {
        let cited = self.memory.as_ref().map_or(&[][..], |memory| &memory.cited);
        let is_open = |event: &mut Arc<Event>| cited.binary_search(&event.id).is_err();
        self.events.extract_if(.., is_open).collect()
    }

    /// Returns the time of the youngest event the trace has held.
    #[must_use]
    pub fn newest(&self) -> Timestamp {
        let held = self.events.last().map_or(Timestamp::MIN, |event| event.time);
        held.max(self.memory.as_ref().map_or(Timestamp::MIN, |memory| memory.newest))
    }

    /// Returns about how many bytes the trace holds, itself included and shared places left out.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.events.capacity() * size_of::<Arc<Event>>() + self.bytes
    }

    /// Takes an event in.
    ///
    /// Returns its outcome: open, duplicate, or shed at a limit. An event older than the window
    /// still amends what was found, and is counted late.
    pub fn observe(&mut self, event: Arc<Event>, now: Timestamp, rules: &Rules) -> Outcome {
        let limits = rules.limits();
        if self.knows(event.id) {
            return Outcome::Duplicate;
        }
        let is_sign = event.is_sign();
        // The last quarter is kept for signs: a chatty log must not crowd out the kernel.
        let events_max =
            if is_sign { limits.trace_events_max } else { limits.trace_events_max / 4 * 3 };
        if self.events.len() >= events_max {
            self.note_lost();
            return Outcome::Shed(ShedReason::TraceEvents);
        }
        let bytes = event.bytes();
        if self.bytes.saturating_add(bytes) > limits.trace_bytes_max {
            self.note_lost();
            return Outcome::Shed(ShedReason::TraceBytes);
        }
        if event.time < now.before(limits.window) {
            self.late = self.late.saturating_add(1);
        }
        if self.deadline == Timestamp::MAX {
            self.deadline = self.opened_at.after(limits.window / 2);
        }
        if event.level() >= Level::High {
            self.urgent |= event.level() == Level::Critical;
            self.deadline = self.deadline.min(now.after(limits.settle));
        }
        if is_sign {
            self.signs |= event.kind.bit();
            self.dirty = true;
        }
        // A span or a log line is hum, and still completes a picture that has a sign in it.
        self.dirty |= self.signs != 0;
        self.bytes += bytes;
        self.last_at = now;
        let id = event.id;
        let at = self.events.partition_point(|known| known.order() < event.order());
        self.events.insert(at, event);
        self.remember(id);
        Outcome::Open
    }

    /// Notes that an event for the trace was turned away before it came in: its stories say so.
    pub const fn note_lost(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// Walks through a few events, looks up many: nearly every trace stays small.
    fn knows(&self, id: EventId) -> bool {
        match &self.memory {
            Some(memory) if !memory.ids.is_empty() => memory.ids.contains(&id),
            Some(memory) if memory.past.contains(&id) => true,
            Some(_) | None => self.events.iter().any(|known| known.id == id),
        }
    }

    fn remember(&mut self, id: EventId) {
        if let Some(memory) = &mut self.memory
            && !memory.ids.is_empty()
        {
            memory.ids.insert(id);
        } else if self.events.len() > WALK_EVENTS_MAX {
            let memory = self.memory.get_or_insert_default();
            memory.ids.extend(self.events.iter().map(|event| event.id));
            memory.ids.extend(memory.past.iter().copied());
        }
    }

    /// Thinks, if it is time: asks the patterns, lets old events go, closes when mature.
    ///
    /// # Panics
    /// If a pattern panics. The trace then holds every event that is not told of.
    pub fn tick(&mut self, now: Timestamp, rules: &Rules) -> Effects {
        let mut effects = Effects::default();
        if now < self.deadline {
            return effects;
        }
        self.release(now, rules.limits());
        // Patterns run on a borrowed view before anything open goes: a panic costs no event.
        let findings = self.think(now, rules);
        self.dirty = false;
        self.urgent = false;
        if let Some(findings) = findings {
            self.adopt(findings, &mut effects);
        }
        let limits = rules.limits();
        let is_mature = now.since(self.last_at) >= limits.window
            && self.fresh_changes(now, limits).next().is_none();
        if is_mature || now.since(self.opened_at) >= limits.trace_age_max {
            effects.expired += self.open_events();
            if rules.is_audited() {
                effects.expired_events.extend(self.open_event_ids());
            }
            effects.closed = true;
            self.deadline = Timestamp::MAX;
            return effects;
        }
        let expired = self.slide(now, limits);
        effects.expired += expired.len() as u64;
        if rules.is_audited() {
            effects.expired_events.extend(expired);
        }
        self.deadline = next_step(self.opened_at, now, limits.window / 2);
        effects
    }

    /// Says whether too little was seen to be asked about; an anomaly speaks for many spans.
    fn is_lone_word(&self, now: Timestamp, limits: &Limits) -> bool {
        // A change of minutes ago is no second word.
        let begin = now.before(limits.window * 2);
        let recent =
            self.events.iter().filter(|event| !event.kind.is_change() || event.time >= begin);
        recent.count() < limits.min_events
            && self.events.iter().all(|event| event.kind != Kind::Anomaly)
    }

    fn think(&self, now: Timestamp, rules: &Rules) -> Option<Vec<Finding>> {
        if !self.dirty {
            return None;
        }
        // One set for both questions: it may be swapped between them.
        let patterns = rules.patterns();
        if !patterns.wake(self.signs) {
            return None;
        }
        let mut drafts = patterns.drafts(self.signs, &View::new(&self.events, now));
        if !self.urgent && self.is_lone_word(now, rules.limits()) {
            // A lone word is heard if it is the kernel's, and decides by itself.
            drafts.retain(|(_, draft)| {
                let decides =
                    draft.doubt().is_none() && draft.class() == EvidenceClass::KernelProof;
                decides || draft.is_candidate()
            });
        }
        let origin = weigh::Origin {
            trace: self.id,
            incarnation: self.incarnation,
            events: self.events.len() as u64,
            lost: u64::from(self.lost),
            late: u64::from(self.late),
        };
        Some(weigh::weigh(drafts, origin))
    }

    fn adopt(&mut self, mut findings: Vec<Finding>, effects: &mut Effects) {
        if findings.is_empty() && self.memory.is_none() {
            return;
        }
        let memory = self.memory.get_or_insert_default();
        // What was decided of a change stays, when some of it has left the window.
        findings.retain(|new| {
            !is_candidate(new)
                || memory.findings.iter().all(|known| known.id != new.id || is_candidate(known))
        });
        for finding in &mut findings {
            if let Some(known) = memory.findings.iter().find(|known| known.id == finding.id) {
                finding.anchor = known.anchor.clone();
            }
            let unchanged = memory.findings.iter().any(|known| is_same(known, finding));
            if unchanged {
                continue;
            }
            let (waits, mut events) = (is_candidate(finding), Vec::new());
            for evidence in &finding.evidence {
                let Err(at) = memory.cited.binary_search(&evidence.event) else { continue };
                if !waits {
                    memory.cited.insert(at, evidence.event);
                }
                events.extend(self.events.iter().find(|event| event.id == evidence.event).cloned());
            }
            effects.cited += if waits { 0 } else { events.len() as u64 };
            effects.found.push(Found { finding: finding.clone(), events });
        }
        // A finding that no longer holds stays told, unless another explains its subject better.
        for known in &memory.findings {
            let holds = findings.iter().any(|finding| finding.id == known.id);
            let replaced = findings.iter().any(|finding| {
                !is_candidate(finding) && finding.touches.contains(&known.id.subject)
            });
            if !holds && replaced {
                effects.retracted.push((known.id.clone(), known.anchor.clone()));
            }
        }
        memory.findings.retain(|known| {
            effects.retracted.iter().all(|(retracted, _)| *retracted != known.id)
                && findings.iter().all(|finding| finding.id != known.id)
        });
        memory.findings.extend(findings);
    }

    /// Lets quiet findings go, and the events that only they hold: their incident may have resolved,
    /// and its events are not to be told again in another one.
    fn release(&mut self, now: Timestamp, limits: &Limits) {
        let Some(memory) = &mut self.memory else { return };
        let quiet = now.before(limits.quiet);
        // What follows from a change that waits may take longer, and is told by its witnesses.
        let waited = now.before(limits.quiet * 2);
        let is_over = |finding: &mut Finding| {
            finding.ends_at() < if is_candidate(finding) { waited } else { quiet }
        };
        let mut over: Vec<_> = memory.findings.extract_if(.., is_over).collect();
        // No incident held the events of a change that waited.
        over.retain(|finding| !is_candidate(finding));
        if over.is_empty() {
            return;
        }
        let (over, held) = (events_of(&over), events_of(&memory.findings));
        drop(self.keep(limits, |event| {
            over.binary_search(&event.id).is_err() || held.binary_search(&event.id).is_ok()
        }));
    }

    /// Lets events go that are older than the window and that no finding holds. Returns those that
    /// no finding has cited either.
    fn slide(&mut self, now: Timestamp, limits: &Limits) -> Vec<EventId> {
        let begin = now.before(limits.window);
        if self.events.first().is_none_or(|oldest| oldest.time >= begin) {
            return Vec::new();
        }
        let held = self.memory.as_ref().map(|memory| events_of(&memory.findings));
        let held = held.unwrap_or_default();
        let mut changes: Vec<_> = self.fresh_changes(now, limits).collect();
        changes.sort_unstable();
        self.keep(limits, |event| {
            event.time >= begin
                || held.binary_search(&event.id).is_ok()
                || changes.binary_search(&event.id).is_ok()
        })
    }

    /// Returns the changes of late: they stay beyond the window, and the trace waits for what comes
    /// of them.
    fn fresh_changes(&self, now: Timestamp, limits: &Limits) -> impl Iterator<Item = EventId> {
        let begin = now.before(limits.change_window);
        let changes = self.events.iter().rev().filter(|event| event.kind.is_change());
        let fresh = changes.take_while(move |event| event.time >= begin);
        fresh.take(limits.trace_changes_max).map(|event| event.id)
    }

    /// Lets go what does not stay. Returns those of the events that no finding has cited.
    fn keep(&mut self, limits: &Limits, stays: impl Fn(&Event) -> bool) -> Vec<EventId> {
        let newest = self.newest();
        let memory = self.memory.get_or_insert_default();
        memory.newest = newest;
        let mut gone: Vec<EventId> = Vec::new();
        let (mut signs, mut bytes) = (0, 0);
        self.events.retain(|event| {
            if stays(event) {
                signs |= if event.is_sign() { event.kind.bit() } else { 0 };
                bytes += event.bytes();
                return true;
            }
            gone.push(event.id);
            false
        });
        self.signs = signs;
        self.bytes = bytes;
        memory.past.extend(&gone);
        while memory.past.len() > limits.trace_past_ids_max
            && let Some(forgotten) = memory.past.pop_front()
        {
            memory.ids.remove(&forgotten);
        }
        gone.sort_unstable();
        let (cited, held): (Vec<_>, Vec<_>) =
            memory.cited.iter().partition(|event| gone.binary_search(event).is_ok());
        memory.cited = held;
        gone.retain(|event| cited.binary_search(event).is_err());
        gone
    }

    /// Puts the next `tick` off after a panic: `backoff`, doubled with every failure.
    pub fn back_off(&mut self, now: Timestamp, failures: u32, backoff: Duration) {
        let doublings = failures.saturating_sub(1).min(16);
        self.deadline = now.after(backoff.saturating_mul(1 << doublings));
    }
}

/// Returns the events that findings rest on, sorted.
fn events_of(findings: &[Finding]) -> Vec<EventId> {
    let evidence = findings.iter().flat_map(|finding| &finding.evidence);
    let mut events: Vec<_> = evidence.map(|evidence| evidence.event).collect();
    events.sort_unstable();
    events
}

/// Says whether telling `new` after `old` would tell nothing: the size of the trace alone is no news.
fn is_same(old: &Finding, new: &Finding) -> bool {
    old.id == new.id
        && old.evidence == new.evidence
        && old.verdict == new.verdict
        && old.root_cause == new.root_cause
        && old.ruled_out == new.ruled_out
        && old.missing == new.missing
        && old.lost == new.lost
        && old.touches == new.touches
}

/// Returns the first multiple of `step` after `begin` that is later than `now`.
fn next_step(begin: Timestamp, now: Timestamp, step: Duration) -> Timestamp {
    let step_nanos = step.as_nanos().max(1);
    let steps = now.since(begin).as_nanos() / step_nanos + 1;
    let nanos = u64::try_from(steps * step_nanos).unwrap_or(u64::MAX);
    begin.after(Duration::from_nanos(nanos))
}
