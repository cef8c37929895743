//! What container runtimes put around a line.

use std::borrow::Cow;

use serde_json::Value;
use tapio_model::Timestamp;

use super::stamp;

/// Which stream of a process a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stream {
    /// Standard output, or a file of the application's own.
    #[default]
    Out,
    /// Standard error.
    Err,
}

/// A line without what the runtime put around it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wrapped<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) time: Option<Timestamp>,
    pub(crate) stream: Stream,
    /// Whether the runtime cut the line, and the next one of the stream goes on.
    pub(crate) is_partial: bool,
}

/// Takes off what a runtime put around a line; `None` if none did.
pub(crate) fn unwrap(line: &str) -> Option<Wrapped<'_>> {
    if line.starts_with('{') { docker(line) } else { cri(line) }
}

/// Reads `{"log":"…\n","stream":"stderr","time":"…"}`; a line that was cut lacks the `\n`.
fn docker(line: &str) -> Option<Wrapped<'_>> {
    if !line.contains("\"log\":") || !line.contains("\"stream\":") {
        return None;
    }
    let Value::Object(mut fields) = serde_json::from_str(line).ok()? else { return None };
    let Some(Value::String(text)) = fields.remove("log") else { return None };
    let stream = stream(fields.get("stream")?.as_str()?)?;
    let time = fields.get("time").and_then(Value::as_str).and_then(stamp::parse);
    let is_partial = !text.ends_with('\n');
    let text = text.trim_end_matches(['\n', '\r']).to_owned();
    Some(Wrapped { text: text.into(), time, stream, is_partial })
}

/// Reads `2026-01-02T03:04:05.123456789Z stderr F …`; the tag is `P` for a line that was cut.
fn cri(line: &str) -> Option<Wrapped<'_>> {
    let mut fields = line.splitn(4, ' ');
    let (time, name, tags) = (fields.next()?, fields.next()?, fields.next()?);
    let stream = stream(name)?;
    let is_partial = match tags.split(':').next()? {
        "P" => true,
        "F" => false,
        _ => return None,
    };
    let time = Some(stamp::parse(time)?);
    Some(Wrapped { text: fields.next().unwrap_or_default().into(), time, stream, is_partial })
}

fn stream(name: &str) -> Option<Stream> {
    match name {
        "stdout" => Some(Stream::Out),
        "stderr" => Some(Stream::Err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_off_what_runtimes_put_around() {
        let time = Some(Timestamp::from_secs(1_767_323_045));
        let wrapped = |text: &'static str, stream, is_partial| {
            Some(Wrapped { text: text.into(), time, stream, is_partial })
        };
        let lines = [
            ("2026-01-02T03:04:05Z stderr F no route", wrapped("no route", Stream::Err, false)),
            ("2026-01-02T03:04:05Z stdout P half a", wrapped("half a", Stream::Out, true)),
            ("2026-01-02T03:04:05Z stdout F", wrapped("", Stream::Out, false)),
            (
                r#"{"log":"no route\n","stream":"stderr","time":"2026-01-02T03:04:05Z"}"#,
                wrapped("no route", Stream::Err, false),
            ),
            (
                r#"{"log":"half a","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#,
                wrapped("half a", Stream::Out, true),
            ),
        ];
        for (line, want) in lines {
            assert_eq!(unwrap(line), want, "{line}");
        }
        for plain in ["", "a b c d", r#"{"log":"x"}"#, r#"{"log":"#, "x stdout F y"] {
            assert_eq!(unwrap(plain), None, "{plain}");
        }
    }
}
