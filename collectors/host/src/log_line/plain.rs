//! Lines for people.

use std::sync::LazyLock;

use regex::Regex;
use tapio_model::Severity;

use super::{LogLine, stamp};

/// Bytes from the beginning in which a level stands, after the time.
const LEVEL_BYTES_MAX: usize = 128;

/// Reads a line of text.
pub(super) fn read(text: &str) -> LogLine {
    let time = stamp::leading(text);
    let field = || {
        let at = ["time=\"", "ts=\"", "time=", "ts="]
            .into_iter()
            .find_map(|marker| text.split_once(marker).map(|(_, rest)| rest))?;
        stamp::leading(at)
    };
    let mut line = LogLine::new(text.to_owned());
    line.time = time.or_else(field).map(|(time, _)| time);
    line.severity = level(text);
    line.logger = logger(text);
    line
}

/// Reads how bad a line says it is: `E0102 15:04:05.000000`, `level=error`, `[error]`, `ERROR`, or
/// `error:` at its beginning. An "error" inside a sentence is none.
pub(crate) fn level(text: &str) -> Option<Severity> {
    static WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r#"\b(?:level|lvl|severity)\\?["']?\s*[=:]\s*\\?["']?(?<field>[A-Za-z]+)\b"#,
            r"|[\[<(]\s*(?<bracket>[A-Za-z]+)\s*[\])>]",
            r"|\b(?<upper>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|CRITICAL|CRIT|FATAL|PANIC|ALERT|EMERG)\b",
            r"|^(?<first>[A-Za-z]+):",
        ))
        .ok()
    });
    if let Some(severity) = klog(text) {
        return Some(severity);
    }
    let rest = stamp::leading(text).and_then(|(_, length)| text.get(length..)).unwrap_or(text);
    let head = rest.get(..rest.floor_char_boundary(LEVEL_BYTES_MAX))?;
    let head = head.trim_start_matches([' ', ']', '-', ':', '\t']);
    WORDS.as_ref()?.captures_iter(head).find_map(|found| {
        let word =
            ["field", "bracket", "upper", "first"].into_iter().find_map(|name| found.name(name))?;
        Severity::from_name(word.as_str())
    })
}

/// Reads the level of `E0102 15:04:05.000000   1 file.go:12] …`, as Kubernetes' own parts write it.
fn klog(text: &str) -> Option<Severity> {
    let (head, _) = text.as_bytes().split_at_checked(9)?;
    let [level, a, b, c, d, b' ', e, f, b':'] = head else { return None };
    if ![a, b, c, d, e, f].into_iter().all(u8::is_ascii_digit) {
        return None;
    }
    match level {
        b'I' => Some(Severity::Info),
        b'W' => Some(Severity::Warn),
        b'E' => Some(Severity::Error),
        b'F' => Some(Severity::Fatal),
        _ => None,
    }
}

/// Reads the logger of `logger=a.b.C`, or the class that follows a level as in
/// `ERROR c.e.shop.Cart - …`.
fn logger(text: &str) -> Option<String> {
    static LOGGER: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r#"\blogger="?(?<field>[\w.$/-]+)"#,
            r"|\b(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL)\b(?:\s+\d+)?(?:\s+---)?(?:\s*\[[^\]]*\])*\s+(?<class>(?:\w+\.)+[\w$]+)\s*(?:-|:|\[)",
        ))
        .ok()
    });
    let found = LOGGER.as_ref()?.captures(text.get(..text.floor_char_boundary(256))?)?;
    let name = found.name("field").or_else(|| found.name("class"))?;
    Some(name.as_str().to_owned())
}
