//! Scores over time: a file with a line for each time, and its picture.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::Write as _,
    path::Path,
};

use anyhow::Context as _;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tapio_eval::Score;

use super::chart::{COLORS, Chart, Look};
use crate::exit::Usage;

/// The figures that are drawn, with the names people read.
const DRAWN: [(&str, &str); 3] =
    [("as_at_1_pessimistic", "AS@1"), ("as_at_3_pessimistic", "AS@3"), ("ece", "ECE")];

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Day(Date);

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl Day {
    /// Reads `YYYY-MM-DD`, or seconds since 1970 as `SOURCE_DATE_EPOCH` has them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let day = match text.parse::<i64>() {
            Ok(seconds) => jiff::Timestamp::from_second(seconds)
                .map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date()),
            Err(_) => text.parse::<Date>(),
        };
        day.map(Self).map_err(|error| format!("{error}; write a day as 2026-11-20"))
    }

    /// Returns how far it is between two others.
    fn share(self, from: Self, to: Self) -> f64 {
        let days = |from: Self, to: Self| f64::from((to.0 - from.0).get_days());
        if to > from { days(from, self) / days(from, to) } else { 0.5 }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The scores of a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    date: Day,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// The recordings they are of.
    of: String,
    scores: BTreeMap<String, f64>,
}

impl Line {
    pub(super) fn new(date: Day, commit: Option<String>, of: &[String], score: &Score) -> Self {
        let count = |count: usize| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
        let falsely = &score.false_stories;
        let scores = [
            ("as_at_1_pessimistic", score.as_at_1_pessimistic),
            ("as_at_3_pessimistic", score.as_at_3_pessimistic),
            ("as_at_5_pessimistic", score.as_at_5_pessimistic),
            ("stories_per_incident", score.stories_per_incident),
            ("adjusted_rand_index", score.adjusted_rand_index),
            ("false_fault_free", count(falsely.fault_free.stories)),
            ("false_before_first_fault", count(falsely.before_first_fault.stories)),
            ("false_per_hour", score.false_per_hour),
            ("brier", score.brier),
            ("ece", score.ece),
            ("faults", count(score.faults)),
            ("verdicts", count(score.verdicts)),
        ];
        // Further digits are nobody's, and would differ from one machine to the next.
        let rounded = |value: f64| (value * 1e4).round() / 1e4;
        let scores = scores.map(|(name, value)| (name.to_owned(), rounded(value))).into();
        Self { date, commit, of: of.join("+"), scores }
    }
}

/// Appends a line.
pub(super) fn append(path: &Path, line: &Line) -> anyhow::Result<()> {
    let text = serde_json::to_string(line)?;
    let mut open = fs::OpenOptions::new();
    let mut file = open
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    writeln!(file, "{text}").with_context(|| format!("writing {}", path.display()))
}

/// Reads the lines of a file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let lines = (1_usize..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let lines = lines.map(|(number, line)| {
        let wrong = |error| Usage(format!("{}, line {number}: {error}", path.display()));
        serde_json::from_str(line).map_err(|error| wrong(error).into())
    });
    lines.collect()
}

/// Draws the scores over time, a line for each figure of each set of recordings.
pub(super) fn plot(lines: &[Line]) -> String {
    let mut days: Vec<Day> = lines.iter().map(|line| line.date).collect();
    days.sort_unstable();
    let sets: BTreeSet<&str> = lines.iter().map(|line| line.of.as_str()).collect();
    let rows = u8::try_from(sets.len()).unwrap_or(u8::MAX).saturating_add(2);
    let mut chart = Chart::new("Scores over time", (560.0, 240.0), 14.0 * f64::from(rows) + 12.0);
    chart.shares_across();
    let (Some(first), Some(last)) = (days.first().copied(), days.last().copied()) else {
        return chart.finish();
    };
    for day in BTreeSet::from([first, last]) {
        chart.below(day.share(first, last), 0, &day.to_string());
    }
    let mut names = Vec::new();
    let mut colors = COLORS.into_iter().cycle();
    for set in sets {
        for (figure, name) in DRAWN {
            let color = colors.next().unwrap_or_default();
            let mut points: Vec<_> = lines
                .iter()
                .filter(|line| line.of == set)
                .filter_map(|line| Some((line, *line.scores.get(figure)?)))
                .collect();
            // Of one day the order of the lines is the order of the runs.
            points.sort_by_key(|(line, _)| line.date);
            let place = |line: &Line, value| (line.date.share(first, last), value);
            let path: Vec<_> = points.iter().map(|(line, value)| place(line, *value)).collect();
            chart.line(Look::Color(color), &path);
            for (line, value) in points {
                let commit = line.commit.as_deref().unwrap_or_default();
                let says = format!("{} {commit} {set} {name} {value:.3}", line.date);
                chart.dot(color, place(line, value), &says);
            }
            names.push((color, format!("{set} {name}")));
        }
    }
    chart.legend(1, &names);
    chart.finish()
}

#[cfg(test)]
mod tests {
    use tapio_eval::Judgement;

    use super::*;

    fn line(date: &str, of: &str) -> Line {
        let score = Judgement::default().score();
        let commit = Some("abc<1".to_owned());
        Line::new(Day::parse(date).unwrap(), commit, &[of.to_owned()], &score)
    }

    #[test]
    fn a_day_is_read_as_people_and_as_builds_write_it() {
        for (text, want) in [("2026-11-20", "2026-11-20"), ("1795142820", "2026-11-20")] {
            assert_eq!(Day::parse(text).map(|day| day.to_string()).as_deref(), Ok(want));
        }
        assert!(Day::parse("yesterday").is_err_and(|why| why.contains("write a day as")));
    }

    #[test]
    fn lines_are_appended_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scores.jsonl");
        let lines = [line("2026-11-20", "shop"), line("2026-11-21", "shop")];
        lines.iter().for_each(|line| append(&path, line).unwrap());
        assert_eq!(read(&path).unwrap(), lines);
        fs::write(&path, "{}\n").unwrap();
        assert!(read(&path).is_err_and(|error| error.to_string().contains("line 1: missing")));
    }

    #[test]
    fn every_set_of_recordings_has_its_lines_and_every_run_its_dot() {
        let lines =
            [line("2026-11-20", "shop"), line("2026-11-22", "shop"), line("2026-11-21", "day")];
        let svg = plot(&lines);
        let count = |what: &str| svg.matches(what).count();
        assert_eq!((count("<polyline"), count("<circle")), (6, 9));
        for part in ["2026-11-20", "2026-11-22", "shop AS@1", "day ECE", "abc&lt;1"] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(plot(&[]).ends_with("</svg>\n"));
    }
}
