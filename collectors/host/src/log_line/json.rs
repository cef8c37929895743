//! Structured lines.

use serde_json::{Map, Value};
use tapio_collect::{TraceParent, parse_traceparent};
use tapio_model::{Severity, Timestamp};

use super::{LogLine, MESSAGE_BYTES_MAX, stamp};

const LEVEL: [&str; 8] =
    ["level", "severity", "lvl", "log.level", "loglevel", "LogLevel", "Level", "@l"];
const MESSAGE: [&str; 7] = ["message", "msg", "log", "event", "body", "Message", "@m"];
const TEMPLATE: [&str; 1] = ["@mt"];
const TIME: [&str; 8] =
    ["time", "timestamp", "ts", "@timestamp", "asctime", "Timestamp", "@t", "t.$date"];
const TRACE: [&str; 5] = ["trace_id", "traceId", "trace.id", "traceid", "@tr"];
const SPAN: [&str; 5] = ["span_id", "spanId", "span.id", "spanid", "@sp"];
const LOGGER: [&str; 7] =
    ["logger", "logger_name", "log.logger", "loggerName", "name", "SourceContext", "Category"];
const ERROR: [&str; 6] = ["error", "err", "exception", "cause", "attr.error", "attr.reason"];
/// How other names end under which lines keep what went wrong, in lower case.
const ERROR_ENDS: [&str; 6] =
    ["error", "exception", "error_message", "errormessage", "errmsg", "failure_reason"];
/// Where an error that is an object says what it is.
const SAID: [&str; 4] = ["message", "msg", "reason", "errmsg"];
/// What says more of a line that is a warning at least; calm ones describe anything there.
const DETAIL: [&str; 3] = ["detail", "error_description", "reason"];
const ERROR_TYPE: [&str; 4] = ["error.type", "exception.type", "exc_type", "errorType"];
const STACK: [&str; 9] = [
    "@x",
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
    let severity = first(&fields, &LEVEL).and_then(severity).or_else(|| unnamed(&fields));
    let mut error = Failure::read(&fields);
    if severity.is_some_and(|severity| severity >= Severity::Warn) {
        let detail = || ending(&fields).or_else(|| first_text(&fields, &DETAIL));
        error.message = error.message.or_else(|| detail().map(str::to_owned));
    }
    let said = first_text(&fields, &MESSAGE).map(str::to_owned);
    let said = said.or_else(|| Some(rendered(first_text(&fields, &TEMPLATE)?, &fields)));
    let message = match (said, &error.message) {
        (Some(message), Some(error)) if !message.contains(error.as_str()) => {
            format!("{message}: {error}")
        }
        (Some(message), _) => message,
        (None, Some(error)) => error.clone(),
        (None, None) => trimmed.to_owned(),
    };
    let mut line = LogLine::new(message);
    line.severity = severity;
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
                message: first_text(inner, &SAID).map(str::to_owned),
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
        // .NET writes one of these or nothing, and people whatever they like.
        let thrown = || first_text(fields, &["Exception"]).filter(|text| head(text).is_some());
        if let Some(stack) = first_text(fields, &STACK).or_else(thrown) {
            failure.stack.get_or_insert_with(|| stack.to_owned());
        }
        if let (None, Some(named)) = (&failure.message, failure.stack.as_deref().and_then(head)) {
            let class = named.split(": ").next().unwrap_or(named);
            failure.class.get_or_insert_with(|| class.to_owned());
            failure.message = Some(named.to_owned());
        }
        failure
    }
}

/// Returns the line of a stack trace that names the exception: Python's last, else the first.
fn head(stack: &str) -> Option<&str> {
    let mut lines = stack.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = if stack.starts_with("Traceback") { lines.next_back() } else { lines.next() };
    // `at Cart.pay (cart.js:3)` and `main.(*Cart).pay` name none.
    line.filter(|line| {
        let class = line.split(": ").next().unwrap_or(line);
        let is_class = !class.contains([' ', '/', '(']);
        is_class
            && (line.contains(": ") || class.ends_with("Error") || class.ends_with("Exception"))
    })
}

/// Returns the text of a field whose name ends as those do that keep an error: `firstError`.
fn ending(fields: &Map<String, Value>) -> Option<&str> {
    let is_error = |key: &str| {
        let key = key.to_ascii_lowercase();
        ERROR_ENDS.iter().any(|end| key.ends_with(end))
    };
    let mut errors = fields.iter().filter(|(key, _)| is_error(key)).map(|(_, value)| value);
    errors.find_map(|error| {
        let text = error.as_str().or_else(|| first_text(error.as_object()?, &SAID));
        text.filter(|text| !text.trim().is_empty())
    })
}

/// Returns the level of lines that do not name it: a mongod has a letter for it, beside component and
/// context, and Serilog's compact format leaves it out where all is well.
///
/// # Source
/// <https://www.mongodb.com/docs/manual/reference/log-messages/>,
/// <https://github.com/serilog/serilog-formatting-compact>
fn unnamed(fields: &Map<String, Value>) -> Option<Severity> {
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["@t"]) && (has(&["@m"]) || has(&["@mt"])) && !has(&["@l"]) {
        return Some(Severity::Info);
    }
    match fields.get("s")?.as_str().filter(|_| has(&["c", "ctx"]))? {
        "F" => Some(Severity::Fatal),
        "E" => Some(Severity::Error),
        "W" => Some(Severity::Warn),
        "I" => Some(Severity::Info),
        "D" | "D1" | "D2" | "D3" | "D4" | "D5" => Some(Severity::Debug),
        _ => None,
    }
}

/// Fills a message template in: `Geocoder returned {Status} for {City:l}`.
///
/// # Source
/// <https://messagetemplates.org>, as Serilog's compact format has it.
fn rendered(template: &str, fields: &Map<String, Value>) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((hole, behind)) = after.split_once('}') else { break };
        // A long value in many holes is no message.
        if text.len() >= MESSAGE_BYTES_MAX {
            return text;
        }
        text.push_str(before);
        rest = behind;
        let name = hole.split([':', ',']).next().unwrap_or(hole);
        match fields.get(name.trim_start_matches(['@', '$'])) {
            Some(Value::String(value)) => text.push_str(value),
            Some(value) => text.push_str(&value.to_string()),
            None => text.extend(["{", hole, "}"]),
        }
    }
    text.push_str(rest);
    text
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
