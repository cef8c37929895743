//! What a container said before it ended, and how it ended.

use std::time::Duration;

use tapio_engine::View;
use tapio_model::{Event, Kind, Severity, Source, keys};

use crate::witness::{SKEW, same_container, was_asked_to_stop};

/// A process that lived longer did start.
pub(crate) const START: Duration = Duration::from_secs(60);

/// Longer lines are cut: a story is read on a phone.
const QUOTE_CHARS_MAX: usize = 180;

/// A longer line says by itself what is wrong.
const HEADING_BYTES_MAX: usize = 48;

/// Lines below a heading that are quoted with it.
const LINES_JOINED_MAX: usize = 3;

/// How much of the end of a longer line is kept.
const QUOTE_TAIL_CHARS: usize = 64;

/// Bytes from the beginning in which a level stands.
const LEVEL_BYTES_MAX: usize = 128;

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
    "failed to establish a new connection",
    "connectionerror",
    "connection error",
    "communications link failure",
    "nobrokersavailable",
    "serverselectiontimeout",
    "brokerunreachable",
    "can't connect",
    "no such host",
    "enotfound",
    "eai_again",
    "unknownhostexception",
    "name or service not known",
    "temporary failure in name resolution",
];

/// By what a process, a shell or a runner says that it is over, in lower case: the cause stands above.
const EPILOGUES: &[&str] = &[
    "aborting startup",
    "did not exit normally",
    "exited unexpectedly",
    "exited with code",
    "exited with exit code",
    "exit status 1",
    "failed with exit code",
    "giving up",
    "lifecycle script",
    "shut down",
    "shutting down",
    "a complete log of this run",
    "npm err! errno",
    "npm err! code elifecycle",
    "npm error code",
];

/// The same, where a line says hardly anything else.
const SHORT_EPILOGUES: &[&str] = &["aborting", "exiting", "startup failed", "terminating"];

/// Words of a line that says hardly anything else, its level among them.
const SHORT_WORDS_MAX: usize = 5;

/// Says whether a line names a connection to something else that failed.
pub(crate) fn is_connection_error(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    // `ENOTFOUND` is a name that does not resolve, and no part of `ModuleNotFoundError`.
    let is_word = |at: usize| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(char::is_alphanumeric)
    };
    let bears = |mark: &str| {
        let mut places = line.match_indices(mark);
        places.any(|(at, _)| mark != "enotfound" || is_word(at))
    };
    CONNECTION_ERRORS.iter().any(|mark| bears(mark))
}

/// Quotes the first line the source wrote, cut if it is long; else its reason, its span's name or
/// its kind.
///
/// Of pairs of keys and values message and error are quoted. A long line is cut in its middle: who
/// wraps errors writes the innermost last.
pub(crate) fn quote(event: &Event) -> String {
    let thrown = innermost(event).or_else(|| exception(event));
    let Some(message) = thrown.or_else(|| event.attributes.text(keys::MESSAGE)) else {
        let named = event.attributes.text(keys::REASON).or(event.attributes.text(keys::SPAN_NAME));
        return named.map_or_else(|| event.kind.name().replace('_', " "), str::to_owned);
    };
    let mut lines = message.trim().lines();
    let first = lines.next().unwrap_or_default();
    let mut line = essence(first).unwrap_or_else(|| first.to_owned());
    // An application that spreads its error over lines begins with what kind it is.
    let is_brief = event.source == Source::App && line.len() <= HEADING_BYTES_MAX;
    for more in lines.filter(|more| is_brief && !more.trim().is_empty()).take(LINES_JOINED_MAX) {
        line.push_str("; ");
        line.push_str(more.trim());
    }
    format!("\"{}\"", shortened(&line))
}

fn shortened(line: &str) -> String {
    // When it was said stands beside it.
    let is_clock = |letter: char| letter.is_ascii_digit() || "-/:.,TZ+ ".contains(letter);
    let bare = after_level(line).unwrap_or(line).trim_start_matches(is_clock);
    let is_long = line.chars().count() > QUOTE_CHARS_MAX && !bare.is_empty();
    let line = if is_long { bare } else { line };
    let letters = line.chars().count();
    if letters <= QUOTE_CHARS_MAX {
        return line.to_owned();
    }
    let head: String = line.chars().take(QUOTE_CHARS_MAX - QUOTE_TAIL_CHARS).collect();
    let tail: String = line.chars().skip(letters - QUOTE_TAIL_CHARS).collect();
    format!("{head}...{tail}")
}

