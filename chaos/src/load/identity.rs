//! Ids that say whose they are.

use tapio_model::{EventId, TraceId};

/// First byte of every id of a load: none is zero, and a foreign one is known.
const MARK: u8 = 0xC4;

/// Whose an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// Evidence of an incident.
    Evidence { number: u32, part: u8, index: u16 },
    /// A span around an incident.
    Hum { number: u32, part: u8, index: u16 },
    /// A span of a trace in which nothing happens.
    Healthy { trace: u32, index: u16 },
}

impl Whose {
    const fn parts(self) -> (u8, u32, u8, u16) {
        match self {
            Self::Evidence { number, part, index } => (1, number, part, index),
            Self::Hum { number, part, index } => (2, number, part, index),
            Self::Healthy { trace, index } => (3, trace, 0, index),
        }
    }

    /// Returns the event's id.
    pub(super) const fn event_id(self, seed: u64) -> EventId {
        let (tag, number, part, index) = self.parts();
        let [a, b, c, d] = number.to_be_bytes();
        let [i, j] = index.to_be_bytes();
        // Seven bytes tell a million runs apart; nothing else has this mark.
        let [_, s, t, u, v, w, x, y] = seed.to_be_bytes();
        EventId::from_bytes([MARK, tag, s, t, u, v, w, x, y, a, b, c, d, part, i, j])
    }
}

/// Returns the incident an event belongs to, if it is one's.
pub(super) const fn incident_of(id: EventId) -> Option<u32> {
    let [MARK, 1 | 2, _, _, _, _, _, _, _, a, b, c, d, _, _, _] = *id.as_bytes() else {
        return None;
    };
    Some(u32::from_be_bytes([a, b, c, d]))
}

/// Returns a trace's id. `salt` moves it to another shard.
pub(super) const fn trace_id(seed: u64, number: u32, part: u8, salt: u16) -> TraceId {
    let [a, b, c, d] = number.to_be_bytes();
    let [i, j] = salt.to_be_bytes();
    let [r, s, t, u, v, w, x, y] = seed.to_be_bytes();
    TraceId::from_bytes([MARK, r, s, t, u, v, w, x, y, part, a, b, c, d, i, j])
}
