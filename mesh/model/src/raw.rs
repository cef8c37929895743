//! What a collector read, before anybody understood it.

use crate::{Attributes, Source, SpanId, Timestamp, TraceId};

/// What a collector read from its source, untouched.
///
/// Kept as it is for the dead letters and the spool: whatever cannot be understood is kept with
/// its reason, never rounded to something that can.
#[derive(Debug, Clone, PartialEq)]
pub struct RawEvent {
    /// Who read it.
    pub source: Source,
    /// Trace id, if the source carried one.
    pub trace_id: Option<TraceId>,
    /// Span id, if the source carried one.
    pub span_id: Option<SpanId>,
    /// When it happened, or was read where the source does not say.
    pub time: Timestamp,
    /// The bytes as read.
    pub payload: Vec<u8>,
    /// What the collector knows beside the bytes: file, offset, cursor, unit, pod.
    pub metadata: Attributes,
}
