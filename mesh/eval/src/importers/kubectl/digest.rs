//! A log at hand as a whole, in brief: what it says again and again is told twice, with numbers.
//!
//! Nobody looks at a recorded log while it grows: there is no yesterday to compare it with, and
//! what an engine looks at, half a minute, may hold one line of it. So complaints of one template
//! are told as an Event is: when they began, and the last time with how often they came
//! ([`keys::COUNT`]) in how many lines ([`keys::SAMPLED`]). The same goes for calls that took
//! seconds, in how many calls alike, with how long they took ([`keys::DURATION`]). If they still
//! come when the log ends, their times are told as those of what stands (see
//! [`clock`](super::super::k8s_objects::clock)).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Severity, Timestamp, keys};
use tapio_patterns::{Gravity, is_failed_request};

use super::duration;
use crate::importers::k8s_objects::clock::squeeze;

/// A call that takes so long keeps somebody waiting.
const SLOW: Duration = Duration::from_secs(2);

/// Slow calls that make a habit.
const SLOW_CALLS_MIN: usize = 3;

/// One slow call in so many alike is no accident.
const ALIKE_MAX: usize = 3;

/// Lines without a level that make a habit.
const HABIT: usize = 3;

/// Lines above the end of a process in which one complaint is enough.
const LAST_WORDS: usize = 5;

/// Lines above the end of a process in which a rated complaint says why, and not words alone.
const RATED_LAST_WORDS: usize = 30;

/// What frameworks write above the one line that says why they do not start.
const HEADINGS: &[&str] = &["Description:"];

/// Complaints that are over and nobody spoke of any more, in so many lines, are an old story ...
const CALM_LINES_MIN: usize = 20;

/// ... if they were so few, ...
const OVER_MAX: usize = 5;

/// ... and one in so many lines at most.
const OVER_LINES_MIN: usize = 10;

/// Levels of lines that are calm, in lower case.
const LEVELS: &[&str] = &["info", "debug", "trace", "notice"];

/// What speaks of no error, in lower case.
const CALM: &[&str] = &[
    "no error",
    "without error",
    "0 error",
    "errors: 0",
    "errors=0",
    "error: null",
    "0 failed",
    "failed: 0",
    "failed=0",
];

/// What speaks of one whatever level a wrapper gives the line.
const FATAL: &[&str] =
    &["fatal error:", "uncaught error:", "uncaught exception", "unhandled exception"];

/// What speaks of one.
const ERRORS: &[&str] = &[
    "error",
    "exception",
    "failed",
    "failure",
    "fatal",
    "panic",
    "can't resolve",
    "cannot ",
    "could not",
    "unable to",
    "denied",
    "refused",
    "timed out",
    "unreachable",
];

/// What speaks of one as the last word of a process.
const OBJECTIONS: &[&str] = &[
    " has no ",
    " is not ",
    "bad ",
    "does not exist",
    "illegal",
    "invalid",
    "mismatch",
    "missing",
    "must ",
    "no such",
    "not found",
    "not set",
    "required",
    "undefined",
    "unexpected",
    "unknown",
    "unsupported",
    "wrong",
];

/// Complaints go on if the last is not further from the end than so many times their distance.
const SILENCES_MAX: u32 = 3;

/// And than this, however fast they came.
const SILENCE: Duration = Duration::from_secs(60);

/// Where a log ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) time: Timestamp,
    /// Whether its process ended there.
    pub(super) is_last: bool,
}

/// Complaints of one template.
#[derive(Debug)]
struct Alike {
    /// Where in the log they stand, in order.
    places: Vec<usize>,
    gravity: Gravity,
    /// Whether none of them says itself that it is trouble.
    is_calm: bool,
    /// Whether they still come when the log ends.
    goes_on: bool,
}

