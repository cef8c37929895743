//! What a failed connection did to whoever tells of it.

use tapio_engine::View;
use tapio_model::{Event, Kind, keys};

use crate::{
    last_words::{START, is_own_exit},
    witness::{count, not_before, same_container},
};

/// Lines of a whole log that make a habit.
const LINES_MIN: i64 = 3;

/// Whether a process that ends must have been started before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restarted {
    Again,
    Any,
}

/// Says whether the process that wrote the line ended by itself just after it, or its Job failed
/// for good.
pub(super) fn is_fatal(view: &View<'_>, line: &Event, restarted: Restarted) -> bool {
    let is_after = |end: &Event| not_before(end, line) && end.time.since(line.time) <= START;
    let is_again = |end: &Event| {
        restarted == Restarted::Any || end.attributes.int(keys::RESTART_COUNT) > Some(0)
    };
    let ends = view
        .of(Kind::ContainerTerminated)
        .any(|end| is_own_exit(end) && is_after(end) && is_again(end) && same_container(end, line));
    // A back-off alone says that it ends again and again; a kill would have been told.
    let is_known =
        || view.of(Kind::ContainerTerminated).any(|end| end.place.is_same_pod(&line.place));
    let backs_off = |wait: &Event| {
        wait.attributes.text(keys::REASON) == Some("CrashLoopBackOff")
            && is_after(wait)
            && wait.attributes.int(keys::RESTART_COUNT) > Some(0)
            && wait.place.is_same_pod(&line.place)
            && !is_known()
    };
    let fails = |job: &Event| is_after(job) && job.place.is_same_workload(&line.place);
    ends || view.of(Kind::ContainerWaiting).any(backs_off) || view.of(Kind::JobFailed).any(fails)
}

/// Says whether a log at hand as a whole tells of hardly anything else: of so many lines
/// ([`keys::SAMPLED`]) so many are this one ([`keys::COUNT`]).
pub(super) fn is_all_it_says(line: &Event) -> bool {
    let lines = line.attributes.int(keys::SAMPLED);
    lines.is_some_and(|lines| count(line) >= LINES_MIN && count(line).saturating_mul(2) >= lines)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tapio_model::Timestamp;

    use super::*;
    use crate::fixture::events;

    #[test]
    fn who_ends_by_itself_just_after_died_of_it() {
        let ended = "ContainerTerminated exit=1 restarts=2";
        for (story, again, any) in [
            (format!("2s a/b-1/b%b {ended}"), true, true),
            ("2s a/b-1/b%b ContainerTerminated exit=1".to_owned(), false, true),
            ("2s a/x%b JobFailed oname=b".to_owned(), true, true),
            ("2s a/b-1/b%b ContainerTerminated exit=137 restarts=2".to_owned(), false, false),
            (
                "2s a/b-1%b ContainerWaiting reason=CrashLoopBackOff restarts=2".to_owned(),
                true,
                true,
            ),
            ("2s a/b-1%b ContainerWaiting reason=CrashLoopBackOff".to_owned(), false, false),
            (format!("2s a/b-1/sidecar%b {ended}"), false, false),
            (format!("2m a/b-1/b%b {ended}"), false, false),
        ] {
            let told = events(&format!("1s a/b-1/b%b ConnectRefused src=app; {story}")).unwrap();
            let told: Vec<_> = told.into_iter().map(Arc::new).collect();
            let view = View::new(&told, Timestamp::ZERO);
            let is_fatal = |restarted| is_fatal(&view, &told[0], restarted);
            assert_eq!(
                (is_fatal(Restarted::Again), is_fatal(Restarted::Any)),
                (again, any),
                "{story}"
            );
        }
    }

    #[test]
    fn only_of_a_whole_log_it_is_known_what_else_it_says() {
        for (words, want) in [
            ("count=4 tapio.sampled=5", true),
            ("count=4 tapio.sampled=9", false),
            ("count=2 tapio.sampled=2", false),
            ("count=4", false),
        ] {
            let told = events(&format!("1s a/b-1/b ConnectTimeout src=app {words}")).unwrap();
            assert_eq!(is_all_it_says(&told[0]), want, "{words}");
        }
    }
}
