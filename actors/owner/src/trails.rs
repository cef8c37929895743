//! Which of Tapio's own traces an event came on, so that its story can carry it on.

use std::collections::{BTreeMap, VecDeque};

use tapio_model::{EventId, Text};

/// Events whose trail is kept. Only what was sampled has one, and only what may be told of is kept.
const TRAILS_MAX: usize = 1_024;

/// The `traceparent` of recent events, oldest forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Trails {
    by_event: BTreeMap<EventId, Text>,
    order: VecDeque<EventId>,
}

impl Trails {
    /// Notes that events came on a trail.
    pub(crate) fn note(&mut self, events: impl Iterator<Item = EventId>, traceparent: &Text) {
        for event in events {
            if self.by_event.insert(event, traceparent.clone()).is_none() {
                self.order.push_back(event);
            }
            if self.order.len() > TRAILS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_event.remove(&oldest);
            }
        }
    }

    /// Returns the trail of the first of these events that has one.
    pub(crate) fn of(&self, events: impl Iterator<Item = EventId>) -> Option<Text> {
        if self.by_event.is_empty() {
            return None;
        }
        events.into_iter().find_map(|event| self.by_event.get(&event)).cloned()
    }
}
