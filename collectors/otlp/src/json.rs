//! OTLP as JSON.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::refusal::Refusal;

/// Bodies up to this size are read a second time when the first reading fails: the tree of a larger
/// one would cost too much memory.
const SECOND_READING_BYTES_MAX: usize = 1 << 20;

/// Reads a request written as OTLP JSON.
///
/// # Errors
/// [`Refusal::Malformed`].
pub(crate) fn read<M: DeserializeOwned>(body: &[u8]) -> Result<M, Refusal> {
    let error = match serde_json::from_slice(body) {
        Ok(request) => return Ok(request),
        Err(error) => error,
    };
    if body.len() > SECOND_READING_BYTES_MAX {
        return Err(Refusal::malformed(error));
    }
    let mut tree = serde_json::from_slice(body).map_err(Refusal::malformed)?;
    spell_out(&mut tree);
    serde_json::from_value(tree).map_err(Refusal::malformed)
}

/// Writes out what protobuf's JSON mapping lets a sender leave out and `opentelemetry-proto` wants:
/// the `values` of an empty list. The Collector sends `{"arrayValue":{}}`. A `null` says the same
/// as a field left out.
fn spell_out(tree: &mut Value) {
    match tree {
        Value::Array(items) => items.iter_mut().for_each(spell_out),
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (name, value) in fields {
                if let ("arrayValue" | "kvlistValue", Value::Object(list)) =
                    (name.as_str(), &mut *value)
                {
                    list.entry("values").or_insert_with(|| Value::Array(Vec::new()));
                }
                spell_out(value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    use super::*;

    #[test]
    fn reads_what_the_json_mapping_lets_a_sender_leave_out() {
        for attribute in [
            r#"{"key":"a","value":{"arrayValue":{}}}"#,
            r#"{"key":"a","value":{"kvlistValue":{}}}"#,
            r#"{"key":"a","value":{}}"#,
            r#"{"key":"a"}"#,
            r#"{"key":"a","value":null}"#,
            r#"{"key":"a","value":{"intValue":"7"},"aFieldOfTheFuture":[1]}"#,
        ] {
            let body = format!(
                r#"{{"resourceSpans":[{{"resource":{{"attributes":[{attribute}]}},"scopeSpans":null}}]}}"#
            );
            let read = read::<ExportTraceServiceRequest>(body.as_bytes());
            let request = read.unwrap_or_else(|error| panic!("{attribute}: {error}"));
            assert_eq!(request.resource_spans.len(), 1, "{attribute}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{}", r#"{"resourceSpans":["#, "[".repeat(100_000));
        assert!(read::<ExportTraceServiceRequest>(deep.as_bytes()).is_err());
    }
}
