//! What is told for what: every scene, played to all patterns, summed up by what is true of it.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use tapio_engine::Patterns;

use crate::{
    Entry, Scene,
    scene::{Answer, Truth, play},
};

/// What was told of the scenes of each truth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confusion {
    /// One row a truth: the patterns in the order of their list, then `unknown` and `healthy`.
    pub rows: Vec<Row>,
}

/// What was told of the scenes of one truth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The slug of the cause, `unknown` or `healthy`.
    pub truth: String,
    /// How many scenes there are of it.
    pub scenes: u64,
    /// How many were told right.
    pub right: u64,
    /// How many were neither told right nor told wrong: an unknown where there is a cause, or
    /// silence where there is trouble.
    pub abstained: u64,
    /// What the others were told as, and how many.
    pub told_as: BTreeMap<String, u64>,
}

/// How an answer stands to the truth.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Right,
    Abstained,
    As(String),
}

/// Plays every scene of every entry to the patterns of all entries at once.
///
/// A scene that cannot be read counts as told `unreadable`.
#[must_use]
pub fn confusion(entries: &[Entry]) -> Confusion {
    let patterns: Patterns = entries.iter().map(|entry| Arc::clone(&entry.pattern)).collect();
    let mut rows: BTreeMap<Rank, Row> = BTreeMap::new();
    for scene in entries.iter().flat_map(|entry| entry.scenes) {
        let row = rows.entry(rank(scene.truth, entries)).or_default();
        row.truth = name(scene.truth).to_owned();
        row.scenes += 1;
        match mark(scene, &patterns) {
            Mark::Right => row.right += 1,
            Mark::Abstained => row.abstained += 1,
            Mark::As(told) => *row.told_as.entry(told).or_default() += 1,
        }
    }
    Confusion { rows: rows.into_values().collect() }
}

impl Confusion {
    /// Says whether nothing was told wrong: the table holds its diagonal and abstentions only.
    #[must_use]
    pub fn is_diagonal(&self) -> bool {
        self.rows.iter().all(|row| row.told_as.is_empty())
    }

    /// Returns the page "What is told for what".
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut page = String::from(
            "# What is told for what\n\nWritten by `tapio explain --confusion`: each scene in \
             `actors/patterns/src/patterns/` is played to all patterns at\nonce, through the \
             whole engine. Change the scenes or the patterns, not this page.\n\nA scene is told \
             right if there is one story with its cause; of an unknown one, one story that names \
             the pattern\namong its hypotheses; of a healthy one, none. Abstained means an unknown \
             where there is a cause, or silence where\nthere is trouble.\n\n\
             | truth | scenes | right | abstained | told as |\n|---|---:|---:|---:|---|\n",
        );
        for row in self.rows.iter().chain([&self.total()]) {
            let told: Vec<_> =
                row.told_as.iter().map(|(told, count)| format!("{told} ({count})")).collect();
            let Row { truth, scenes, right, abstained, .. } = row;
            let told = told.join(", ");
            writeln!(page, "| {truth} | {scenes} | {right} | {abstained} | {told} |")
                .unwrap_or_default();
        }
        page
    }

    fn total(&self) -> Row {
        let start = Row { truth: "all".to_owned(), ..Row::default() };
        self.rows.iter().fold(start, |mut sum, row| {
            sum.scenes += row.scenes;
            sum.right += row.right;
            sum.abstained += row.abstained;
            for (told, count) in &row.told_as {
                *sum.told_as.entry(told.clone()).or_default() += count;
            }
            sum
        })
    }
}

/// Where a truth stands in the table: causes of the list, causes that are not in it, the rest.
type Rank = (usize, &'static str);

fn rank(truth: Truth, entries: &[Entry]) -> Rank {
    let last = entries.len();
    match truth {
        Truth::Cause(slug) => {
            (entries.iter().position(|entry| entry.slug == slug).unwrap_or(last), slug)
        }
        Truth::Unknown(_) => (last + 1, ""),
        Truth::Healthy => (last + 2, ""),
    }
}

const fn name(truth: Truth) -> &'static str {
    match truth {
        Truth::Cause(slug) => slug,
        Truth::Unknown(_) => "unknown",
        Truth::Healthy => "healthy",
    }
}

