//! What a container said before it ended, and how it ended.

use std::time::Duration;

use tapio_engine::View;
use tapio_model::{Event, Kind, keys};

use crate::witness::{SKEW, same_container};

/// A process that lived longer did start.
pub(crate) const START: Duration = Duration::from_secs(60);

/// Longer lines are cut: a story is read on a phone.
const QUOTE_CHARS_MAX: usize = 160;

/// Words by which applications say that a connection to something else failed, in lower case.
const CONNECTION_ERRORS: &[&str] = &[
    "connection refused",
    "econnrefused",
    "connectexception",
    "connection timed out",
    "etimedout",
    "i/o timeout",
    "connection reset",
    "econnreset",
    "dial tcp",
    "no route to host",
    "could not connect",
    "unable to connect",
    "failed to connect",
    "can't connect",
    "no such host",
    "enotfound",
    "eai_again",
    "unknownhostexception",
    "name or service not known",
    "temporary failure in name resolution",
];

/// Says whether a line names a connection to something else that failed.
pub(crate) fn is_connection_error(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    CONNECTION_ERRORS.iter().any(|mark| line.contains(mark))
}

/// Quotes the first line the source wrote, cut if it is long; else its reason or kind.
pub(crate) fn quote(event: &Event) -> String {
    let Some(message) = event.attributes.text(keys::MESSAGE) else {
        let reason = event.attributes.text(keys::REASON);
        return reason.map_or_else(|| event.kind.name().replace('_', " "), str::to_owned);
    };
    let line = message.trim().lines().next().unwrap_or_default();
    let mut letters = line.chars();
    let kept: String = letters.by_ref().take(QUOTE_CHARS_MAX).collect();
    let rest = if letters.next().is_some() { "..." } else { "" };
    format!("\"{kept}{rest}\"")
}

/// Says whether a container ended with a code that its process chose: no signal, no kill.
pub(crate) fn is_own_exit(event: &Event) -> bool {
    event.kind == Kind::ContainerTerminated
        && event.attributes.text(keys::REASON) != Some("OOMKilled")
        && matches!(event.attributes.int(keys::EXIT_CODE), Some(1..=127 | 255))
}

/// Finds the last line that the container wrote before it ended.
pub(crate) fn last_words<'a>(view: &View<'a>, ended: &Event) -> Option<&'a Event> {
    view.events().rfind(|line| {
        matches!(line.kind, Kind::Log | Kind::Exception)
            && line.time <= ended.time.after(SKEW)
            && ended.time.since(line.time) <= START
            && same_container(line, ended)
    })
}

/// Finds the last rollout of the workload before the event.
pub(crate) fn rollout_before<'a>(view: &View<'a>, event: &Event) -> Option<&'a Event> {
    view.of(Kind::RolloutStarted).rfind(|rollout| {
        rollout.order() < event.order() && rollout.place.is_same_workload(&event.place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::events;

    #[test]
    fn a_quote_is_one_short_line() {
        let long = "x".repeat(200);
        let cut = format!("\"{}...\"", "x".repeat(QUOTE_CHARS_MAX));
        let cases = [
            ("msg=\" one\ntwo\"".to_owned(), "\"one\"".to_owned()),
            (format!("msg={long}"), cut),
            ("reason=BackOff".to_owned(), "BackOff".to_owned()),
            (String::new(), "container waiting".to_owned()),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s a/b/c ContainerWaiting {words}")).unwrap();
            assert_eq!(quote(&told[0]), want);
        }
    }

    #[test]
    fn a_kill_is_not_an_exit() {
        let cases = [("1", true), ("127", true), ("255", true), ("0", false), ("137", false)];
        for (code, want) in cases {
            let story = format!("0s a/b/c ContainerTerminated exit={code}");
            assert_eq!(is_own_exit(&events(&story).unwrap()[0]), want, "{code}");
        }
        let oom = "0s a/b/c ContainerTerminated exit=1 reason=OOMKilled";
        assert!(!is_own_exit(&events(oom).unwrap()[0]));
    }
}
