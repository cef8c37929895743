//! Which part of a shard's log its live traces still need.

use std::collections::VecDeque;

use ahash::AHashMap;
use tapio_model::{EventId, Grave, Ledger, Mark, Outcome, Timestamp, TraceId, TraceState};

use super::Directory;

/// Traces that one cut writes down. Each is a part that a root names, and a root has a bound; the next
/// cut comes soon.
const CUT_TRACES_MAX: usize = 512;

/// How a live trace can be had back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    /// The last log entry that its written state knows of.
    upto: u64,
    /// The first entry after that which has an event for it.
    since: Option<u64>,
}

/// Where the traces began that live in the log alone, or whose written state is out of date.
#[derive(Debug, Default)]
pub(super) struct Residents {
    /// Oldest first; entries of traces that are over or written stay until they are first.
    begun: VecDeque<(Mark, TraceId)>,
    written: AHashMap<TraceId, Written>,
    /// Traces that were written and are over.
    gone: Vec<TraceId>,
}

impl Residents {
    pub(super) fn begin(&mut self, mark: Mark, trace: TraceId) {
        self.begun.push_back((mark, trace));
    }

    fn touch(&mut self, mark: Mark, trace: TraceId) {
        let Some(written) = self.written.get_mut(&trace).filter(|it| it.since.is_none()) else {
            return;
        };
        written.since = Some(mark.sequence);
        self.begun.push_back((mark, trace));
    }

    pub(super) fn leave(&mut self, trace: TraceId) {
        if self.written.remove(&trace).is_some() {
            self.gone.push(trace);
        }
    }

    /// Returns the first entry of the log that may still be needed; exact once the front was
    /// cleared.
    pub(super) fn low(&self) -> Option<Mark> {
        self.begun.front().map(|(mark, _)| *mark)
    }

    /// Says whether a trace's life or news since it was written began at `mark`.
    fn needs(&self, mark: Mark, trace: TraceId) -> bool {
        self.written.get(&trace).is_none_or(|written| written.since == Some(mark.sequence))
    }
}

impl<T> Directory<T> {
    /// Follows the log from here on: which of its entries the live traces need is known.
    pub fn follow(&mut self) {
        self.residents.get_or_insert_default();
    }

    /// Notes that a trace was opened by an event of the entry that is being taken in.
    pub fn open(&mut self, id: TraceId, trace: T) {
        self.live.insert(id, trace);
        if let Some(residents) = &mut self.residents {
            residents.begin(self.mark, id);
        }
    }

    /// Notes that a live trace takes an event of the entry that is being taken in.
    pub fn touch(&mut self, trace: TraceId) {
        if let Some(residents) = &mut self.residents
            && !residents.written.is_empty()
        {
            residents.touch(self.mark, trace);
        }
    }

    /// Returns the same directory of the same traces, kept in another way.
    #[must_use]
    pub fn map<U>(self, mut keep: impl FnMut(TraceId, T) -> U) -> Directory<U> {
        Directory {
            live: self.live.into_iter().map(|(id, trace)| (id, keep(id, trace))).collect(),
            ledger: self.ledger,
            timers: self.timers,
            past: self.past,
            forget: self.forget,
            mark: self.mark,
            residents: self.residents,
            fresh: self.fresh,
            outcomes: self.outcomes,
            is_replaying: self.is_replaying,
        }
    }

    /// Returns the last entry that was taken in, or is being taken in.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.mark.sequence
    }

    /// Says whether the event being read again was taken in by a life that is over, or is part of
    /// a state that was written down.
    pub(super) fn is_known(&self, trace: TraceId) -> bool {
        let sequence = self.mark.sequence;
        let written = self.residents.as_ref().and_then(|it| it.written.get(&trace));
        written.is_some_and(|written| sequence <= written.upto)
            || self.past.get(&trace).is_some_and(|grave| sequence <= grave.upto)
    }

    /// Returns the first entry of the log that a live trace needs; the one after the last, if none
    /// does.
    pub fn low(&mut self) -> Mark {
        let next = Mark { sequence: self.mark.sequence.saturating_add(1), now: self.mark.now };
        let Some(residents) = &mut self.residents else { return next };
        while let Some((mark, trace)) = residents.begun.front().copied() {
            if self.live.contains_key(&trace) && residents.needs(mark, trace) {
                return mark;
            }
            residents.begun.pop_front();
        }
        next
    }

    /// Returns the live traces that need entries of the log from before `old`: those whose need is
    /// oldest, 512 at most.
    #[must_use]
    pub fn old_residents(&self, old: Timestamp) -> Vec<TraceId> {
        let Some(residents) = &self.residents else { return Vec::new() };
        let begun = residents.begun.iter().take_while(|(mark, _)| mark.now < old);
        let needed = begun.filter(|(mark, trace)| {
            self.live.contains_key(trace) && residents.needs(*mark, *trace)
        });
        let mut traces: Vec<_> = needed.map(|(_, trace)| *trace).take(CUT_TRACES_MAX).collect();
        traces.sort_unstable();
        traces.dedup();
        traces
    }

    /// Notes that a trace was written down as it is now: the log is not needed for it.
    pub fn written(&mut self, trace: TraceId) {
        let upto = self.mark.sequence;
        if let Some(residents) = &mut self.residents {
            residents.written.insert(trace, Written { upto, since: None });
        }
    }

    /// Takes the traces that were written down and are over.
    pub fn take_gone(&mut self) -> Vec<TraceId> {
        self.residents.as_mut().map(|it| std::mem::take(&mut it.gone)).unwrap_or_default()
    }

    /// Takes the graves dug since the last call.
    pub fn take_graves(&mut self) -> Vec<Grave> {
        std::mem::take(&mut self.fresh)
    }

    /// Takes what became of which event since the last call, if the rules are audited.
    pub fn take_outcomes(&mut self) -> Vec<(EventId, Outcome)> {
        std::mem::take(&mut self.outcomes)
    }

    /// Begins to read the log again, from `low` on, beside what was written down.
    pub fn begin_replay(&mut self, low: Mark, graves: Vec<Grave>) {
        self.residents = Some(Residents::default());
        self.is_replaying = true;
        self.mark = Mark { sequence: low.sequence.saturating_sub(1), now: low.now };
        let mut graves = graves;
        graves.sort_by_key(|grave| (grave.until, grave.trace));
        for grave in graves {
            // A trace has the grave that was dug last. That need not be the one that is kept longest,
            // nor that of the highest life: one that was forgotten begins anew.
            let known = self.past.get(&grave.trace);
            if known.is_none_or(|known| known.upto <= grave.upto) {
                self.inter(grave);
            }
        }
    }

    /// Takes a trace in that was written down.
    pub fn restore(&mut self, state: &TraceState, trace: T) {
        self.timers.set(state.deadline, state.id);
        self.live.insert(state.id, trace);
        if let Some(residents) = &mut self.residents {
            residents.written.insert(state.id, Written { upto: state.upto, since: None });
        }
    }

    /// Ends reading the log again: from here on events are news. What was booked on the way is not
    /// news and is taken back.
    pub fn end_replay(&mut self, ledger: Ledger) {
        self.is_replaying = false;
        self.ledger = ledger;
        self.outcomes.clear();
    }
}
