//! What a span shows of itself: which lines it writes and which operations it calls.

use std::fmt::Write as _;

use tapio_model::{Event, Severity, Text, keys};
use xxhash_rust::xxh3::xxh3_64;

/// Characters of a line that make its template.
const TEMPLATE_CHARS_MAX: usize = 96;

/// Words by which applications say that they did not reach somebody else, in lower case. It is the
/// way there that failed, and nothing is said of who says so.
const UNREACHED: &[&str] = &[
    "no instances available for",
    "connection refused",
    "connectexception",
    "connect timed out",
    "connection timed out",
    "connection reset",
    "no route to host",
    "no such host",
    "unknownhostexception",
    "no healthy upstream",
    "econnrefused",
    "econnreset",
    "etimedout",
    "dial tcp",
];

/// What a feature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A line of this severity.
    Line(Severity),
    /// A call.
    Call,
}

/// Something that a span may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) sort: Sort,
    /// The line's template or the operation that is called, for people.
    pub(crate) text: Text,
}

impl Feature {
    /// Returns what identifies it.
    pub(crate) fn key(&self) -> u64 {
        let sort = match self.sort {
            Sort::Line(severity) => severity.name(),
            Sort::Call => "call",
        };
        xxh3_64(self.text.as_bytes()) ^ xxh3_64(sort.as_bytes()).rotate_left(17)
    }

    /// Returns what a line shows.
    pub(crate) fn of_line(event: &Event) -> Self {
        Self { sort: Sort::Line(event.severity), text: template(event) }
    }

    /// Returns how much its appearance weighs: people write errors for a reason.
    pub(crate) const fn weight(&self) -> f64 {
        match self.sort {
            Sort::Line(Severity::Error | Severity::Fatal) => 2.0,
            Sort::Line(Severity::Warn) => 1.0,
            Sort::Line(Severity::Info | Severity::Debug | Severity::Trace) | Sort::Call => 0.0,
        }
    }

    /// Says whether its absence can be a fault: a complaint that is gone is good news.
    pub(crate) const fn is_wanted(&self) -> bool {
        !matches!(self.sort, Sort::Line(Severity::Warn | Severity::Error | Severity::Fatal))
    }
}

/// Says whether a line complains that somebody else was not reached.
pub(crate) fn is_unreached(event: &Event) -> bool {
    if event.severity < Severity::Warn {
        return false;
    }
    let line = event.message().to_ascii_lowercase();
    UNREACHED.iter().any(|mark| line.contains(mark))
}

/// Returns what a line has in common with its like: the template a collector mined, else the line
/// of source that wrote it, else its beginning without numbers.
fn template(event: &Event) -> Text {
    if let Some(template) = event.attributes.text(keys::TEMPLATE) {
        return template.into();
    }
    let logger = event.attributes.text(keys::LOGGER);
    if let Some(logger) = logger.filter(|logger| names_a_line(logger)) {
        return logger.into();
    }
    let mut text = logger.map(|logger| format!("{logger} ")).unwrap_or_default();
    mask(event.message(), &mut text);
    text.into()
}

/// Says whether a logger names the line of source too: `Class#532`.
fn names_a_line(logger: &str) -> bool {
    let line = logger.rsplit_once('#').or_else(|| logger.rsplit_once(':'));
    line.is_some_and(|(class, line)| {
        !class.is_empty() && !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Appends a line without what differs from one to the next: words with a digit in them.
fn mask(line: &str, into: &mut String) {
    let begin = into.len();
    for word in line.split_ascii_whitespace() {
        if into.len() - begin > TEMPLATE_CHARS_MAX {
            return;
        }
        let is_plain = !word.bytes().any(|byte| byte.is_ascii_digit());
        let word = if is_plain { word } else { "*" };
        let gap = if into.is_empty() || into.ends_with(' ') { "" } else { " " };
        write!(into, "{gap}{word}").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_source_is_a_template() {
        for (logger, want) in [
            ("t.s.TravelServiceImpl#532", true),
            ("main.go:17", true),
            ("Class", false),
            ("#5", false),
            ("Class#", false),
            ("a#b", false),
        ] {
            assert_eq!(names_a_line(logger), want, "{logger}");
        }
    }

    #[test]
    fn what_differs_from_line_to_line_is_masked() {
        let mut text = String::new();
        mask("order 17 of user-9 paid  in full", &mut text);
        assert_eq!(text, "order * of * paid in full");
        let mut text = String::new();
        mask(&"word ".repeat(100), &mut text);
        assert!(text.len() < TEMPLATE_CHARS_MAX + 10);
    }

    #[test]
    fn only_wanted_features_can_be_missed() {
        let line = |severity| Feature { sort: Sort::Line(severity), text: "x".into() };
        assert!(line(Severity::Info).is_wanted() && !line(Severity::Error).is_wanted());
        assert_ne!(line(Severity::Info).key(), line(Severity::Error).key());
        assert!(line(Severity::Error).weight() > line(Severity::Info).weight());
    }
}
