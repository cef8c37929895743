//! `tapio eval`: how right the stories are, on recordings of which the truth is known.

mod calibration;
mod chart;
mod engine;
mod history;
mod print;
mod reliability;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;
use tapio_baseline::Part;
use tapio_eval::{Claim, Score};

use self::{engine::Heard, history::Day};
use super::rules::RulesArgs;
use crate::{exit::Usage, out::Out};

#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {
    /// The recordings, each with its labels; several are judged one by one and together.
    #[arg(required_unless_present_any = ["plot", "calibration"])]
    recordings: Vec<PathBuf>,
    /// Format of the recordings; found out without it.
    #[arg(long)]
    format: Option<String>,
    /// Judges an engine without this part too, side by side; may be given more than once.
    #[arg(long, value_name = "PART", value_parser = part)]
    without: Vec<Part>,
    /// Judges an engine without each part in turn: what each contributes.
    #[arg(long)]
    ablation: bool,
    #[command(flatten)]
    rules: RulesArgs,
    /// Judges how sure the engine is: the scenes of all patterns, under what production does to
    /// them, and beside them the recordings, if any.
    #[arg(long, conflicts_with_all = ["without", "ablation", "record"])]
    calibration: bool,
    /// Plays the recordings of this directory under the same hardships as the scenes: of one fault
    /// each, with its pattern as label.
    #[arg(long, value_name = "DIR", requires = "calibration")]
    play: Option<PathBuf>,
    /// Draws how often the stories are right that are so sure: an SVG.
    #[arg(long, value_name = "FILE.svg")]
    reliability: Option<PathBuf>,
    /// Appends the scores to this file, a line each time.
    #[arg(long, value_name = "FILE.jsonl")]
    record: Option<PathBuf>,
    /// The day the scores are of: YYYY-MM-DD, or seconds since 1970.
    #[arg(long, env = "SOURCE_DATE_EPOCH", value_parser = Day::parse)]
    date: Option<Day>,
    /// The commit the scores are of.
    #[arg(long, requires = "record")]
    commit: Option<String>,
    /// Draws the scores over time: of --record, else of the .jsonl beside it.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// One engine's score.
#[derive(Debug, Serialize)]
struct Judged {
    /// The recording, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<String>,
    /// The part it goes without.
    #[serde(skip_serializing_if = "Option::is_none")]
    without: Option<&'static str>,
    events: u64,
    events_lost: u64,
    seconds: f64,
    #[serde(flatten)]
    score: Score,
    #[serde(skip)]
    claims: Vec<Claim>,
}

/// What is printed: the engine's score, and beside it those of engines that lack a part.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    whole: Judged,
    /// Each recording by itself, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recordings: Vec<Judged>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compared: Vec<Judged>,
}

fn part(name: &str) -> Result<Part, String> {
    let known = || Part::ALL.map(Part::name).join(", ");
    Part::from_name(name).ok_or_else(|| format!("write one of {}", known()))
}

pub(crate) fn run(args: &EvalArgs, out: Out) -> anyhow::Result<()> {
    let date = match (&args.record, args.date) {
        (Some(_), None) => {
            return Err(Usage("a line of scores needs its day: write --date".to_owned()).into());
        }
        (_, date) => date,
    };
    if args.calibration {
        calibration::run(args, out)?;
    } else if !args.recordings.is_empty() {
        let report = report(args)?;
        if let Some(path) = &args.reliability {
            let Judged { claims, score, .. } = &report.whole;
            let title = reliability::title("stories", score.into());
            save(path, &reliability::diagram(claims, &title))?;
        }
        if let Some((path, date)) = args.record.as_ref().zip(date) {
            let of = args.recordings.iter().map(|path| name_of(path)).collect::<Vec<_>>();
            let commit = args.commit.clone();
            history::append(path, &history::Line::new(date, commit, &of, &report.whole.score))?;
        }
        if out.is_for_people() { print::report(&report, out)? } else { out.record(&report)? }
    }
    let Some(picture) = &args.plot else { return Ok(()) };
    let scores = args.record.clone().unwrap_or_else(|| picture.with_extension("jsonl"));
    save(picture, &history::plot(&history::read(&scores)?))
}

fn report(args: &EvalArgs) -> anyhow::Result<Report> {
    let (whole, recordings) = evaluate(args, None)?;
    let parts = if args.ablation { Part::ALL.to_vec() } else { args.without.clone() };
    let compared = parts.into_iter().map(|part| Ok(evaluate(args, Some(part))?.0));
    Ok(Report { whole, recordings, compared: compared.collect::<anyhow::Result<_>>()? })
}

/// Judges all recordings together, and each by itself if there are several.
fn evaluate(args: &EvalArgs, without: Option<Part>) -> anyhow::Result<(Judged, Vec<Judged>)> {
    let patterns = args.rules.load()?.patterns();
    let mut pool = Heard::default();
    let mut each = Vec::new();
    for path in &args.recordings {
        let heard = engine::hear(path, args.format.as_deref(), &patterns, without)?;
        if args.recordings.len() > 1 {
            each.push(Judged { recording: Some(name_of(path)), ..Judged::of(&heard, without) });
        }
        pool.join(heard);
    }
    Ok((Judged::of(&pool, without), each))
}

impl Judged {
    fn of(heard: &Heard, without: Option<Part>) -> Self {
        let Heard { events, events_lost, seconds, judgement } = heard;
        Self {
            recording: None,
            without: without.map(Part::name),
            events: *events,
            events_lost: *events_lost,
            seconds: *seconds,
            score: judgement.score(),
            claims: judgement.claims().to_vec(),
        }
    }
}

/// Returns the name by which people know a recording: its own, without where it is.
fn name_of(path: &Path) -> String {
    let whole = || path.display().to_string();
    path.file_stem().map_or_else(whole, |stem| stem.to_string_lossy().into_owned())
}

fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
