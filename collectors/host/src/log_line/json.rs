//! Structured lines.

use serde_json::{Map, Value};
use tapio_collect::{TraceParent, parse_traceparent};
use tapio_model::{Severity, Timestamp};

use super::{LogLine, stamp};

const LEVEL: [&str; 5] = ["level", "severity", "lvl", "log.level", "loglevel"];
const MESSAGE: [&str; 5] = ["message", "msg", "log", "event", "body"];
const TIME: [&str; 5] = ["time", "timestamp", "ts", "@timestamp", "asctime"];
const TRACE: [&str; 4] = ["trace_id", "traceId", "trace.id", "traceid"];
const SPAN: [&str; 4] = ["span_id", "spanId", "span.id", "spanid"];
const LOGGER: [&str; 5] = ["logger", "logger_name", "log.logger", "loggerName", "name"];
const ERROR: [&str; 4] = ["error", "err", "exception", "cause"];
const ERROR_TYPE: [&str; 4] = ["error.type", "exception.type", "exc_type", "errorType"];
const STACK: [&str; 8] = [
    "stack_trace",
    "stacktrace",
    "stack",
    "exc_info",
    "error.stack_trace",
    "exception.stacktrace",
    "error.stack",
    "traceback",
];

/// Reads a JSON object; `None` if the line is none.
pub(super) fn read(text: &str) -> Option<LogLine> {
    let trimmed = text.trim();
    if !trimmed.starts_with('{') {
        return None;
    }
    let Value::Object(fields) = serde_json::from_str(trimmed).ok()? else { return None };
    let error = Failure::read(&fields);
    let message = match (first_text(&fields, &MESSAGE), &error.message) {
        (Some(message), Some(error)) if !message.contains(error.as_str()) => {
            format!("{message}: {error}")
        }
        (Some(message), _) => message.to_owned(),
        (None, Some(error)) => error.clone(),
        (None, None) => trimmed.to_owned(),
    };
    let mut line = LogLine::new(message);
    line.severity = first(&fields, &LEVEL).and_then(severity);
    line.time = first(&fields, &TIME).and_then(time);
    line.trace = trace(&fields);
    line.logger = first_text(&fields, &LOGGER).map(str::to_owned);
    line.error_type = error.class;
    line.stacktrace = error.stack;
    Some(line)
}

/// What a line says of its error, in the shapes loggers use: a text, an object, dotted fields.
#[derive(Default)]
struct Failure {
    message: Option<String>,
    class: Option<String>,
    stack: Option<String>,
}

impl Failure {
    fn read(fields: &Map<String, Value>) -> Self {
        let mut failure = match first(fields, &ERROR) {
            Some(Value::String(text)) => Self { message: Some(text.clone()), ..Self::default() },
            Some(Value::Object(inner)) => Self {
                message: first_text(inner, &["message", "msg"]).map(str::to_owned),
                class: first_text(inner, &["type", "class", "kind", "name", "exception_class"])
                    .map(str::to_owned),
                stack: first_text(inner, &STACK).map(str::to_owned),
            },
            _ => Self::default(),
        };
        if let Some(text) = first_text(fields, &["error.message", "exception.message"]) {
            failure.message.get_or_insert_with(|| text.to_owned());
        }
        if let Some(class) = first_text(fields, &ERROR_TYPE) {
            failure.class.get_or_insert_with(|| class.to_owned());
        }
        if let Some(stack) = first_text(fields, &STACK) {
            failure.stack.get_or_insert_with(|| stack.to_owned());
        }
        failure
    }
}

/// Finds a field by name, or by its dotted name in nested objects.
fn first<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    let find = |name: &str| {
        fields.get(name).or_else(|| {
            let (outer, inner) = name.split_once('.')?;
            fields.get(outer)?.as_object()?.get(inner)
        })
    };
    names.iter().find_map(|name| find(name)).filter(|value| !value.is_null())
}

fn first_text<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    names
        .iter()
        .find_map(|name| first(fields, &[name])?.as_str())
        .map(str::trim_end)
        .filter(|text| !text.is_empty())
}

/// Reads a level's name, or its number as pino and bunyan count: by tens from 10, trace.
fn severity(value: &Value) -> Option<Severity> {
    if let Some(name) = value.as_str() {
        return Severity::from_name(name.trim());
    }
    let number = value.as_i64()?;
    let rank = usize::try_from(number / 10).ok()?.checked_sub(1)?;
    Severity::ALL.get(rank).copied()
}

fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => {
            stamp::parse(text).or_else(|| text.parse().ok().and_then(stamp::from_number))
        }
        Value::Number(number) => number.as_f64().and_then(stamp::from_number),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn trace(fields: &Map<String, Value>) -> Option<TraceParent> {
    if let Some(found) = first_text(fields, &["traceparent"]).and_then(parse_traceparent) {
        return Some(found);
    }
    let trace_id = first_text(fields, &TRACE)?.parse().ok()?;
    let span_id = first_text(fields, &SPAN).and_then(|id| id.parse().ok());
    let found = TraceParent { trace_id, span_id };
    (!found.trace_id.is_zero()).then_some(found)
}
