//! An event that has no trace yet.

use tapio_model::{
    Class, EventId, Impact, Kind, Place, Severity, Source, SpanId, Text, Timestamp, TraceId, Value,
    keys,
};

/// An event as a collector's `translate` leaves it: understood, and not yet bound to a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Unbound {
    /// Identity, derived from source content.
    pub id: EventId,
    /// When it happened.
    pub time: Timestamp,
    /// Who saw it.
    pub source: Source,
    /// What happened.
    pub kind: Kind,
    /// Trace id, if the source carried one.
    pub trace_id: Option<TraceId>,
    /// Span id, if the source carried one.
    pub span_id: Option<SpanId>,
    /// Calling span, if the source carried one.
    pub parent_span_id: Option<SpanId>,
    /// The owner's generation, which tells two versions of a workload apart.
    pub generation: Option<u64>,
    /// Where it happened.
    pub place: Place,
    /// How bad the source says it is.
    pub severity: Severity,
    /// How much it matters.
    pub impact: Impact,
    /// What kind of trouble it speaks of.
    pub class: Class,
    /// Everything else.
    pub attributes: Vec<(Text, Value)>,
}

impl Unbound {
    /// Makes an event of everyday severity at an unknown place.
    #[must_use]
    pub fn new(id: EventId, time: Timestamp, source: Source, kind: Kind) -> Self {
        Self {
            id,
            time,
            source,
            kind,
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            generation: None,
            place: Place::default(),
            severity: Severity::Info,
            impact: Impact::NONE,
            class: Class::Other,
            attributes: Vec::new(),
        }
    }

    /// Returns the text of an attribute; nothing if it is missing or no text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == key)?.1.as_str()
    }

    /// Sets where it happened.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Sets how bad it is, how much it matters and what it speaks of.
    #[must_use]
    pub const fn rated(mut self, severity: Severity, impact: f32, class: Class) -> Self {
        self.severity = severity;
        self.impact = Impact::new(impact);
        self.class = class;
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, key: impl Into<Text>, value: impl Into<Value>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    /// Adds an attribute, if there is a value for it.
    #[must_use]
    pub fn with_some(self, key: impl Into<Text>, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds the line the source wrote.
    #[must_use]
    pub fn message(self, text: impl Into<Text>) -> Self {
        self.with(keys::MESSAGE, Value::Text(text.into()))
    }
}
