//! A trace written down, and read again.

use ahash::AHashSet;
use tapio_model::{TraceMemory, TraceState};

use super::{Memory, Trace, WALK_EVENTS_MAX};

impl Trace {
    /// Writes the trace down as of the log entry `upto`.
    #[must_use]
    pub fn to_state(&self, upto: u64, failures: u32) -> TraceState {
        let memory = self.memory.as_ref().map(|memory| TraceMemory {
            findings: memory.findings.clone(),
            cited: memory.cited.clone(),
            past: memory.past.iter().copied().collect(),
            newest: memory.newest,
        });
        TraceState {
            id: self.id,
            incarnation: self.incarnation,
            upto,
            opened_at: self.opened_at,
            last_at: self.last_at,
            deadline: self.deadline,
            is_dirty: self.dirty,
            is_urgent: self.urgent,
            lost: self.lost,
            late: self.late,
            failures,
            events: self.events.clone(),
            memory,
        }
    }

    /// Reads a trace that was written down.
    #[must_use]
    pub fn from_state(state: TraceState) -> Self {
        let signs = state.events.iter().filter(|event| event.is_sign());
        let signs = signs.fold(0, |signs, event| signs | event.kind.bit());
        let mut memory = state.memory.map(|memory| {
            Box::new(Memory {
                findings: memory.findings,
                cited: memory.cited,
                past: memory.past.into(),
                ids: AHashSet::new(),
                newest: memory.newest,
            })
        });
        if state.events.len() > WALK_EVENTS_MAX {
            let memory = memory.get_or_insert_default();
            memory.ids.extend(state.events.iter().map(|event| event.id));
            memory.ids.extend(memory.past.iter().copied());
        }
        Self {
            id: state.id,
            incarnation: state.incarnation,
            dirty: state.is_dirty,
            urgent: state.is_urgent,
            opened_at: state.opened_at,
            last_at: state.last_at,
            deadline: state.deadline,
            signs,
            bytes: state.events.iter().map(|event| event.bytes()).sum(),
            lost: state.lost,
            late: state.late,
            events: state.events,
            memory,
        }
    }
}
