//! A row of a trace table.

use csv::ByteRecord;
use tapio_collect::{Unbound, event_id};
use tapio_model::{Kind, Source, Timestamp, Value};

use super::{
    places::Shared,
    table::{Bad, fields, id, nanos},
};

/// What stands where the first span of a trace has no parent.
const ROOT: &str = "root";

/// Reads `TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration`.
pub(super) fn read(row: &ByteRecord, shared: &mut Shared) -> Result<Unbound, Bad> {
    let [trace_id, span_id, parent_id, pod, operation, start, end, _micros] = fields(row)?;
    let id_of_row = event_id(&[
        b"nezha.span",
        trace_id.as_bytes(),
        span_id.as_bytes(),
        pod.as_bytes(),
        operation.as_bytes(),
        start.as_bytes(),
        end.as_bytes(),
    ]);
    let (start, end) = (nanos(start)?, nanos(end)?);
    if start <= 0 || end < start {
        return Err(Bad::new("time", format!("a span from {start} to {end}")));
    }
    let time = Timestamp::from_nanos(end);
    let mut event = Unbound::new(id_of_row, time, Source::Otlp, Kind::Span).at(shared.pod(pod));
    event.trace_id = Some(id("trace id", trace_id)?);
    event.span_id = Some(id("span id", span_id)?);
    if parent_id != ROOT {
        event.parent_span_id = Some(id("parent id", parent_id)?);
    }
    // The start is in whole microseconds or better, the duration column is rounded: take the two
    // times.
    event.attributes = vec![
        (shared.keys.span_name.clone(), shared.text(operation).into()),
        (shared.keys.duration.clone(), Value::Int(end - start)),
    ];
    Ok(event)
}