/// Returns what stands after the level of a line: before it are clocks, threads and ids.
fn after_level(line: &str) -> Option<&str> {
    const LEVELS: &[&str] = &[
        "ERROR",
        "ERROR:",
        "[ERROR]",
        "[error]",
        "WARN",
        "WARN:",
        "[WARN]",
        "[warn]",
        "WARNING",
        "WARNING:",
        "[WARNING]",
        "FATAL",
        "FATAL:",
        "[FATAL]",
        "CRITICAL",
        "[crit]",
    ];
    let head = line.get(..line.floor_char_boundary(LEVEL_BYTES_MAX))?;
    // A word of a sentence is none of these: what it says must not be cut off.
    let is_mark = |word: &str| {
        word.len() <= 2
            || word.contains(|letter: char| letter.is_ascii_digit() || "=[/".contains(letter))
    };
    let mut after = 0;
    for word in head.split(' ') {
        after += word.len() + 1;
        if LEVELS.contains(&word) {
            return line.get(after..).map(|rest| rest.trim_start_matches([' ', ':', '-']));
        }
        if !is_mark(word) {
            return None;
        }
    }
    None
}

/// Returns message and error of a line of keys and values: `level=error msg="no" err="it broke"`.
fn essence(line: &str) -> Option<String> {
    let is_pairs = ["level=", "lvl=", "ts=", "time="].iter().any(|key| line.starts_with(key));
    let error = value(line, "err").or_else(|| value(line, "error"));
    let parts: Vec<_> = [value(line, "msg"), error].into_iter().flatten().collect();
    (is_pairs && !parts.is_empty()).then(|| parts.join(": "))
}

/// Reads the value of a key of such a line.
fn value(line: &str, key: &str) -> Option<String> {
    let key = format!(" {key}=");
    let (_, rest) = line.split_once(&*key)?;
    let Some(quoted) = rest.strip_prefix('"') else {
        return rest.split(' ').next().map(str::to_owned);
    };
    let mut value = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => value.extend(letters.next().map(|next| if next == 'n' { ' ' } else { next })),
            other => value.push(other),
        }
    }
    Some(value)
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

/// Finds the last complaint that the container wrote before it ended, else its last line: below the
/// complaint may stand a closing brace, or the version of the runtime.
pub(crate) fn last_words<'a>(view: &View<'a>, ended: &Event) -> Option<&'a Event> {
    let is_last = |line: &&Event| {
        is_line(line)
            && line.time <= ended.time.after(SKEW)
            && ended.time.since(line.time) <= START
            && same_container(line, ended)
    };
    let is_complaint = |line: &&Event| line.kind != Kind::Log || line.severity >= Severity::Error;
    let complaints = || view.events().filter(is_last).filter(is_complaint);
    let cause = complaints().rfind(|line| !is_epilogue(line));
    cause.or_else(|| complaints().next_back()).or_else(|| view.events().rfind(|line| is_last(line)))
}

fn is_epilogue(line: &Event) -> bool {
    let said = line.message().to_ascii_lowercase();
    let is_said = |marks: &[&str]| marks.iter().any(|mark| said.contains(mark));
    let is_short = || {
        let said = essence(line.message()).unwrap_or_else(|| line.message().to_owned());
        let words = said.split_whitespace().filter(|word| word.contains(char::is_alphabetic));
        words.count() <= SHORT_WORDS_MAX
    };
    line.kind != Kind::Exception && (is_said(EPILOGUES) || (is_said(SHORT_EPILOGUES) && is_short()))
}

/// Returns the line of a stack trace that names the exception, if the log line above it does not:
/// what stood there last is not what went wrong.
pub(crate) fn exception(event: &Event) -> Option<&str> {
    let class =
        event.attributes.text(keys::ERROR_TYPE).filter(|_| event.kind == Kind::Exception)?;
    let stack = event.attributes.text(keys::STACKTRACE)?;
    // `Unhandled exception. System.InvalidOperationException: ...`.
    let is_named = |line: &&str| {
        let line = line.trim_start();
        line.starts_with(class)
            || line.split_once(class).is_some_and(|(before, after)| {
                before.to_ascii_lowercase().contains("exception") && after.starts_with(':')
            })
    };
    stack.lines().rev().find(is_named).filter(|_| !event.message().contains(class)).map(str::trim)
}

