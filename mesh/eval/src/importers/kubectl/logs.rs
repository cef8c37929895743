//! Logs: lines without a clock, set before the end that they lead to.
//!
//! A log keeps the distances between its lines, and is moved as a whole: its last line stands where
//! its container ended, or at the end of the recording if it runs. Lines that bear no time follow
//! each other by 10 ms. What a log says again and again is told in brief (see [`super::digest`]).

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use ahash::AHashSet;
use tapio_collect::Unbound;
use tapio_collect_host::translate_log;
use tapio_model::{Kind, Place, Timestamp, keys};

use super::{
    age::date,
    digest::{End, digest},
    name::Name,
};

/// Lines of a log that are read, the last ones: they tell of now.
const LINES_MAX: usize = 2_000;

/// Between two lines that bear no time.
const STEP: Duration = Duration::from_millis(10);

/// Between the last line and the end of the process: the least that shows which came first.
const GAP: Duration = Duration::from_millis(1);

/// The logs of a recording, by pod.
#[derive(Debug, Default)]
pub(super) struct Logs(BTreeMap<(Name, Whose), Vec<Vec<String>>>);

/// Which log of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Whose {
    pub(super) container: Option<String>,
    pub(super) is_previous: bool,
}

/// A log, and the pod that wrote it.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) pod: Name,
    pub(super) whose: Whose,
    pub(super) text: String,
}

impl Logs {
    /// Adds the output of one command; lines of several containers bear their names in front.
    pub(super) fn add(&mut self, pod: &Name, whose: &Whose, text: &str) {
        let mut parts = BTreeMap::<Option<String>, Vec<String>>::new();
        for line in text.lines() {
            let (container, line) = prefix(line).map_or((None, line), |(c, line)| (Some(c), line));
            let container = container.map(str::to_owned).or_else(|| whose.container.clone());
            parts.entry(container).or_default().push(line.to_owned());
        }
        for (container, lines) in parts {
            let whose = Whose { container, ..whose.clone() };
            self.0.entry((pod.clone(), whose)).or_default().push(lines);
        }
    }

    /// Returns every log once: what was asked for twice, filtered or not, is one log.
    pub(super) fn take(self) -> Vec<Log> {
        let mut logs: Vec<_> = self.0.into_iter().map(|(of, texts)| (of, union(texts))).collect();
        // A container that is down has one log, which is the previous one too.
        let current: Vec<_> =
            logs.iter().filter(|((_, whose), _)| !whose.is_previous).cloned().collect();
        logs.retain(|((pod, whose), lines)| {
            !whose.is_previous || !current.iter().any(|((of, _), same)| of == pod && same == lines)
        });
        logs.into_iter()
            .map(|((pod, whose), lines)| {
                let skipped = lines.len().saturating_sub(LINES_MAX);
                let kept: Vec<_> = lines.into_iter().skip(skipped).collect();
                Log { pod, whose, text: kept.join("\n") }
            })
            .collect()
    }
}

/// Reads `[pod/cart-1/cart] text`.
fn prefix(line: &str) -> Option<(&str, &str)> {
    let (source, text) = line.strip_prefix("[pod/")?.split_once("] ")?;
    let (_, container) = source.rsplit_once('/')?;
    Some((container, text))
}

/// Brings the longest look and what the others have besides into one.
fn union(mut texts: Vec<Vec<String>>) -> Vec<String> {
    texts.sort_by_key(Vec::len);
    let longest = texts.pop().unwrap_or_default();
    let mut known: AHashSet<String> = longest.iter().cloned().collect();
    let mut lines = Vec::new();
    for text in texts.into_iter().rev() {
        lines.extend(text.into_iter().filter(|line| known.insert(line.clone())));
    }
    lines.extend(longest);
    lines
}

