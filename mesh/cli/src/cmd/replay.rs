//! `tapio replay`: a recording through the real engine.

use std::{io::IsTerminal as _, sync::Arc, thread, time::Duration};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tapio_baseline::{BaselineLimits, Watch};
use tapio_collect::{Binder, Home};
use tapio_engine::{Limits, Ring, Rules, Told};
use tapio_eval::{ImportAccount, ImportError, Input, ReadAhead, Recording, open_recording};
use tapio_model::{Event, Ledger, Outcome, Severity, Source, Timestamp};
use tokio::time::Instant;

use super::{
    bench::{Outcomes, per_second, resident_bytes},
    paths::PathArgs,
    rules::RulesArgs,
    tell::tell,
};
use crate::{
    exit::{Unreachable, Usage},
    out::{Out, errln},
};

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// The recording: a file, a directory, or `-` for standard input.
    recording: String,
    /// Format of the recording; found out without it.
    #[arg(long)]
    format: Option<String>,
    /// How fast: `max`, or a multiple of the recorded speed such as 1 or 60.
    #[arg(long, default_value = "max", value_parser = Speed::parse)]
    speed: Speed,
    /// How long an event stays in its trace unless a story cites it.
    #[arg(long, default_value = "30s", value_parser = super::up::duration)]
    window: Duration,
    /// Does not keep the stories.
    #[arg(long)]
    no_store: bool,
    #[command(flatten)]
    rules: RulesArgs,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

impl Speed {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times: f64 =
            text.parse().map_err(|_not_a_number| "write max, or a number".to_owned())?;
        if times.is_finite() && times > 0.0 {
            Ok(Self::Times(times))
        } else {
            Err("the speed must be above zero".into())
        }
    }
}

/// What a replay did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replayed {
    pub(crate) import: ImportAccount,
    pub(crate) ledger: Ledger,
    pub(crate) duplicates: Vec<(Source, u64)>,
    /// Events of warning or worse: what one alert an event would have sent.
    pub(crate) alerts: u64,
    pub(crate) elapsed: Duration,
}

/// The figures as JSON has them.
#[derive(Debug, Serialize)]
struct Summary {
    rows: u64,
    events: u64,
    rejected: u64,
    events_per_second: u64,
    seconds: f64,
    peak_resident_mib: u64,
    #[serde(flatten)]
    outcomes: Outcomes,
    duplicates_by_source: std::collections::BTreeMap<&'static str, u64>,
}

/// A line of JSON that is no story.
#[derive(Debug, Serialize)]
struct SummaryLine {
    replayed: Summary,
}

pub(crate) fn run(args: &ReplayArgs, paths: &PathArgs, out: Out) -> anyhow::Result<()> {
    let limits = Limits { window: args.window, quiet: args.window * 2, ..Limits::default() };
    let rules = Arc::new(Rules::new(&args.rules.load()?.patterns(), limits));
    let binder = Arc::new(Binder::new(Home::default()));
    let recording =
        open_recording(args.format.as_deref(), Input::from_argument(&args.recording), binder)
            .map_err(|error| refusal(&error))?;
    let mut recording = ReadAhead::start(recording)?;
    let (store, _) = if args.no_store {
        (Arc::new(tapio_node::StoryStore::in_memory()?), false)
    } else {
        paths.open_store()?
    };
    let bar = progress_bar(out);
    let pace = Pace { speed: args.speed, began: None };
    let replayed = replay(&mut recording, &rules, pace, &bar, |told| tell(&told, &store, out))?;
    bar.finish_and_clear();
    say_rejected(&replayed.import, &args.recording);
    report(&replayed, out)
}

/// Shows the first rows that did not become events.
pub(super) fn say_rejected(import: &ImportAccount, recording: &str) {
    for example in &import.examples {
        let file = example.file.as_deref().unwrap_or(recording);
        errln(format_args!("tapio: {file}:{}: {} ({})", example.line, example.why, example.reason));
    }
}

/// Gives an error of an importer the exit code it deserves.
pub(super) fn refusal(error: &ImportError) -> anyhow::Error {
    if matches!(error, ImportError::Read { .. }) {
        return Unreachable(error.to_string()).into();
    }
    Usage(error.to_string()).into()
}

/// When the next event is due.
#[derive(Debug)]
pub(crate) struct Pace {
    speed: Speed,
    began: Option<(Instant, Timestamp)>,
}