/// Brings the events of a log, in order, into their brief form; `text` is what they were read of.
pub(super) fn digest(events: &mut Vec<Unbound>, text: &str, end: End) {
    note_slow(events, text, end.time);
    let is_explained = end.is_last && promote_headed(events) || is_rated_last(events, end);
    let lines = events.len();
    let last_words = (end.is_last && !is_explained).then(|| lines.saturating_sub(LAST_WORDS));
    let last_words = last_words.unwrap_or(usize::MAX);
    let complaints = complaints(events, last_words, end.time);
    let records = records(text).min(lines);
    let is_list = !end.is_last && is_list(&complaints, records);
    let is_felt = complaints.iter().any(|alike| alike.goes_on && alike.places.len() >= HABIT);
    let mut folded = BTreeSet::new();
    for Alike { places, gravity, is_calm, goes_on } in &complaints {
        let (count, last) = (places.len(), places.last().copied().unwrap_or_default());
        if *is_calm && count < HABIT && last < last_words {
            continue;
        }
        // What lasts is over only when nobody complains any more of what may come of it.
        let is_lasting = match gravity {
            Gravity::Final => true,
            Gravity::Lasting => is_felt,
            Gravity::Plain | Gravity::Felt | Gravity::Passing => false,
        };
        let stands = *goes_on || is_lasting;
        if !end.is_last && !stands && is_over(count, lines, last) {
            folded.extend(places.iter().copied());
            continue;
        }
        folded.extend(places.iter().copied().skip(1).take(count.saturating_sub(2)));
        tell(events, places, records, (stands || is_list).then_some(end.time));
    }
    let mut at = 0..;
    events.retain(|_| at.next().is_none_or(|at| !folded.contains(&at)));
    events.sort_by_key(|event| event.time);
}

/// Collects the complaints of a log; from `last_words` on an objection is one.
fn complaints(events: &[Unbound], last_words: usize, until: Timestamp) -> Vec<Alike> {
    let mut alike: BTreeMap<(&'static str, String), Vec<usize>> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        if is_complaint(event) || (at >= last_words && is_objection(event)) {
            alike.entry((event.kind.name(), template(event))).or_default().push(at);
        }
    }
    let of = |at: &usize| events.get(*at);
    let all = alike.into_values().map(|places| Alike {
        gravity: places.last().and_then(of).map_or(Gravity::Plain, gravity),
        is_calm: places.iter().filter_map(of).all(|event| !is_rated(event)),
        goes_on: goes_on(events, &places, until),
        places,
    });
    all.collect()
}

/// Says whether a log is a list of troubles, each said once, and of hardly anything else: it stands
/// for itself, however old its lines are.
fn is_list(complaints: &[Alike], records: usize) -> bool {
    let lines: usize = complaints.iter().map(|alike| alike.places.len()).sum();
    complaints.len() >= HABIT
        && complaints.iter().all(|alike| alike.places.len() <= 2)
        && lines.saturating_mul(2) >= records
}

/// Notes on the first and the last of complaints alike how many they are of how many; what stands is
/// told at the end.
fn tell(events: &mut [Unbound], places: &[usize], records: usize, stands: Option<Timestamp>) {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return };
    let ends = [(first, 1), (last, places.len().saturating_sub(1).max(1))];
    let ends = ends.get(usize::from(first == last)..).unwrap_or_default();
    for (at, count) in ends {
        let Some(event) = events.get_mut(**at) else { continue };
        note(event, *count, records);
        if !is_rated(event) {
            event.severity = Severity::Error;
        }
        if let Some(until) = stands {
            event.time = squeeze(until, event.time);
        }
    }
}

/// Returns how many lines of a text do not go on with the one above: a stack says nothing more often.
fn records(text: &str) -> usize {
    let goes_on = |line: &&str| line.starts_with(char::is_whitespace);
    let own = text.lines().filter(|line| !line.trim().is_empty() && !goes_on(line)).count();
    if own == 0 { usize::MAX } else { own }
}

/// Says whether complaints were few, and the last of them long ago in lines.
fn is_over(count: usize, lines: usize, last: usize) -> bool {
    let since = lines.saturating_sub(last.saturating_add(1));
    count <= OVER_MAX && since >= CALM_LINES_MIN && count.saturating_mul(OVER_LINES_MIN) <= lines
}

