//! A row of a log table.

use std::borrow::Cow;

use csv::ByteRecord;
use serde::Deserialize;
use tapio_collect::{Unbound, event_id};
use tapio_model::{Class, Kind, Severity, Source, Timestamp};

use super::{
    places::Shared,
    table::{Bad, fields, id, nanos},
};

/// What the container runtime wrote for one line of output.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

/// A line of the application's logger.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    severity: Severity,
    logger: Option<&'a str>,
    text: &'a str,
}

/// Reads `Timestamp,TimeUnixNano,Node,PodName,Container,TraceID,SpanID,Log`.
pub(super) fn read(row: &ByteRecord, shared: &mut Shared) -> Result<Unbound, Bad> {
    let [_, time, node, pod, container, trace_id, span_id, json] = fields(row)?;
    let docker = docker_line(json).ok_or_else(|| Bad::new("log", "not a line of the runtime"))?;
    let id_of_row = event_id(&[
        b"nezha.log",
        time.as_bytes(),
        pod.as_bytes(),
        span_id.as_bytes(),
        json.as_bytes(),
    ]);
    let time = match nanos(time)? {
        // Go's zero time: the recorder could not read the line's. The runtime's stamp is inside.
        nanos if nanos <= 0 => time_inside(&docker.time)?,
        nanos => Timestamp::from_nanos(nanos),
    };
    let line = split(docker.log.trim_ascii_end());
    let exception = exception(line.text);
    let (kind, class) = match (exception, line.severity >= Severity::Warn) {
        (Some(_), _) => (Kind::Exception, Class::Application),
        (None, true) => (Kind::Log, Class::Application),
        (None, false) => (Kind::Log, Class::Other),
    };
    let mut event = Unbound::new(id_of_row, time, Source::App, kind)
        .at(shared.container(node, pod, container))
        .rated(line.severity, impact(line.severity), class);
    event.trace_id = Some(id("trace id", trace_id)?);
    event.span_id = Some(id("span id", span_id)?);
    event.attributes = Vec::with_capacity(3);
    event.attributes.push((shared.keys.message.clone(), line.text.into()));
    if let Some(logger) = line.logger {
        event.attributes.push((shared.keys.logger.clone(), shared.text(logger).into()));
    }
    if let Some(exception) = exception {
        event.attributes.push((shared.keys.error_type.clone(), shared.text(exception).into()));
    }
    Ok(event)
}

const fn impact(severity: Severity) -> f32 {
    match severity {
        Severity::Trace | Severity::Debug | Severity::Info => 0.0,
        Severity::Warn => 0.1,
        Severity::Error => 0.4,
        Severity::Fatal => 0.9,
    }
}

/// Reads the time that the runtime wrote.
pub(super) fn time_inside(text: &str) -> Result<Timestamp, Bad> {
    let time: Option<jiff::Timestamp> = text.parse().ok();
    time.and_then(|time| i64::try_from(time.as_nanosecond()).ok())
        .map(Timestamp::from_nanos)
        .ok_or_else(|| Bad::new("time", format!("time {text:?} inside the line")))
}

/// Reads the runtime's JSON: by a scan as the runtime writes it, by a parser as it might.
fn docker_line(json: &str) -> Option<DockerLine<'_>> {
    scan(json).or_else(|| serde_json::from_str(json).ok())
}