impl Pace {
    /// As fast as can be.
    pub(crate) const MAX: Self = Self { speed: Speed::Max, began: None };
    /// As it was recorded.
    pub(super) const RECORDED: Self = Self { speed: Speed::Times(1.0), began: None };

    /// Returns when an event of time `at` is due; nothing if it always is.
    pub(super) fn due(&mut self, at: Timestamp) -> Option<Instant> {
        let Speed::Times(times) = self.speed else { return None };
        let (began, first) = *self.began.get_or_insert_with(|| (Instant::now(), at));
        Some(began + at.since(first).div_f64(times))
    }

    fn wait(&mut self, at: Timestamp) {
        self.due(at).into_iter().for_each(park_until);
    }
}

/// Blocks this thread until a time has come.
pub(super) fn park_until(due: Instant) {
    while let Some(left) = due.checked_duration_since(Instant::now()).filter(|it| !it.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Replays a recording; `told` hears everything as it is told.
///
/// The engine's time is the recording's: the latest time of any event so far.
pub(crate) fn replay(
    recording: &mut dyn Recording,
    rules: &Arc<Rules>,
    mut pace: Pace,
    bar: &ProgressBar,
    mut told: impl FnMut(Told) -> anyhow::Result<()>,
) -> anyhow::Result<Replayed> {
    let begin = Instant::now();
    let ring = Ring::new(rules);
    let mut ring = ring.watched(Watch::new(BaselineLimits::default()));
    let mut duplicates = vec![0_u64; Source::ALL.len()];
    let mut alerts = 0;
    let mut chunk: Vec<Arc<Event>> = Vec::new();
    let mut has_more = true;
    while has_more {
        has_more = recording.next_chunk(&mut chunk).context("reading the recording")?;
        for event in chunk.drain(..) {
            let (now, source) = (event.time, event.source);
            pace.wait(now);
            alerts += u64::from(event.severity >= Severity::Warn);
            if ring.observe(event, now) == Outcome::Duplicate
                && let Some(count) = Source::ALL
                    .iter()
                    .position(|known| *known == source)
                    .and_then(|at| duplicates.get_mut(at))
            {
                *count += 1;
            }
            if matches!(pace.speed, Speed::Times(_)) {
                ring.take_told().into_iter().try_for_each(&mut told)?;
            }
        }
        ring.take_told().into_iter().try_for_each(&mut told)?;
        bar.set_length(recording.progress().bytes_total.unwrap_or_default());
        bar.set_position(recording.progress().bytes_read);
    }
    ring.finish(rules.limits().window);
    ring.take_told().into_iter().try_for_each(&mut told)?;
    let duplicates = Source::ALL.into_iter().zip(duplicates).filter(|(_, count)| *count > 0);
    Ok(Replayed {
        import: recording.account().clone(),
        ledger: *ring.shard().ledger(),
        duplicates: duplicates.collect(),
        alerts,
        elapsed: begin.elapsed(),
    })
}

/// Makes a bar for people who watch; nothing for anybody else.
pub(super) fn progress_bar(out: Out) -> ProgressBar {
    if !out.is_for_people() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {elapsed} eta {eta}");
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn report(replayed: &Replayed, out: Out) -> anyhow::Result<()> {
    let Replayed { import, ledger, duplicates, elapsed, .. } = replayed;
    let summary = Summary {
        rows: import.rows,
        events: ledger.received,
        rejected: import.rejected_total(),
        events_per_second: per_second(ledger.received, *elapsed),
        seconds: elapsed.as_secs_f64(),
        peak_resident_mib: resident_bytes().1 >> 20,
        outcomes: ledger.into(),
        duplicates_by_source: duplicates
            .iter()
            .map(|(source, count)| (source.name(), *count))
            .collect(),
    };
    if !out.is_for_people() {
        return out.record(&SummaryLine { replayed: summary });
    }
    let Summary { rows, events, rejected, events_per_second, seconds, peak_resident_mib, .. } =
        summary;
    out.text(format_args!(
        "{rows} rows read, {rejected} rejected; {events} events in {seconds:.2} s, \
         {events_per_second} events/s, peak memory {peak_resident_mib} MiB\n\
         {} in stories, {} open, {} expired, {} duplicate, {} late, {} dead letters, {} shed\n",
        ledger.story,
        ledger.open,
        ledger.expired,
        ledger.duplicate,
        ledger.late,
        ledger.dead_letter,
        ledger.shed_total(),
    ))?;
    for (source, count) in duplicates {
        out.text(format_args!("  {count} duplicates from {}\n", source.name()))?;
    }
    Ok(())
}
