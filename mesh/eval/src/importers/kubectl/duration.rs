//! How long a call took, as lines of logs say it.

use std::time::Duration;

use serde_json::Value as Json;
use tapio_collect_host::translate_line;

/// Keys under which lines keep how long something took, without case and separators.
const KEYS: &[&str] = &[
    "duration",
    "elapsed",
    "elapsedtime",
    "executiontime",
    "latency",
    "querytime",
    "requesttime",
    "responsetime",
    "timetaken",
    "took",
];

/// Units, as written; a key may end with one.
const UNITS: &[(&str, u64)] = &[
    ("milliseconds", 1_000_000),
    ("millisecond", 1_000_000),
    ("seconds", 1_000_000_000),
    ("second", 1_000_000_000),
    ("millis", 1_000_000),
    ("msec", 1_000_000),
    ("secs", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
];

/// What stands before a number if a line says how long something took.
const BEFORE: &[&str] = &["in", "took", "taken", "after", "time", "latency", "duration", "elapsed"];

/// What says that something is done, in the words of lines without keys.
const DONE: &[&str] = &[
    "answer", "call", "complet", "execut", "fetch", "finish", "latency", "process", "quer",
    "render", "request", "respon", "return", "serve", "slow", "took",
];

/// What takes its time on purpose, or is no call.
const WAITS: &[&str] = &[
    "attempt",
    "backoff",
    "backup",
    "batch",
    "cache",
    "cron",
    "delay",
    "every",
    "expire",
    "finished task",
    "interval",
    "migrat",
    "next",
    "period",
    "poll",
    "retry",
    "schedul",
    "sleep",
    "started",
    "startup",
    "stream",
    "sync",
    "timeout",
    "timed out",
    "ttl",
    "uptime",
    "wait",
    "warm",
    "websocket",
];

/// Longer is a job, and no call that somebody waits for.
const CALL_MAX: Duration = Duration::from_secs(600);

/// A call of which a line says how long it took.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// What calls of its kind have in common.
    pub(super) what: String,
    /// The line, as an event of it bears it.
    pub(super) message: String,
    pub(super) took: Duration,
}

/// Reads a line.
pub(super) fn read(line: &str) -> Option<Call> {
    // Cheap first: most lines hold no number worth the trouble.
    if !line.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let lower = line.to_ascii_lowercase();
    let took = match serde_json::from_str::<Json>(line) {
        Ok(Json::Object(fields)) => fields.iter().find_map(|(key, value)| of_field(key, value)),
        Ok(_) | Err(_) => of_pairs(&lower).or_else(|| of_words(&lower)),
    };
    let took = took.filter(|took| *took <= CALL_MAX)?;
    let message = translate_line(line.as_bytes()).message;
    if WAITS.iter().any(|word| message.to_ascii_lowercase().contains(word)) {
        return None;
    }
    Some(Call { what: common(&message), message, took })
}

/// Returns the words of a line that lines alike have in common: those without a digit.
pub(super) fn common(message: &str) -> String {
    let has_digit = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
    let common: Vec<_> = message.split_whitespace().filter(|word| !has_digit(word)).collect();
    common.join(" ")
}