/// Finds text and time in `{"log":"TEXT\n","stream":"…","time":"TIME"}`, if nothing in TEXT is
/// escaped but the line's end.
fn scan(json: &str) -> Option<DockerLine<'_>> {
    let body = json.strip_prefix(r#"{"log":""#)?;
    let end = memchr::memchr2(b'\\', b'"', body.as_bytes())?;
    let (log, rest) = body.split_at_checked(end)?;
    let rest = rest.strip_prefix("\\n").unwrap_or(rest);
    let (stream, time) = rest.strip_prefix(r#"","stream":""#)?.split_once(r#"","time":""#)?;
    let time = time.strip_suffix(r#""}"#)?;
    let is_plain = memchr::memchr2(b'\\', b'"', stream.as_bytes()).is_none()
        && memchr::memchr2(b'\\', b'"', time.as_bytes()).is_none();
    is_plain.then_some(DockerLine { log: log.into(), time: time.into() })
}

/// Takes `HH:MM:SS.mmm LEVEL Class#line TraceID: … SpanID: … TEXT` apart. A line of another shape
/// is all text, and of no severity in particular.
fn split(line: &str) -> Line<'_> {
    let parts = || {
        let (_time, rest) = line.split_once(' ')?;
        let (level, rest) = rest.split_once(' ')?;
        let (logger, rest) = rest.trim_ascii_start().split_once(' ')?;
        let (_trace_id, rest) = rest.strip_prefix("TraceID: ")?.split_once(' ')?;
        let rest = rest.strip_prefix("SpanID: ")?;
        let text = rest.split_once(' ').map_or("", |(_span_id, text)| text);
        Some(Line { severity: Severity::from_name(level)?, logger: Some(logger), text })
    };
    parts().unwrap_or(Line { severity: Severity::Info, logger: None, text: line })
}

/// Finds the name of an exception: qualified, such as `java.lang.IllegalStateException`.
fn exception(text: &str) -> Option<&str> {
    ["Exception", "Error"].into_iter().find_map(|ending| {
        memchr::memmem::find_iter(text.as_bytes(), ending).find_map(|at| class_around(text, at))
    })
}

fn class_around(text: &str, at: usize) -> Option<&str> {
    let is_outside = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '$' | '_'));
    let (before, after) = text.split_at_checked(at)?;
    let start = before.rfind(is_outside).map_or(0, |outside| {
        outside
            + before.get(outside..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    let end = after.find(is_outside).unwrap_or(after.len());
    let class = text.get(start..at + end)?.trim_end_matches('.');
    let (package, name) = class.rsplit_once('.')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
        && (name.ends_with("Exception") || name.ends_with("Error"));
    (is_name && !package.is_empty()).then_some(class)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_a_line_apart() {
        let line =
            "16:48:42.424 INFO  t.s.TravelServiceImpl#532 TraceID: 49a5 SpanID: 083e [get][x]";
        let want = Line {
            severity: Severity::Info,
            logger: Some("t.s.TravelServiceImpl#532"),
            text: "[get][x]",
        };
        assert_eq!(split(line), want);
        for odd in ["", "no header", "16:48:42.424 LOUD x TraceID: 1 SpanID: 2 text"] {
            assert_eq!(split(odd), Line { severity: Severity::Info, logger: None, text: odd });
        }
    }

    #[test]
    fn finds_the_exception_that_is_named() {
        for (text, want) in [
            (
                "nested exception is java.lang.IllegalStateException: No",
                Some("java.lang.IllegalStateException"),
            ),
            (
                "[org.web.HttpServerErrorException$InternalServerError: 500",
                Some("org.web.HttpServerErrorException$InternalServerError"),
            ),
            ("died of java.lang.OutOfMemoryError.", Some("java.lang.OutOfMemoryError")),
            ("é java.io.IOException", Some("java.io.IOException")),
            ("threw exception [Request processing failed]", None),
            ("Exception in thread main", None),
            ("the Internal Server Error page", None),
            ("file.ExceptionList opened", None),
        ] {
            assert_eq!(exception(text), want, "{text}");
        }
    }

    #[test]
    fn unescapes_only_where_needed() {
        for (json, log) in [
            (r#"{"log":"plain\n","stream":"stdout","time":"T"}"#, "plain\n"),
            (r#"{"log":"a \"b\" \\n","stream":"stdout","time":"T"}"#, r#"a "b" \n"#),
            (r#"{"stream":"stdout","time":"T","log":"other order"}"#, "other order"),
        ] {
            let line = docker_line(json).unwrap();
            assert_eq!((line.log.trim_ascii_end(), &*line.time), (log.trim_ascii_end(), "T"));
        }
        assert_eq!(docker_line(r#"{"log":"torn","stream":"stdout"}ulate"#), None);
    }

    proptest! {
        #[test]
        fn the_scan_agrees_with_the_parser(text in ".*", quoted in any::<bool>()) {
            let text = if quoted { text } else { text.replace(['\\', '"'], "") };
            let json = serde_json::json!({ "log": text, "stream": "stdout", "time": "T" }).to_string();
            let parsed: DockerLine<'_> = serde_json::from_str(&json).unwrap();
            if let Some(scanned) = scan(&json) {
                prop_assert_eq!(scanned.log.trim_ascii_end(), parsed.log.trim_ascii_end());
                prop_assert_eq!(scanned.time, parsed.time);
            }
            exception(&text);
            split(&text);
        }
    }
}
