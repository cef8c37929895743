//! What a container said before it ended, and how it ended.

use std::time::Duration;

use tapio_engine::View;
use tapio_model::{Event, Kind, Source, keys};

use crate::witness::{SKEW, same_container, was_asked_to_stop};

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

/// Quotes the first line the source wrote, cut if it is long; else its reason, its span's name or
/// its kind.
pub(crate) fn quote(event: &Event) -> String {
    let Some(message) = event.attributes.text(keys::MESSAGE) else {
        let named = event.attributes.text(keys::REASON).or(event.attributes.text(keys::SPAN_NAME));
        return named.map_or_else(|| event.kind.name().replace('_', " "), str::to_owned);
    };
    let line = message.trim().lines().next().unwrap_or_default();
    let mut letters = line.chars();
    let kept: String = letters.by_ref().take(QUOTE_CHARS_MAX).collect();
    let rest = if letters.next().is_some() { "..." } else { "" };
    format!("\"{kept}{rest}\"")
}

/// Says whether a container ended by itself: with a code that its process chose, or by a signal of
/// its own fault. A kill is neither.
pub(crate) fn is_own_exit(event: &Event) -> bool {
    event.kind == Kind::ContainerTerminated
        // `Unknown` is the runtime's word for a container that was gone when it came back itself.
        && !matches!(event.attributes.text(keys::REASON), Some("OOMKilled" | "Unknown"))
        && !was_asked_to_stop(event)
        && (is_crash(event) || matches!(event.attributes.int(keys::EXIT_CODE), Some(1..=127 | 255)))
}

/// Says whether a process died of its own fault: ILL, TRAP, ABRT, BUS, FPE, SEGV or SYS, each 128
/// above its number.
pub(crate) fn is_crash(event: &Event) -> bool {
    matches!(event.attributes.int(keys::EXIT_CODE), Some(132..=136 | 139 | 159))
}

/// Says whether a process wrote it. A line that tells of a refused connection or a full disk is no
/// `Log`: it has the kind of what it tells.
pub(crate) fn is_line(event: &Event) -> bool {
    matches!(event.kind, Kind::Log | Kind::Exception) || event.source == Source::App
}

/// Finds the last line that the container wrote before it ended.
pub(crate) fn last_words<'a>(view: &View<'a>, ended: &Event) -> Option<&'a Event> {
    view.events().rfind(|line| {
        is_line(line)
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
            ("name=\"GET /\"".to_owned(), "GET /".to_owned()),
            (String::new(), "container waiting".to_owned()),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s a/b/c ContainerWaiting {words}")).unwrap();
            assert_eq!(quote(&told[0]), want);
        }
    }

    #[test]
    fn a_kill_is_not_an_exit() {
        let cases = [
            ("1", true),
            ("127", true),
            ("255", true),
            ("0", false),
            ("137", false),
            ("139", true),
            ("143", false),
        ];
        for (code, want) in cases {
            let story = format!("0s a/b/c ContainerTerminated exit={code}");
            assert_eq!(is_own_exit(&events(&story).unwrap()[0]), want, "{code}");
        }
        for words in ["exit=1 reason=OOMKilled", "exit=255 reason=Unknown", "exit=1 sev=info"] {
            let story = format!("0s a/b/c ContainerTerminated {words}");
            assert!(!is_own_exit(&events(&story).unwrap()[0]), "{words}");
        }
    }

    #[test]
    fn a_line_is_one_whatever_it_tells_of() {
        let cases = [
            ("Log", true),
            ("Exception", true),
            ("ConnectRefused src=app", true),
            ("ConnectRefused src=network", false),
            ("ContainerStarted", false),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s a/b/c {words}")).unwrap();
            assert_eq!(is_line(&told[0]), want, "{words}");
        }
    }
}
