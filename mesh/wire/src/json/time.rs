//! Times as text.

use tapio_model::Timestamp;

use super::JsonError;

/// Writes a time as RFC 3339 in UTC with all nine digits: `2026-11-21T04:00:00.123456789Z`.
///
/// All nine digits, so that text sorts as time does and no time is rounded.
#[must_use]
pub fn time_to_text(time: Timestamp) -> String {
    // Nanoseconds of an `i64` span 1677 to 2262; jiff's range is wider, so the default never shows.
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).unwrap_or_default();
    format!("{time:.9}")
}

/// Reads RFC 3339 with any offset and any number of digits, or whole nanoseconds since 1970.
pub(crate) fn time_from_value(value: &serde_json::Value) -> Result<Timestamp, JsonError> {
    let nanos = if let Some(text) = value.as_str() {
        let time: Option<jiff::Timestamp> = text.parse().ok();
        time.and_then(|time| i64::try_from(time.as_nanosecond()).ok())
    } else {
        value.as_i64()
    };
    nanos.map(Timestamp::from_nanos).ok_or_else(|| JsonError::BadTime { text: value.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_time_reads_back_from_its_text() {
        let nanos = [i64::MIN, -1, 0, 1, 999_999_999, 1_795_233_600_123_456_789, i64::MAX];
        for time in nanos.map(Timestamp::from_nanos) {
            assert_eq!(time_from_value(&json!(time_to_text(time))), Ok(time));
        }
    }

    #[test]
    fn reads_offsets_short_fractions_and_nanoseconds() {
        let want = Timestamp::from_millis(1_795_233_600_500);
        for time in [
            json!("2026-11-21T04:00:00.500000000Z"),
            json!("2026-11-21T04:00:00.5Z"),
            json!("2026-11-21T06:00:00.5+02:00"),
            json!(1_795_233_600_500_000_000_i64),
        ] {
            assert_eq!(time_from_value(&time), Ok(want), "{time}");
        }
    }

    #[test]
    fn refuses_what_names_no_instant() {
        for bad in [
            json!("yesterday"),
            json!("2026-11-21"),
            json!("2026-11-21T04:00:00"),
            json!("9000-01-01T00:00:00Z"),
            json!(1.5),
            json!(u64::MAX),
            json!(null),
            json!(["2026-11-21T04:00:00Z"]),
        ] {
            assert_eq!(time_from_value(&bad).map_err(|e| e.reason()), Err("bad_time"), "{bad}");
        }
    }
}
