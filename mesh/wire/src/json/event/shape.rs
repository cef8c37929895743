//! The object on the line, before its names are looked up.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tapio_model::{
    Attributes, Binding, Class, Impact, Kind, Rule, Severity, Source, Text, TraceContext, Value,
};

use super::EventJson;
use crate::json::{
    JsonError,
    place::PlaceShape,
    time::{time_from_value, time_to_text},
};

/// Something that was seen: one line of a recording.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(super) struct EventShape {
    /// Identity, 32 hexadecimal digits; derived from the content if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// When it happened: RFC 3339, or whole nanoseconds since 1970.
    #[schemars(schema_with = "time_schema")]
    time: serde_json::Value,
    /// Who saw it.
    #[schemars(schema_with = "source_schema")]
    source: String,
    /// What happened.
    #[schemars(schema_with = "kind_schema")]
    kind: String,
    /// The trace it belongs to; inferred from the place if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<TraceShape>,
    /// Where it happened.
    #[serde(default)]
    place: PlaceShape,
    /// How bad the source says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "severity_schema")]
    severity: Option<String>,
    /// How much it matters to users, 0 to 1.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    impact: f32,
    /// What kind of trouble it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "class_schema")]
    class: Option<String>,
    /// Everything else: text, whole numbers, measured numbers, true and false.
    #[serde(default)]
    attributes: BTreeMap<String, ValueShape>,
}

/// Which trace an event belongs to, and why.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Trace")]
struct TraceShape {
    /// The trace, 32 hexadecimal digits.
    trace_id: String,
    /// The span it happened in, 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    /// The span that called this span, 16 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    /// `explicit`, or the rule that gave the trace id: `inferred(workload)`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "binding_schema")]
    binding: Option<String>,
}

impl From<EventJson> for EventShape {
    fn from(event: EventJson) -> Self {
        Self {
            id: event.id.map(|id| id.to_string()),
            time: time_to_text(event.time).into(),
            source: event.source.name().into(),
            kind: event.kind.name().into(),
            trace: event.trace.as_ref().map(TraceShape::from),
            place: PlaceShape::from(&*event.place),
            severity: Some(event.severity.name().into()),
            impact: event.impact.get(),
            class: Some(event.class.name().into()),
            attributes: event
                .attributes
                .iter()
                .map(|(key, value)| (key.to_string(), ValueShape(value.clone())))
                .collect(),
        }
    }
}

impl TryFrom<EventShape> for EventJson {
    type Error = JsonError;

    fn try_from(shape: EventShape) -> Result<Self, JsonError> {
        let severity = shape.severity.map_or(Ok(Severity::default()), |name| {
            Severity::from_name(&name).ok_or(JsonError::UnknownSeverity { name })
        })?;
        let class = shape.class.map_or(Ok(Class::default()), |name| {
            Class::from_name(&name).ok_or(JsonError::UnknownClass { name })
        })?;
        if !(0.0..=1.0).contains(&shape.impact) {
            return Err(JsonError::BadImpact { impact: shape.impact });
        }
        let attributes = shape.attributes.into_iter();
        Ok(Self {
            id: shape.id.map(|id| read_id("id", id, 32)).transpose()?,
            time: time_from_value(&shape.time)?,
            source: Source::from_name(&shape.source)
                .ok_or(JsonError::UnknownSource { name: shape.source })?,
            kind: Kind::from_name(&shape.kind)
                .ok_or(JsonError::UnknownKind { name: shape.kind })?,
            trace: shape.trace.map(TraceContext::try_from).transpose()?,
            place: std::sync::Arc::new(shape.place.into()),
            severity,
            impact: Impact::new(shape.impact),
            class,
            attributes: Attributes::new(
                attributes.map(|(key, ValueShape(value))| (Text::from(key), value)),
            ),
        })
    }
}

impl From<&TraceContext> for TraceShape {
    fn from(trace: &TraceContext) -> Self {
        Self {
            trace_id: trace.trace_id.to_string(),
            span_id: trace.span_id.map(|id| id.to_string()),
            parent_span_id: trace.parent_span_id.map(|id| id.to_string()),
            binding: Some(trace.binding.to_string()),
        }
    }
}

impl TryFrom<TraceShape> for TraceContext {
    type Error = JsonError;

    fn try_from(shape: TraceShape) -> Result<Self, JsonError> {
        let span = |field, id: Option<String>| id.map(|id| read_id(field, id, 16)).transpose();
        Ok(Self {
            trace_id: read_id("trace_id", shape.trace_id, 32)?,
            span_id: span("span_id", shape.span_id)?,
            parent_span_id: span("parent_span_id", shape.parent_span_id)?,
            binding: shape.binding.map_or(Ok(Binding::Explicit), |name| {
                read_binding(&name).ok_or(JsonError::UnknownBinding { name })
            })?,
        })
    }
}

fn read_id<T: FromStr>(field: &'static str, text: String, digits: usize) -> Result<T, JsonError> {
    text.parse().ok().ok_or(JsonError::BadId { field, text, digits })
}

fn bindings() -> impl Iterator<Item = Binding> {
    [Binding::Explicit].into_iter().chain(Rule::ALL.map(Binding::Inferred))
}

fn read_binding(name: &str) -> Option<Binding> {
    bindings().find(|binding| binding.to_string() == name)
}

/// An attribute's value. Not derived: an untagged enum would round a large whole number.
#[derive(Debug, Clone)]
struct ValueShape(Value);

impl Serialize for ValueShape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) if number.is_finite() => serializer.serialize_f64(*number),
            // JSON has no NaN and no infinity: text says which it was, `null` would not.
            Value::Float(number) => serializer.collect_str(number),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
        }
    }
}

impl<'de> Deserialize<'de> for ValueShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl de::Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true or false as the attribute's value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).ok().map(Value::Int).ok_or_else(|| {
            E::custom(format_args!("whole number {number} is beyond 2^63-1, write it as text"))
        })
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }
}

impl JsonSchema for ValueShape {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer"], "format": "date-time" })
}

fn kind_schema(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    json_schema!({ "type": "string", "enum": names })
}

fn source_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Source::ALL.map(Source::name) })
}

fn severity_schema(_: &mut SchemaGenerator) -> Schema {
    let names = Severity::ALL.map(Severity::name);
    json_schema!({ "type": "string", "enum": names, "default": Severity::default().name() })
}

fn class_schema(_: &mut SchemaGenerator) -> Schema {
    let names = Class::ALL.map(Class::name);
    json_schema!({ "type": "string", "enum": names, "default": Class::default().name() })
}

fn binding_schema(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = bindings().map(|binding| binding.to_string()).collect();
    json_schema!({ "type": "string", "enum": names, "default": "explicit" })
}