/// Rates the line below a heading that announces why a process ends; says whether there is one.
fn promote_headed(events: &mut [Unbound]) -> bool {
    let is_heading = |event: &Unbound| HEADINGS.contains(&said(event).unwrap_or_default().trim());
    let Some(at) = events.iter().rposition(is_heading) else { return false };
    let below = events.iter_mut().skip(at + 1);
    let mut below = below.filter(|event| said(event).is_some_and(|line| !line.trim().is_empty()));
    let Some(reason) = below.next() else { return false };
    reason.severity = Severity::Error;
    true
}

/// Says whether a process rated what it said last as an error: words alone are no better.
fn is_rated_last(events: &[Unbound], end: End) -> bool {
    let is_error = |event: &Unbound| event.kind != Kind::Log || event.severity >= Severity::Error;
    end.is_last && events.iter().rev().take(RATED_LAST_WORDS).any(is_error)
}

/// Notes how often it came, if more than once, in how many.
fn note(event: &mut Unbound, count: usize, lines: usize) {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    if count > 1 {
        event.attributes.push((keys::COUNT.into(), number(count).into()));
    }
    event.attributes.push((keys::SAMPLED.into(), number(lines).into()));
}

/// Says whether a line is of trouble: by its rating or kind, else by its words.
fn is_complaint(event: &Unbound) -> bool {
    let is_noted = event.attributes.iter().any(|(key, _)| key == keys::SAMPLED);
    !is_noted && (is_rated(event) || is_worded(event))
}

fn is_rated(event: &Unbound) -> bool {
    event.kind != Kind::Log || event.severity >= Severity::Warn
}

fn gravity(event: &Unbound) -> Gravity {
    Gravity::of(said(event).unwrap_or_default())
}

/// Says whether a line that bears no level speaks of an error, and not of there being none.
fn is_worded(event: &Unbound) -> bool {
    let line = said(event).unwrap_or_default().to_ascii_lowercase();
    let bears = |words: &[&str]| words.iter().any(|word| line.contains(word));
    is_failed_request(&line) || bears(FATAL) || (!bears(LEVELS) && !bears(CALM) && bears(ERRORS))
}

/// Says whether a line that bears no level says that something is not as it should be.
fn is_objection(event: &Unbound) -> bool {
    let line = said(event).unwrap_or_default().to_ascii_lowercase();
    let bears = |words: &[&str]| words.iter().any(|word| line.contains(word));
    !bears(LEVELS) && !bears(CALM) && bears(OBJECTIONS)
}

/// Returns what a line has in common with its like; only plain lines are given a template. Who looks
/// at few lines takes a thread's name for a word: what a pair calls an id is none.
fn template(event: &Unbound) -> String {
    let Some(template) = event.text(keys::TEMPLATE) else {
        return duration::common(said(event).unwrap_or_default());
    };
    let is_id = |word: &str| word.split_once('=').is_some_and(|(key, _)| key.ends_with("id"));
    let words = template.split_whitespace().filter(|word| *word != "<*>" && !is_id(word));
    words.collect::<Vec<_>>().join(" ")
}

/// Says whether what came at these places, more than once, still comes when the log ends.
fn goes_on(events: &[Unbound], places: &[usize], until: Timestamp) -> bool {
    let time = |at: &usize| events.get(*at).map(|event| event.time).unwrap_or_default();
    let steps = u32::try_from(places.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let ends = places.first().zip(places.last()).map(|(first, last)| (time(first), time(last)));
    let Some((first, last)) = ends else { return false };
    let Some(distance) = last.since(first).checked_div(steps) else { return false };
    until.since(last) <= SILENCE.max(distance.saturating_mul(SILENCES_MAX))
}

/// Notes the calls that took seconds again and again, on the first and the last of those alike.
fn note_slow(events: &mut [Unbound], text: &str, until: Timestamp) {
    let mut calls: BTreeMap<String, Vec<(String, Duration)>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(call) = duration::read(line) {
            calls.entry(call.what).or_default().push((call.message, call.took));
        }
    }
    for alike in calls.into_values() {
        let mut slow: Vec<_> = alike.iter().filter(|(_, took)| *took >= SLOW).collect();
        if slow.len() < SLOW_CALLS_MIN || slow.len().saturating_mul(ALIKE_MAX) < alike.len() {
            continue;
        }
        let ends = [slow.first(), slow.last()].map(|end| end.map(|(message, _)| message.clone()));
        slow.sort_by_key(|(_, took)| *took);
        let Some((_, median)) = slow.get(slow.len() / 2) else { continue };
        let is = |event: &&mut Unbound, message: &str| {
            event.kind == Kind::Log && said(event) == Some(message)
        };
        let [Some(first), Some(last)] = ends else { continue };
        if let Some(event) = events.iter_mut().find(|event| is(event, &first)) {
            event.time = squeeze(until, event.time);
        }
        if let Some(event) = events.iter_mut().rfind(|event| is(event, &last)) {
            event.time = squeeze(until, event.time);
            note(event, slow.len(), alike.len());
            let nanos = i64::try_from(median.as_nanos()).unwrap_or(i64::MAX);
            event.attributes.push((keys::DURATION.into(), nanos.into()));
            event.severity = event.severity.max(Severity::Warn);
            event.class = Class::Dependency;
        }
    }
}

