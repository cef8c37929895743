//! What an event says, for people.

use tapio_model::{Event, keys};

/// Longer lines are cut: a story is read on a phone.
const QUOTE_CHARS_MAX: usize = 160;

/// Returns the first line the source wrote, cut if it is long; else its reason or kind.
pub(crate) fn said(event: &Event) -> String {
    let message = event.attributes.text(keys::MESSAGE).map(str::trim);
    let line = message.and_then(|message| message.lines().next());
    let line = line.or_else(|| event.attributes.text(keys::REASON));
    line.map_or_else(|| event.kind.name().replace('_', " "), |line| cut(line, QUOTE_CHARS_MAX))
}

/// Returns the beginning of a text.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    let mut letters = text.chars();
    let mut kept: String = letters.by_ref().take(chars_max).collect();
    if letters.next().is_some() {
        kept.push_str("...");
    }
    kept
}

/// Returns how often the source of an event saw it: an event may stand for several.
pub(crate) fn times(event: &Event) -> u64 {
    event.attributes.int(keys::COUNT).unwrap_or(1).max(1).unsigned_abs()
}

/// Returns how often the sources of events saw them.
pub(crate) fn count(events: &[&Event]) -> u64 {
    events.iter().fold(0, |sum, event| sum.saturating_add(times(event)))
}

#[cfg(test)]
mod tests {
    use tapio_patterns::fixture::events;

    use super::*;

    #[test]
    fn what_an_event_says_is_one_short_line() {
        let long = "x".repeat(200);
        let cut_off = format!("{}...", "x".repeat(QUOTE_CHARS_MAX));
        let cases = [
            ("msg=\" one\ntwo\"", "one"),
            (&format!("msg={long}"), cut_off.as_str()),
            ("reason=BackOff", "BackOff"),
            ("msg=\"\"", "container waiting"),
            ("", "container waiting"),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s a/b/c ContainerWaiting {words}")).unwrap();
            assert_eq!(said(&told[0]), want);
        }
    }

    #[test]
    fn an_event_stands_for_as_many_as_its_source_saw() {
        let told = events("0s a/b Log; 0s a/b Log count=4; 0s a/b Log count=-9").unwrap();
        assert_eq!(count(&told.iter().collect::<Vec<_>>()), 6);
    }
}
