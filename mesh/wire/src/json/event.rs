//! An event as one JSON object: a line of a recording.

mod shape;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tapio_model::{
    Attributes, Class, Event, EventId, Impact, Kind, Place, Severity, Source, Timestamp,
    TraceContext,
};

use self::shape::EventShape;
use super::JsonError;

/// Bytes a line of a recording may have.
///
/// # Source
/// The largest attribute is a stack trace; 1 MiB is what Kubernetes allows a whole object.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// An event as people and recordings write it: everything of an [`Event`], but its id and its
/// trace may be left to the reader.
///
/// Written and read as one JSON object; see `mesh/wire/schema/event.schema.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "EventShape", try_from = "EventShape")]
pub struct EventJson {
    /// Identity; `None` leaves it to the reader, who derives it from the content.
    pub id: Option<EventId>,
    /// When it happened.
    pub time: Timestamp,
    /// Who saw it.
    pub source: Source,
    /// What happened.
    pub kind: Kind,
    /// The trace it belongs to; `None` leaves binding to the reader.
    pub trace: Option<TraceContext>,
    /// Where it happened; empty unless written.
    pub place: Arc<Place>,
    /// How bad the source says it is; info unless written.
    pub severity: Severity,
    /// How much it matters to users; 0 unless written.
    pub impact: Impact,
    /// What kind of trouble it speaks of; other unless written.
    pub class: Class,
    /// Everything else.
    pub attributes: Attributes,
}

impl EventJson {
    /// Makes the event, with the id and the trace that the reader settled on.
    #[must_use]
    pub fn into_event(self, id: EventId, trace: TraceContext) -> Event {
        Event {
            id,
            time: self.time,
            source: self.source,
            kind: self.kind,
            trace,
            place: self.place,
            severity: self.severity,
            impact: self.impact,
            class: self.class,
            attributes: self.attributes,
        }
    }
}

impl From<&Event> for EventJson {
    fn from(event: &Event) -> Self {
        Self {
            id: Some(event.id),
            time: event.time,
            source: event.source,
            kind: event.kind,
            trace: Some(event.trace),
            place: Arc::clone(&event.place),
            severity: event.severity,
            impact: event.impact,
            class: event.class,
            attributes: event.attributes.clone(),
        }
    }
}

/// Makes the JSON form of an event.
#[must_use]
pub fn event_to_json(event: &Event) -> EventJson {
    EventJson::from(event)
}

/// Reads one line of a recording; white space around it is allowed.
///
/// # Errors
/// [`JsonError`], which says what to write instead.
pub fn parse_event_line(line: &[u8]) -> Result<EventJson, JsonError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(JsonError::TooLarge { bytes: line.len(), bytes_max: LINE_BYTES_MAX });
    }
    let shape: EventShape = serde_json::from_slice(line)
        .map_err(|error| JsonError::Malformed { what: error.to_string() })?;
    shape.try_into()
}

/// Returns the JSON Schema of an event as it is read.
#[must_use]
pub fn event_schema() -> serde_json::Value {
    schemars::schema_for!(EventShape).to_value()
}
