//! Times, as log lines write them.

use jiff::{civil::DateTime, tz::TimeZone};
use tapio_model::Timestamp;

/// Reads `2006-01-02T15:04:05.123Z`, with any offset, with a space for the `T`, a comma for the
/// point, or without a zone, which is taken as UTC.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let stamp = zoned.or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    i64::try_from(stamp.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// Reads the time a line begins with, and returns it with the length it takes.
pub(super) fn leading(text: &str) -> Option<(Timestamp, usize)> {
    /// The longest time in use: 29 digits of date and time, and an offset.
    const BYTES_MAX: usize = 40;
    let head = text.get(..text.floor_char_boundary(BYTES_MAX))?;
    let open = head.len() - head.trim_start_matches(['[', '(', '"']).len();
    let rest = head.get(open..)?;
    // Only what begins like a date is worth the parser's time.
    let [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-' | b'/', ..] = rest.as_bytes()
    else {
        return None;
    };
    let is_part =
        |c: char| c.is_ascii_digit() || matches!(c, '-' | '/' | ':' | '.' | ',' | '+' | 'T' | 'Z');
    let end = |from: usize| {
        let part = rest.get(from..).unwrap_or_default();
        from + part.find(|c| !is_part(c)).unwrap_or(part.len())
    };
    let first = end(0);
    let second = if rest.get(first..).is_some_and(|rest| rest.starts_with(' ')) {
        end(first + 1)
    } else {
        first
    };
    // The longer reading first: a date with its time, before a date alone (which is no time).
    [second, first].into_iter().find_map(|end| {
        let text = rest.get(..end)?.trim_end_matches(['.', ',', ':', '-', ' ']);
        if !text.contains(':') {
            return None;
        }
        parse(&text.replace('/', "-")).map(|time| (time, open + text.len()))
    })
}

/// Reads a number of seconds, milliseconds, microseconds or nanoseconds since the epoch: which, its
/// size tells, from 1973 on.
pub(super) fn from_number(number: f64) -> Option<Timestamp> {
    const UNITS: [(f64, f64); 4] = [(1e11, 1e9), (1e14, 1e6), (1e17, 1e3), (9e18, 1.0)];
    if number < 1e8 {
        return None;
    }
    let (_, nanos) = UNITS.into_iter().find(|(below, _)| number < *below)?;
    #[expect(clippy::cast_possible_truncation, reason = "below 9.1e18, and `as` saturates")]
    Some(Timestamp::from_nanos((number * nanos) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_times_loggers_write() {
        let want = Timestamp::from_millis(1_767_323_045_123);
        for text in [
            "2026-01-02T03:04:05.123Z msg",
            "2026-01-02T05:04:05.123+02:00 msg",
            "2026-01-02 03:04:05,123 msg",
            "2026-01-02 03:04:05.123 msg",
            "[2026-01-02 03:04:05.123] msg",
            "2026/01/02 03:04:05.123 msg",
        ] {
            assert_eq!(leading(text).map(|(time, _)| time), Some(want), "{text}");
        }
        for text in ["", "2026-01-02 msg", "2026-13-45T99:00:00Z", "12:00:01 msg", "éééé-01"] {
            assert_eq!(leading(text), None, "{text}");
        }
    }

    #[test]
    fn a_numbers_size_tells_its_unit() {
        let want = Timestamp::from_secs(1_767_323_045);
        for number in [1_767_323_045.0, 1.767_323_045e12, 1.767_323_045e15, 1.767_323_045e18] {
            assert_eq!(from_number(number), Some(want), "{number}");
        }
        for bad in [0.0, -1.0, 5.0, f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(from_number(bad), None, "{bad}");
        }
    }
}
