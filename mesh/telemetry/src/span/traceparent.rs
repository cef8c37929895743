//! The `traceparent` header of W3C Trace Context.

use opentelemetry::trace::{SpanContext, TraceFlags, TraceState};
use tapio_model::{SpanId, Text, TraceId};

/// Letters of a header of version 00.
const LENGTH: usize = 55;

/// Reads a header; `None` if it is not one. Takes no memory.
///
/// # Source
/// <https://www.w3.org/TR/trace-context/#traceparent-header>
pub(super) fn read(header: &str) -> Option<SpanContext> {
    // A later version may go on after a dash; what it adds is not for us.
    let (known, more) = header.split_at_checked(LENGTH)?;
    if known.bytes().any(|letter| letter.is_ascii_uppercase()) {
        return None;
    }
    let mut parts = known.split('-');
    let version = byte(parts.next()?)?;
    let trace: TraceId = parts.next()?.parse().ok()?;
    let span: SpanId = parts.next()?.parse().ok()?;
    let flags = byte(parts.next()?)?;
    let is_whole = more.is_empty() || (version > 0 && more.starts_with('-'));
    if parts.next().is_some() || version == 0xff || !is_whole || trace.is_zero() || span.is_zero() {
        return None;
    }
    let trace = opentelemetry::TraceId::from_bytes(*trace.as_bytes());
    let span = opentelemetry::SpanId::from_bytes(*span.as_bytes());
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

/// Writes the header.
pub(super) fn write(context: &SpanContext) -> Text {
    let (trace, span) = (context.trace_id(), context.span_id());
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    Text::from(format!("00-{trace}-{span}-{flags:02x}"))
}

fn byte(digits: &str) -> Option<u8> {
    // `from_str_radix` would take a sign.
    let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_hex { u8::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_reads_back() {
        let context = read(SAMPLED).unwrap();
        assert!(context.is_sampled() && context.is_remote() && context.is_valid());
        assert_eq!(write(&context), SAMPLED);
    }

    #[test]
    fn unknown_flags_are_dropped_and_unknown_versions_are_read() {
        for (header, is_sampled) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe", false),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes", true),
        ] {
            let context = read(header).expect(header);
            assert_eq!(context.is_sampled(), is_sampled, "{header}");
        }
    }

    #[test]
    fn what_is_no_header_is_none() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902-7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            drop(read(&text));
        }

        #[test]
        fn no_header_with_a_fault_panics(at in 0_usize..55, fault in any::<char>()) {
            let mut letters: Vec<char> = SAMPLED.chars().collect();
            letters[at] = fault;
            drop(read(&letters.into_iter().collect::<String>()));
        }
    }
}