fn said(event: &Unbound) -> Option<&str> {
    event.text(keys::MESSAGE)
}

#[cfg(test)]
mod tests {
    use tapio_collect_host::translate_log;
    use tapio_model::{Attributes, Place};

    use super::*;

    /// A line: its age in seconds at the end of the log, its numbers, and what it says.
    type Told = (u64, Option<i64>, Option<i64>, String);

    fn told(text: &str, until: &str) -> Vec<Told> {
        let until: Timestamp = crate::importers::k8s_objects::clock::parse(until).unwrap();
        let mut events = translate_log(text.as_bytes(), b"", &Place::default(), until);
        digest(&mut events, text, End { time: until, is_last: false });
        let line = |event: Unbound| {
            let said = Attributes::new(event.attributes.clone());
            let age = until.since(event.time).as_secs();
            let message = said.text(keys::MESSAGE).unwrap_or_default();
            let words = message.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
            (age, said.int(keys::COUNT), said.int(keys::SAMPLED), words)
        };
        events.into_iter().map(line).collect()
    }

    #[test]
    fn complaints_alike_are_told_twice_with_their_number() {
        let line =
            |minute: u32| format!("2026-01-02T03:{minute:02}:00Z ERROR order {minute} is lost\n");
        let text: String = (0..9).map(line).collect();
        let text = format!("2026-01-02T02:59:00Z INFO up since 1\n{text}");
        let going_on = told(&text, "2026-01-02T03:08:10Z");
        let want = [
            (550, None, None, "up since 1"),
            (8, None, Some(10), "order 0 is lost"),
            (3, Some(8), Some(10), "order 8 is lost"),
        ];
        let want = want.map(|(age, count, lines, words)| (age, count, lines, words.to_owned()));
        let mut sorted = going_on;
        sorted.sort_by_key(|(age, ..)| std::cmp::Reverse(*age));
        assert_eq!(sorted, want);
        let over = told(&text, "2026-01-02T03:40:00Z");
        assert_eq!(over.iter().map(|(age, ..)| *age).collect::<Vec<_>>(), [2_460, 2_400, 1_920]);
    }

    #[test]
    fn lines_without_a_level_are_complaints_by_their_words_if_they_are_many() {
        let numbers = |line: &str, lines: usize| {
            let told = told(&format!("{line}\n").repeat(lines), "2026-01-02T03:00:09Z");
            told.into_iter().find_map(|(_, count, all, _)| Some((count?, all?)))
        };
        assert_eq!(numbers("cannot resolve db", 6), Some((5, 6)));
        assert_eq!(numbers("cannot resolve db", 2), None);
        assert_eq!(numbers("INFO: nothing failed", 6), None);
        assert_eq!(numbers("done: 0 errors", 6), None);
    }

    #[test]
    fn complaints_that_are_over_are_left_out() {
        let calm = |minute: u32| format!("2026-01-02T03:{minute:02}:00Z INFO sent {minute}\n");
        let text: String = (10..40).map(calm).collect();
        let refused = "2026-01-02T03:00:00Z WARN cannot reach db:5432: connection refused\n";
        let told = |head: &str| {
            let told = told(&format!("{head}{text}"), "2026-01-02T03:39:10Z");
            told.into_iter().filter(|(.., words)| words.contains("db")).count()
        };
        assert_eq!(told(&refused.repeat(2)), 0);
        assert_eq!(told(&refused.repeat(9)), 2);
    }

