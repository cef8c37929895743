//! Times of a snapshot.
//!
//! A snapshot shows what stands: an image that could not be pulled since yesterday, a Job that
//! failed last week. An engine looks at half a minute. So the age of what stands is told on a scale
//! that doubles each second: a second ago is a second ago, a minute 5.9 s, an hour 11.8 s, a day
//! 16.4 s, a year 24.9 s. Order is kept, distance is not; how often and how badly is in the
//! attributes.

use std::time::Duration;

use serde_json::Value as Json;
use tapio_model::Timestamp;

/// The moment of a snapshot that names none: the beginning of 2024.
pub(in crate::importers) const UNDATED: Timestamp = Timestamp::from_secs(1_704_067_200);

/// What lies beyond is no time of a recording: the end of the century.
const LATEST: Timestamp = Timestamp::from_secs(4_102_444_800);

const SECOND: u64 = 1_000_000_000;

/// How deep an object is searched for times: deeper than any of the API.
const DEPTH_MAX: u32 = 32;

/// Returns when something that stands is told, of a snapshot of the moment `end`.
pub(in crate::importers) fn squeeze(end: Timestamp, time: Timestamp) -> Timestamp {
    let age = u64::try_from(end.since(time).as_nanos()).unwrap_or(u64::MAX - SECOND);
    let age = age.saturating_add(SECOND);
    // The logarithm to base two of the age in seconds, straight between powers of two.
    let doublings = (age / SECOND).max(1).ilog2();
    let power = SECOND << doublings;
    let part = u128::from(age.saturating_sub(power)) * u128::from(SECOND) / u128::from(power);
    let nanos = u64::from(doublings) * SECOND + u64::try_from(part).unwrap_or_default();
    end.before(Duration::from_nanos(nanos))
}

/// Reads a time of the API.
pub(in crate::importers) fn parse(text: &str) -> Option<Timestamp> {
    // Cheap first: most strings of an object are no times.
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    settle(text.parse().ok()?)
}

/// Returns the time, if it may be one of a recording.
pub(in crate::importers) fn settle(time: jiff::Timestamp) -> Option<Timestamp> {
    let time = Timestamp::from_nanos(i64::try_from(time.as_nanosecond()).ok()?);
    (time < LATEST).then_some(time)
}

/// Writes a time as the API does.
pub(in crate::importers) fn write(time: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos()))
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// Returns the latest time that an object names in a field for times: what a message quotes, or
/// when a certificate ends, says nothing of when the object was looked at.
pub(in crate::importers) fn latest(json: &Json) -> Option<Timestamp> {
    latest_below(json, DEPTH_MAX)
}

fn latest_below(json: &Json, depth: u32) -> Option<Timestamp> {
    let depth = depth.checked_sub(1)?;
    match json {
        Json::Array(items) => items.iter().filter_map(|item| latest_below(item, depth)).max(),
        Json::Object(fields) => {
            let of_field = |(name, value): (&String, &Json)| match value {
                Json::String(text) => is_time(name).then(|| parse(text)).flatten(),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                    latest_below(value, depth)
                }
            };
            fields.iter().filter_map(of_field).max()
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    }
}

fn is_time(field: &str) -> bool {
    ["Time", "Timestamp", "At", "time"].iter().any(|ending| field.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_age_is_told_on_a_scale_that_doubles_each_second() {
        let told = |seconds: u64| {
            let time = UNDATED.before(Duration::from_secs(seconds));
            UNDATED.since(squeeze(UNDATED, time)).as_millis()
        };
        let cases =
            [(0, 0), (1, 1_000), (3, 2_000), (59, 5_875), (3_600, 11_758), (86_400, 16_318)];
        for (seconds, want) in cases {
            assert_eq!(told(seconds), want, "{seconds}");
        }
        let year = 365 * 86_400;
        assert!(told(10 * year) < 30_000);
    }

    #[test]
    fn only_fields_for_times_date_an_object() {
        let object = json!({
            "metadata": { "creationTimestamp": "2026-01-01T00:00:00Z", "name": "2031-01-01T00:00:00Z" },
            "status": { "message": "2030-01-01T00:00:00Z", "finishedAt": "2026-01-02T00:00:00Z",
                "startTime": "2999-01-01T00:00:00Z", "lastTime": "no time" } });
        assert_eq!(latest(&object), parse("2026-01-02T00:00:00Z"));
        assert_eq!(latest(&json!([7, null])), None);
        assert_eq!(write(parse("2026-01-02T00:00:00Z").unwrap()), "2026-01-02T00:00:00Z");
    }

    proptest! {
        #[test]
        fn order_is_kept(one: i64, other: i64) {
            let told = |nanos| squeeze(UNDATED, Timestamp::from_nanos(nanos));
            if one <= other {
                prop_assert!(told(one) <= told(other));
            }
        }
    }
}
