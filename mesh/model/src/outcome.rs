//! What becomes of an event: exactly one of seven things.

/// Why an event was turned away before it reached its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShedReason {
    /// The trace holds as many events as it may.
    TraceEvents,
    /// The trace holds as many bytes as it may.
    TraceBytes,
    /// The node holds as many traces as it may.
    NodeTraces,
    /// The queue to the trace's actor is full.
    Mailbox,
    /// The bus is full.
    Bus,
}

impl ShedReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::TraceEvents, Self::TraceBytes, Self::NodeTraces, Self::Mailbox, Self::Bus];

    /// Returns the metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TraceEvents => "trace_events",
            Self::TraceBytes => "trace_bytes",
            Self::NodeTraces => "node_traces",
            Self::Mailbox => "mailbox",
            Self::Bus => "bus",
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A story cites it.
    Story,
    /// Its trace is live and no story cites it yet.
    Open,
    /// Its window closed without a finding that cites it.
    Expired,
    /// Seen before.
    Duplicate,
    /// Its trace had closed, or it was older than the late horizon.
    Late,
    /// It, or its trace, could not be processed.
    DeadLetter,
    /// Turned away at a limit.
    Shed(ShedReason),
}

/// How many events came in, and what became of them.
///
/// # Invariant
/// `received` equals the sum of the seven outcomes at every point between two inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Events that came in.
    pub received: u64,
    /// Events that stories cite.
    pub story: u64,
    /// Events in live traces that no story cites.
    pub open: u64,
    /// Events whose window closed without being cited.
    pub expired: u64,
    /// Events seen before.
    pub duplicate: u64,
    /// Events that came after their trace closed.
    pub late: u64,
    /// Events that could not be processed.
    pub dead_letter: u64,
    /// Events turned away, by reason, in the order of [`ShedReason::ALL`].
    pub shed: [u64; ShedReason::ALL.len()],
}

impl Ledger {
    /// Returns the number under `outcome`.
    #[must_use]
    pub fn count(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Story => &mut self.story,
            Outcome::Open => &mut self.open,
            Outcome::Expired => &mut self.expired,
            Outcome::Duplicate => &mut self.duplicate,
            Outcome::Late => &mut self.late,
            Outcome::DeadLetter => &mut self.dead_letter,
            Outcome::Shed(reason) => {
                let [events, bytes, traces, mailbox, bus] = &mut self.shed;
                match reason {
                    ShedReason::TraceEvents => events,
                    ShedReason::TraceBytes => bytes,
                    ShedReason::NodeTraces => traces,
                    ShedReason::Mailbox => mailbox,
                    ShedReason::Bus => bus,
                }
            }
        }
    }

    /// Books a new event under `outcome`.
    pub fn receive(&mut self, outcome: Outcome) {
        self.received += 1;
        *self.count(outcome) += 1;
    }

    /// Moves `events` that were booked under `from` to `to`.
    pub fn rebook(&mut self, from: Outcome, to: Outcome, events: u64) {
        let source = self.count(from);
        debug_assert!(*source >= events, "more events leave {from:?} than are booked there");
        *source = source.saturating_sub(events);
        *self.count(to) += events;
    }

    /// Returns the events turned away, whatever the reason.
    #[must_use]
    pub fn shed_total(&self) -> u64 {
        self.shed.iter().sum()
    }

    /// Says whether the seven outcomes add up to what came in.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.received
            == self.story
                + self.open
                + self.expired
                + self.duplicate
                + self.late
                + self.dead_letter
                + self.shed_total()
    }

    /// Adds another ledger to this one.
    pub fn add(&mut self, other: &Self) {
        let Self { received, story, open, expired, duplicate, late, dead_letter, shed } = other;
        self.received += received;
        self.story += story;
        self.open += open;
        self.expired += expired;
        self.duplicate += duplicate;
        self.late += late;
        self.dead_letter += dead_letter;
        for (mine, theirs) in self.shed.iter_mut().zip(shed) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_account() {
        let mut ledger = Ledger::default();
        let mut outcomes = vec![
            Outcome::Story,
            Outcome::Open,
            Outcome::Expired,
            Outcome::Duplicate,
            Outcome::Late,
            Outcome::DeadLetter,
        ];
        outcomes.extend(ShedReason::ALL.map(Outcome::Shed));
        for outcome in outcomes {
            ledger.receive(outcome);
            assert_eq!(*ledger.count(outcome), 1, "{outcome:?}");
        }
        assert!(ledger.balances());
        ledger.rebook(Outcome::Open, Outcome::Expired, 1);
        assert!(ledger.balances() && ledger.open == 0 && ledger.expired == 2);
    }
}
