//! What lines of applications say, told by phrases that libraries write alike everywhere.

use tapio_engine::View;
use tapio_model::{Event, Kind, Severity};

/// Returns what applications complain of, in order of time.
pub(crate) fn complaints<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Event> + use<'a> {
    view.events().filter(|event| is_complaint(event))
}

/// Says whether an application complains: by an exception, or a line of a warning or more.
pub(crate) fn is_complaint(event: &Event) -> bool {
    event.kind == Kind::Exception || (event.kind == Kind::Log && event.severity >= Severity::Warn)
}

/// Returns the event's message in lower case, as marks are written.
pub(crate) fn line(event: &Event) -> String {
    event.message().to_ascii_lowercase()
}

/// Says whether a line, in lower case, bears one of the marks.
pub(crate) fn bears(line: &str, marks: &[&str]) -> bool {
    marks.iter().any(|mark| line.contains(mark))
}

/// Says whether the event's message bears one of the marks, which are in lower case.
pub(crate) fn says(event: &Event, marks: &[&str]) -> bool {
    bears(&line(event), marks)
}

/// Says whether a word stands in a line on its own: `DB` is no part of `DB_HOST`.
pub(crate) fn names(line: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    !word.is_empty()
        && line.match_indices(word).any(|(at, _)| {
            let before = line.get(..at).and_then(|before| before.chars().next_back());
            let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::events;

    #[test]
    fn marks_are_found_in_any_case() {
        const MARKS: &[&str] = &["pool", "timeout"];
        let told = events("0s a/b/c Log msg=\"TIMEOUT of it\"; 0s a/b/c Log").unwrap();
        assert!(says(&told[0], MARKS));
        assert!(!says(&told[1], MARKS));
    }

    #[test]
    fn a_word_is_no_part_of_another() {
        let cases = [
            ("DB_HOST is not set", "DB_HOST", true),
            ("cannot read DB_HOST", "DB_HOST", true),
            ("DB_HOST_2 is not set", "DB_HOST", false),
            ("MY_DB_HOST is not set", "DB_HOST", false),
            ("in /etc/nginx.conf:3", "nginx.conf", true),
            ("anything", "", false),
        ];
        for (line, word, want) in cases {
            assert_eq!(names(line, word), want, "{line}");
        }
    }

    #[test]
    fn calm_lines_are_no_complaints() {
        let told = events("0s a/b/c Log; 0s a/b/c Log sev=warn; 0s a/b/c Exception").unwrap();
        let told: Vec<_> = told.into_iter().map(std::sync::Arc::new).collect();
        let view = View::new(&told, tapio_model::Timestamp::ZERO);
        assert_eq!(complaints(&view).count(), 2);
    }
}