/// Reads `"responseTime": 4230.7`, `"elapsed_ms": 4230`, `"duration": "4.2s"`. A bare number is in
/// milliseconds where the key says no unit.
fn of_field(key: &str, value: &Json) -> Option<Duration> {
    // `"attr": {"durationMillis": 4230}`.
    if let Json::Object(fields) = value {
        return fields.iter().find_map(|(key, value)| of_field(key, value));
    }
    let unit = key_unit(key)?;
    match value {
        Json::Number(number) => scaled(&number.to_string(), unit.unwrap_or(1_000_000)),
        Json::String(text) => quantity(&text.to_ascii_lowercase()),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Returns the unit of a key that keeps how long something took: `Some(None)` if it names none.
fn key_unit(key: &str) -> Option<Option<u64>> {
    let key = key.to_ascii_lowercase().replace(['_', '-', '.'], "");
    let is_known = |key: &str| KEYS.iter().any(|known| key.ends_with(known));
    if is_known(&key) {
        return Some(None);
    }
    let of_unit =
        |(unit, nanos): &(&str, u64)| is_known(key.strip_suffix(unit)?).then_some(Some(*nanos));
    UNITS.iter().find_map(of_unit)
}

/// Reads `duration=4810ms`, `elapsed_ms=4810`, `latency: 4.8s`.
fn of_pairs(lower: &str) -> Option<Duration> {
    lower.split([' ', ',', ';', '(', '[', '\t']).find_map(|word| {
        let (key, value) = word.split_once('=')?;
        let value = value.trim_matches(['"', ')', ']']);
        let unit = key_unit(key)?;
        quantity(value).or_else(|| scaled(value, unit?))
    })
}

/// Reads `call completed in 10.01 seconds`, `took 4810 ms`, `response time: 1885ms`.
fn of_words(lower: &str) -> Option<Duration> {
    if !DONE.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let is_edge = |letter: char| letter.is_whitespace() || ",;()[]".contains(letter);
    let mut words = lower
        .split(is_edge)
        .map(|word| word.trim_end_matches(['.', ':']))
        .filter(|word| !word.is_empty())
        .peekable();
    let mut before = "";
    while let Some(word) = words.next() {
        let after = words.peek().copied().unwrap_or_default();
        let took = quantity(word).or_else(|| quantity(&format!("{word}{after}")));
        if let Some(took) = took.filter(|_| BEFORE.contains(&before)) {
            return Some(took);
        }
        before = word;
    }
    None
}

/// Reads `4810ms`, `4.8s`; a number needs its unit.
fn quantity(text: &str) -> Option<Duration> {
    let at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let (number, unit) = text.split_at_checked(at)?;
    let (_, nanos) = UNITS.iter().find(|(known, _)| *known == unit)?;
    scaled(number, *nanos)
}

/// Reads a number with a point in units of so many nanoseconds.
fn scaled(number: &str, nanos: u64) -> Option<Duration> {
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number)
        .ok()?
        .checked_mul(u32::try_from(nanos / 1_000_000).ok()?)
        .map(|it| it / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(line: &str) -> Option<u128> {
        read(line).map(|call| call.took.as_millis())
    }

    #[test]
    fn lines_say_in_many_ways_how_long_a_call_took() {
        for (line, want) in [
            ("INFO:app:Query finished in 6.01 seconds.", 6_010),
            ("GET /products 200 duration=4810ms", 4_810),
            ("level=info msg=done elapsed_ms=4810", 4_810),
            ("order service took 4810 ms (3 rows)", 4_810),
            ("POST /pay - Status: 200 - Response time: 1885ms - IP: 192.0.2.7", 1_885),
            ("request completed in 4.5s", 4_500),
            (r#"{"msg":"request completed","responseTime":4230.5}"#, 4_230),
            (r#"{"msg":"query done","took":"4.2s"}"#, 4_200),
            (r#"{"msg":"Slow query","attr":{"ns":"a.b","durationMillis":4200}}"#, 4_200),
            (r#"{"msg":"query done","duration_seconds":4.2}"#, 4_200),
        ] {
            assert_eq!(millis(line), Some(want), "{line}");
        }
    }

    #[test]
    fn what_waits_on_purpose_is_no_call() {
        for line in [
            "next sync in 300 seconds",
            "request failed, retry in 30 seconds",
            "waiting 30s before the request",
            "cache ttl 3600s",
            "nightly backup completed in 41.2 seconds",
            "request timeout is 30s",
            "served 12 requests",
            "GET /a 200 12",
            "call completed in 99999999 seconds",
            "took 4.2.1s",
            "took é ms 7",
            r#"{"msg":"done","duration":[1]}"#,
        ] {
            assert_eq!(millis(line), None, "{line}");
        }
    }

    #[test]
    fn calls_alike_have_in_common_what_is_no_number() {
        let one = read("GET /products 200 duration=4810ms").map(|call| call.what);
        let other = read("GET /products 500 duration=9ms").map(|call| call.what);
        assert_eq!((one.as_deref(), &one), (Some("GET /products"), &other));
    }
}