    #[test]
    fn a_list_of_troubles_stands_for_itself_and_its_stacks_are_no_lines() {
        let text = "2026-01-01T03:00:00Z ERROR database is away\n2026-01-01T09:00:00Z WARN memory is low\n\
            2026-01-01T10:00:00Z INFO memory is well\n2026-01-01T11:00:00Z ERROR bad query\n    \
            at line 1\n    at line 2\n    at line 3\n    at line 4\n";
        let ages: Vec<_> = told(text, "2026-01-01T12:00:00Z")
            .into_iter()
            .filter_map(|(age, _, all, _)| Some((age < 30, all?)))
            .collect();
        assert_eq!(ages, [(true, 4); 3]);
    }

    #[test]
    fn what_is_rated_or_announced_says_more_than_words() {
        let last = |text: &str| {
            let mut events = translate_log(text.as_bytes(), b"", &Place::default(), Timestamp::MAX);
            digest(&mut events, text, End { time: Timestamp::MAX, is_last: true });
            let loud = events.iter().filter(|event| event.severity >= Severity::Error);
            loud.filter_map(|event| said(event).map(str::to_owned)).next_back().unwrap_or_default()
        };
        let rated = "2026-01-02T03:00:00Z FATAL no space left on the moon\nstartup failed\n";
        assert!(last(rated).contains("on the moon"), "{}", last(rated));
        let headed = "APPLICATION FAILED TO START\n\nDescription:\n\nFailed to bind 'a.b'\n\n    \
                      Reason: failed to convert\n";
        assert_eq!(last(headed), "Failed to bind 'a.b'");
    }

    #[test]
    fn the_last_words_of_a_process_are_a_complaint_by_their_words() {
        let text = "cannot find a\n1\n2\n3\n4\n5\nsyntax error: unexpected \"fi\"\n";
        let mut events = translate_log(text.as_bytes(), b"", &Place::default(), Timestamp::MAX);
        digest(&mut events, text, End { time: Timestamp::MAX, is_last: true });
        let loud = events.iter().filter(|event| event.severity >= Severity::Error);
        assert_eq!(
            loud.map(|event| said(event)).collect::<Vec<_>>(),
            [Some("syntax error: unexpected \"fi\"")]
        );
    }

    #[test]
    fn the_last_word_of_a_process_may_be_an_objection_without_a_level() {
        let rated = |text: &str, is_last| {
            let mut events = translate_log(text.as_bytes(), b"", &Place::default(), Timestamp::MAX);
            digest(&mut events, text, End { time: Timestamp::MAX, is_last });
            events.iter().filter(|event| event.severity >= Severity::Error).count()
        };
        let text = "rendering a\nmap has no entry for key \"region\"\n";
        assert_eq!((rated(text, true), rated(text, false)), (1, 0));
        assert_eq!(rated("INFO all is not lost\n", true), 0);
        assert_eq!(rated("FATAL no entry\nit is not my fault\n", true), 1);
    }

    #[test]
    fn slow_calls_are_numbered_if_they_are_many_of_those_alike() {
        let line = |(at, took): (usize, &u32)| {
            format!("2026-01-02T03:00:0{at}Z INFO GET /cart took {took} ms\n")
        };
        let text = |took: &[u32]| took.iter().enumerate().map(line).collect::<String>();
        let numbers = |took: &[u32]| {
            let told = told(&text(took), "2026-01-02T03:00:09Z");
            told.into_iter().find_map(|(_, slow, alike, _)| Some((slow?, alike?)))
        };
        assert_eq!(numbers(&[9, 4_800, 5_100, 7, 4_900]), Some((3, 5)));
        assert_eq!(numbers(&[9, 4_800, 5_100, 7, 12]), None);
        assert_eq!(numbers(&[1_200, 1_100, 1_300]), None);
    }
}