/// Returns the innermost cause that a stack trace names: those above it say where it was felt.
pub(crate) fn innermost(event: &Event) -> Option<&str> {
    const MARKS: &[&str] = &["Caused by: ", "---> "];
    let stack = event.attributes.text(keys::STACKTRACE).filter(|_| is_line(event))?;
    let cause = |line: &'_ str| {
        let line = line.trim_start();
        MARKS.iter().find_map(|mark| line.strip_prefix(mark).map(str::len))
    };
    let line = stack.lines().rev().find(|line| cause(line).is_some())?;
    line.get(line.len() - cause(line)?..)
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
        let cut = format!(
            "\"{}...{}\"",
            "x".repeat(QUOTE_CHARS_MAX - QUOTE_TAIL_CHARS),
            "x".repeat(QUOTE_TAIL_CHARS)
        );
        let pairs = r#"ts=1 level=error msg="no config" err="line 3:\n \"a\" is unknown""#;
        let cases = [
            ("msg=\" one\ntwo\"".to_owned(), "\"one\"".to_owned()),
            (format!("msg={long}"), cut),
            (
                format!(
                    "msg=\"pid=1 class=Renew jid={} ERROR: E: expired {}\"",
                    "9".repeat(60),
                    "y".repeat(120)
                ),
                format!("\"E: expired {}\"", "y".repeat(120)),
            ),
            ("reason=BackOff".to_owned(), "BackOff".to_owned()),
            (
                format!("msg=\"{}\"", pairs.replace('\\', "\\\\").replace('"', "\\\"")),
                "\"no config: line 3:  \"a\" is unknown\"".to_owned(),
            ),
            ("name=\"GET /\"".to_owned(), "GET /".to_owned()),
            (String::new(), "container waiting".to_owned()),
        ];
        for (words, want) in cases {
            let told = events(&format!("0s a/b/c ContainerWaiting {words}")).unwrap();
            assert_eq!(quote(&told[0]), want);
        }
    }

    #[test]
    fn a_stack_trace_names_what_the_line_above_it_does_not() {
        let trace = "exception.stacktrace=\"Traceback\n  File 1\nValueError: bad limit\"";
        for (words, want) in [
            ("msg=starting error=ValueError", "\"ValueError: bad limit\""),
            ("msg=\"ValueError: worse\" error=ValueError", "\"ValueError: worse\""),
            ("msg=starting", "\"starting\""),
        ] {
            let told = events(&format!("0s a/b/c Exception {words} {trace}")).unwrap();
            assert_eq!(quote(&told[0]), want, "{words}");
        }
    }

    #[test]
    fn of_exceptions_that_caused_each_other_the_innermost_is_quoted() {
        let stack = "a.B: no\n\tat c\nCaused by: d.E: worse\nCaused by: f.G: why\n\t... 3 more";
        let words = format!("msg=\"a.B: no\" error=a.B exception.stacktrace=\"{stack}\"");
        let told = events(&format!("0s a/b/c Exception {words}")).unwrap();
        assert_eq!(quote(&told[0]), "\"f.G: why\"");
    }

    #[test]
    fn the_last_words_are_the_complaint_and_not_what_stands_below_it() {
        for (lines, want) in [
            ("0s a/b/c Log sev=error msg=no; 1s a/b/c Log msg=}", "no"),
            (
                "0s a/b/c Log sev=error msg=why; 1s a/b/c Log sev=error msg=\"exited unexpectedly\"",
                "why",
            ),
            (
                "0s a/b/c Log sev=error msg=why; 1s a/b/c Log sev=error msg=\"startup failed, exiting\"",
                "why",
            ),
            (
                "0s a/b/c Log sev=error msg=one; 1s a/b/c Log sev=error msg=\"cannot read the key of the table, exiting\"",
                "cannot read the key of the table, exiting",
            ),
            ("0s a/b/c Log msg=one; 1s a/b/c Log msg=two", "two"),
            ("0s a/b/d Log sev=error msg=other; 1s a/b/c Log msg=own", "own"),
        ] {
            let told = events(&format!("{lines}; 2s a/b/c ContainerTerminated exit=1")).unwrap();
            let told: Vec<_> = told.into_iter().map(std::sync::Arc::new).collect();
            let view = View::new(&told, tapio_model::Timestamp::ZERO);
            assert_eq!(last_words(&view, &told[2]).unwrap().message(), want, "{lines}");
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
