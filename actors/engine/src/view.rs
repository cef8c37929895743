//! What a pattern sees of a trace: its events in order of time, and nothing else.

use std::sync::Arc;

use tapio_model::{Event, Kind, SpanId, Timestamp};

/// The events of one trace inside its window, in order of (time, id).
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    events: &'a [Arc<Event>],
    now: Timestamp,
}

impl<'a> View<'a> {
    /// Makes a view; `events` must be in order of (time, id).
    #[must_use]
    pub fn new(events: &'a [Arc<Event>], now: Timestamp) -> Self {
        debug_assert!(events.is_sorted_by_key(|event| event.order()), "a view is in order of time");
        Self { events, now }
    }

    /// Returns the engine's time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns every event that says something, in order of time. A sample of a metric says nothing
    /// by itself: whoever wants samples asks for their kind.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &'a Event> + use<'a> {
        self.all().filter(|event| event.kind != Kind::Metric)
    }

    /// Returns every event, samples of metrics among them, in order of time.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &'a Event> + use<'a> {
        self.events.iter().map(Arc::as_ref)
    }

    /// Returns the events of one kind, in order of time.
    pub fn of(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &'a Event> + use<'a> {
        self.all().filter(move |event| event.kind == kind)
    }

    /// Returns the first event of `kind` that `holds`.
    pub fn find(&self, kind: Kind, mut holds: impl FnMut(&Event) -> bool) -> Option<&'a Event> {
        self.of(kind).find(|event| holds(event))
    }

    /// Says whether there is an event of `kind`.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.of(kind).next().is_some()
    }

    /// Returns the span with this id.
    #[must_use]
    pub fn span(&self, id: SpanId) -> Option<&'a Event> {
        self.find(Kind::Span, |event| event.trace.span_id == Some(id))
    }
}