impl Log {
    /// Tells the lines, the last of them just before the end.
    pub(super) fn tell(&self, place: &Place, end: End) -> Vec<Unbound> {
        let until = end.time;
        let Name { namespace, name, .. } = &self.pod;
        let container = self.whose.container.as_deref().unwrap_or_default();
        let which = if self.whose.is_previous { "previous" } else { "current" };
        let identity = ["kubectl logs", namespace, name, container, which].join("\n");
        let mut events = translate_log(
            joined(&self.text).as_bytes(),
            identity.as_bytes(),
            place,
            Timestamp::MAX,
        );
        // What stands above the first line that bears a time came just before it.
        let dated = events.iter().position(|event| event.time < Timestamp::MAX);
        let first = dated.and_then(|at| Some((at, events.get(at)?.time)));
        let mut next = first.map_or(Timestamp::ZERO, |(above, time)| {
            time.before(STEP.saturating_mul(u32::try_from(above).unwrap_or(u32::MAX)))
        });
        for event in &mut events {
            if event.time == Timestamp::MAX {
                event.time = next;
            }
            next = event.time.after(STEP);
        }
        let latest = events.iter().map(|event| event.time).max().unwrap_or_default();
        let last = until.before(GAP);
        for event in &mut events {
            event.time = last.before(latest.since(event.time));
        }
        digest(&mut events, &self.text, end);
        events
    }
}

/// Joins a driver's question to the line that it goes on with: it says who was called.
fn joined(text: &str) -> Cow<'_, str> {
    const QUESTION: &str = "Is the server running";
    if !text.contains(QUESTION) {
        return Cow::Borrowed(text);
    }
    let mut lines = Vec::<String>::new();
    let mut is_asking = false;
    for line in text.lines() {
        let bare = stamp(line).trim_start();
        is_asking = bare.starts_with(QUESTION) || (is_asking && bare.starts_with("TCP/IP"));
        match lines.last_mut().filter(|_| is_asking) {
            Some(last) => {
                last.push(' ');
                last.push_str(bare);
            }
            None => lines.push(line.to_owned()),
        }
    }
    Cow::Owned(lines.join("\n"))
}

/// Returns a line without the time that `--timestamps` puts before it.
fn stamp(line: &str) -> &str {
    let after = line.split_once(' ').filter(|(time, _)| date(time).is_some());
    after.map_or(line, |(_, rest)| rest)
}

/// Returns when the log of a container at `place` ends: with the end that was told of it, or of
/// its Job. A container that runs goes on.
pub(super) fn until(told: &[Unbound], log: &Log, place: &Place) -> Option<Timestamp> {
    let is_mine = |event: &&Unbound| {
        let Place { namespace, pod, container, workload, .. } = &event.place;
        let named = log.whose.container.as_deref();
        let is_container = pod == &place.pod
            && named.is_none_or(|name| container.as_deref().is_none_or(|of| of == name));
        let is_job = event.kind == Kind::JobFailed && workload == &place.workload;
        namespace == &place.namespace && (is_container || is_job)
    };
    let ends = told.iter().filter(is_mine).filter(|event| {
        let is_back_off = event.text(keys::REASON) == Some("CrashLoopBackOff");
        matches!(event.kind, Kind::ContainerTerminated | Kind::JobFailed) || is_back_off
    });
    ends.map(|event| event.time).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_a_time_stay_beside_those_that_bear_one() {
        let text = "starting\nup\n2026-01-02T03:00:00Z INFO ready\nand so on\n2026-01-02T03:00:09Z WARN full";
        let pod = Name::new("Pod", Some("shop"), "cart-1");
        let whose = Whose { container: None, is_previous: false };
        let log = Log { pod, whose, text: text.to_owned() };
        let until = Timestamp::from_secs(1_000);
        let told = log.tell(&Place::default(), End { time: until, is_last: false });
        let ages: Vec<_> = told.iter().map(|line| until.since(line.time).as_millis()).collect();
        assert_eq!(ages, [9_021, 9_011, 9_001, 8_991, 1]);
    }

    #[test]
    fn a_drivers_question_goes_on_with_its_line() {
        let text = "could not connect\n\tIs the server running on host \"db\" and accepting\n\
                    \tTCP/IP connections on port 5432?\nbye";
        let want = "could not connect Is the server running on host \"db\" and accepting TCP/IP connections on \
                    port 5432?\nbye";
        assert_eq!(joined(text), want);
        assert_eq!(joined("\tat x"), "\tat x");
    }

    #[test]
    fn of_a_long_log_the_end_is_read() {
        let lines: Vec<_> = (0..LINES_MAX + 7).map(|line| format!("line {line}")).collect();
        let mut logs = Logs::default();
        let whose = Whose { container: None, is_previous: false };
        logs.add(&Name::new("Pod", None, "cart-1"), &whose, &lines.join("\n"));
        let logs = logs.take();
        let read: Vec<_> = logs.iter().flat_map(|log| log.text.lines()).collect();
        assert_eq!((read.len(), read.first().copied()), (LINES_MAX, Some("line 7")));
    }
}