fn mark(scene: &Scene, patterns: &Patterns) -> Mark {
    let Ok(answer) = play(scene.story, patterns) else { return Mark::As("unreadable".to_owned()) };
    if answer.is_right(scene.truth) {
        return Mark::Right;
    }
    match (answer, scene.truth) {
        (Answer::Silence, _) | (Answer::Unknown(_), Truth::Cause(_)) => Mark::Abstained,
        (Answer::Cause(slug), _) => Mark::As(slug),
        (Answer::Unknown(candidates), Truth::Unknown(_) | Truth::Healthy) => {
            Mark::As(format!("unknown: {}", candidates.join(" or ")))
        }
        (Answer::Several(slugs), _) => Mark::As(format!("stories of {}", slugs.join(" and "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::all;

    const OOM: &str = "0s a/b-1/b OomKill constraint=memcg pid=7 proc=b; \
        1s a/b-1/b ContainerTerminated exit=137 reason=OOMKilled";

    #[test]
    fn nothing_is_told_for_what_it_is_not() {
        let table = confusion(&all());
        assert!(table.is_diagonal(), "{}", table.markdown());
    }

    #[test]
    fn every_pattern_has_a_row() {
        let table = confusion(&all());
        for entry in all() {
            let row = table.rows.iter().find(|row| row.truth == entry.slug);
            assert!(row.is_some_and(|row| row.scenes > 1), "{} has too few scenes", entry.slug);
        }
        let last: Vec<_> = table.rows.iter().rev().take(2).map(|row| &*row.truth).collect();
        assert_eq!(last, ["healthy", "unknown"]);
    }

    #[test]
    fn answers_are_right_abstained_or_something_else() {
        let patterns = crate::patterns();
        let bare =
            "0s a/b-1/b ContainerTerminated exit=137 reason=Error; 1s a/b-1/b ContainerStarted";
        let cases = [
            (Scene::cause("container_oom", "", OOM), Mark::Right),
            (Scene::cause("node_oom", "", OOM), Mark::As("container_oom".to_owned())),
            (Scene::healthy("", OOM), Mark::As("container_oom".to_owned())),
            (Scene::unknown("container_oom", "", bare), Mark::Right),
            (Scene::cause("container_oom", "", bare), Mark::Abstained),
            (Scene::cause("container_oom", "", "0s a/b Log"), Mark::Abstained),
            (
                Scene::healthy("", bare),
                Mark::As("unknown: container_oom or liveness_kill".to_owned()),
            ),
            (Scene::healthy("", "0s a/b Log; 1s a/b Log"), Mark::Right),
            (Scene::healthy("", "soon"), Mark::As("unreadable".to_owned())),
        ];
        for (scene, want) in cases {
            assert_eq!(mark(&scene, &patterns), want, "{scene:?}");
        }
    }

    #[test]
    fn the_page_is_one_table_with_its_sum() {
        let row = |truth: &str, right, told: &[(&str, u64)]| Row {
            truth: truth.to_owned(),
            scenes: 3,
            right,
            abstained: 1,
            told_as: told.iter().map(|(told, count)| ((*told).to_owned(), *count)).collect(),
        };
        let rows = vec![row("node_oom", 1, &[("container_oom", 1)]), row("healthy", 2, &[])];
        let table = Confusion { rows };
        assert!(!table.is_diagonal());
        let lines: Vec<String> =
            table.markdown().lines().rev().take(4).map(str::to_owned).collect();
        let want = [
            "| all | 6 | 3 | 2 | container_oom (1) |",
            "| healthy | 3 | 2 | 1 |  |",
            "| node_oom | 3 | 1 | 1 | container_oom (1) |",
            "|---|---:|---:|---:|---|",
        ];
        assert_eq!(lines, want);
    }
}
