//! Trace contexts, as headers and log lines carry them.

use std::sync::LazyLock;

use regex::Regex;
use tapio_model::{SpanId, TraceId};

/// A trace context that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: TraceId,
    /// The span, if it was named.
    pub span_id: Option<SpanId>,
}

/// Reads a W3C `traceparent` header value.
///
/// Versions above 00 are read as 00 with more behind it, as the specification asks; version ff and
/// ids of zeros are invalid.
///
/// # Source
/// <https://www.w3.org/TR/trace-context/#traceparent-header>
#[must_use]
pub fn parse_traceparent(value: &str) -> Option<TraceParent> {
    let mut fields = value.trim().split('-');
    let version = fields.next().filter(|version| is_hex(version, 2) && *version != "ff")?;
    let trace_id = lower_hex(fields.next()?)?.parse::<TraceId>().ok().filter(|id| !id.is_zero())?;
    let span_id = lower_hex(fields.next()?)?.parse::<SpanId>().ok().filter(|id| !id.is_zero())?;
    fields.next().filter(|flags| is_hex(flags, 2))?;
    let ends = version != "00" || fields.next().is_none();
    ends.then_some(TraceParent { trace_id, span_id: Some(span_id) })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && lower_hex(text).is_some()
}

fn lower_hex(text: &str) -> Option<&str> {
    text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(text)
}

/// Finds a trace context in a line of text: a `traceparent` value anywhere, or `trace_id=…` in the
/// spellings that loggers use (`traceId`, `trace-id`, `TraceID:`, quoted or not), with a span id
/// spelt alike.
#[must_use]
pub fn find_trace_context(line: &str) -> Option<TraceParent> {
    static TRACEPARENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?-u)\b[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\b").ok()
    });
    static TRACE_ID: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(?i-u)\btrace[_\-. ]?id\\?["']?\s*[:=]\s*\\?["']?([0-9a-f]{32})\b"#).ok()
    });
    static SPAN_ID: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(?i-u)\bspan[_\-. ]?id\\?["']?\s*[:=]\s*\\?["']?([0-9a-f]{16})\b"#).ok()
    });
    // The cheap test first: nearly every line has neither.
    if !has_long_hex(line) {
        return None;
    }
    let header =
        TRACEPARENT.as_ref()?.find(line).and_then(|found| parse_traceparent(found.as_str()));
    header.or_else(|| {
        let trace_id = captured::<TraceId>(TRACE_ID.as_ref()?, line).filter(|id| !id.is_zero())?;
        let span_id = SPAN_ID
            .as_ref()
            .and_then(|regex| captured(regex, line))
            .filter(|id: &SpanId| !id.is_zero());
        Some(TraceParent { trace_id, span_id })
    })
}

fn has_long_hex(line: &str) -> bool {
    let mut run = 0_u32;
    line.bytes().any(|byte| {
        run = if byte.is_ascii_hexdigit() { run + 1 } else { 0 };
        run >= 32
    })
}

fn captured<T: std::str::FromStr>(regex: &Regex, line: &str) -> Option<T> {
    regex.captures(line)?.get(1)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn reads_what_the_specification_allows() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(
            parse_traceparent(&good).map(|found| found.trace_id.to_string()),
            Some(TRACE.into())
        );
        assert!(
            parse_traceparent(&format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings")).is_some()
        );
        for bad in [
            String::new(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        ] {
            assert_eq!(parse_traceparent(&bad), None, "{bad}");
        }
    }

    #[test]
    fn finds_a_context_in_the_spellings_loggers_use() {
        for line in [
            format!("GET /cart traceparent=00-{TRACE}-{SPAN}-01 took 3 ms"),
            format!("INFO [trace_id={TRACE} span_id={SPAN}] ok"),
            format!("INFO TraceID: {TRACE} SpanID: {SPAN} ok"),
            format!(r#"{{"traceId":"{TRACE}","spanId":"{SPAN}"}}"#),
            format!(r#"{{\"trace.id\":\"{TRACE}\",\"span.id\":\"{SPAN}\"}}"#),
        ] {
            let found = find_trace_context(&line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(found.trace_id.to_string(), TRACE, "{line}");
            assert_eq!(found.span_id.map(|id| id.to_string()).as_deref(), Some(SPAN), "{line}");
        }
    }

    #[test]
    fn a_hash_is_not_a_trace_id() {
        assert_eq!(find_trace_context(&format!("md5 {TRACE} of cart.tar")), None);
        assert_eq!(find_trace_context("trace_id=none"), None);
    }
}
