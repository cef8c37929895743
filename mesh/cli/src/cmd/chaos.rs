//! `tapio chaos`: does to a real mesh what reality does, and looks whether it keeps its promises.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;
use tapio_chaos::{
    report::{Report, timeline},
    scenarios::{self, Expects, Scenario},
    world::{self, Outcome, RunOptions},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    exit::Usage,
    out::{Out, Style, errln},
};

#[derive(Debug, clap::Args)]
pub(crate) struct ChaosArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs a scenario: servers, nodes, a load and faults on this machine, then judges the outcome.
    Run(RunArgs),
    /// Lists the scenarios.
    List,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Which one: see `tapio chaos list`.
    scenario: String,
    /// Load and faults follow from it; further runs take the seeds after it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many runs, one after the other.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Nodes of the mesh.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: u8,
    /// Events of each load, about; the scenario's own number without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=5_000_000))]
    events: Option<u32>,
    /// How long each load takes: seconds, or a duration such as 2m; the scenario's own without it.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    duration: Option<Duration>,
    /// Draws owners and faults over time into this file; of several runs, one file a seed.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Keeps the logs of nodes and servers in this folder.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
}

/// A scenario of the list.
#[derive(Debug, Serialize)]
struct Listed {
    scenario: &'static str,
    about: &'static str,
    events: u32,
    duration_s: u64,
    must_violate: bool,
}

pub(crate) fn run(args: &ChaosArgs, out: Out) -> anyhow::Result<()> {
    match &args.what {
        What::List => list(out),
        What::Run(args) => {
            let scenario = scenarios::find(&args.scenario).ok_or_else(|| {
                let slug = &args.scenario;
                Usage(format!("no scenario is called {slug}; `tapio chaos list` lists them"))
            })?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .context("starting the runtime")?;
            runtime.block_on(run_all(args, scenario, out))
        }
    }
}

fn list(out: Out) -> anyhow::Result<()> {
    scenarios::ALL.iter().try_for_each(|scenario| {
        let spec = scenario.spec;
        if out.is_for_people() {
            let name = out.paint(Style::Bold, format_args!("{:<20}", scenario.slug));
            return out.text(format_args!("{name}{}\n", spec.about));
        }
        out.record(&Listed {
            scenario: scenario.slug,
            about: spec.about,
            events: spec.events,
            duration_s: spec.duration_s,
            must_violate: spec.expects == Expects::Violates,
        })
    })
}

async fn run_all(args: &RunArgs, scenario: &'static Scenario, out: Out) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut reports = Vec::new();
    for run in 0..u64::from(args.runs) {
        let options = RunOptions {
            scenario,
            seed: args.seed.wrapping_add(run),
            nodes: usize::from(args.nodes),
            events: args.events,
            duration: args.duration,
            program: program.clone(),
            logs: args.logs.clone(),
        };
        let report = run_one(&options, args).await?;
        if out.is_for_people() {
            out.text(&report)?;
        } else if args.runs > 1 {
            let (seed, ok, acked) = (report.seed, report.ok, report.acked);
            errln(format_args!("tapio: seed {seed}: ok {ok}, acknowledged {acked}"));
        }
        reports.push(report);
    }
    let report = Report::sum(reports).context("no run")?;
    if !out.is_for_people() {
        out.record(&report)?;
    } else if args.runs > 1 {
        out.text(&report)?;
    }
    if report.ok {
        return Ok(());
    }
    match scenario.spec.expects {
        Expects::Holds => bail!("{} violations; see above", report.violations_total),
        Expects::Violates => bail!("the control violated nothing: the suite does not see"),
    }
}

/// Runs once. Whoever interrupts it finds no process and no file left behind.
async fn run_one(options: &RunOptions, args: &RunArgs) -> anyhow::Result<Report> {
    let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let outcome = tokio::select! {
        outcome = world::run(options) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    };
    let (slug, seed) = (options.scenario.slug, options.seed);
    let outcome = outcome.with_context(|| format!("running {slug} with seed {seed}"))?;
    let ran = match outcome {
        Outcome::Ran(ran) => ran,
        Outcome::Skipped(need) => return Ok(Report::skipped(options, &need.to_string())),
    };
    if let Some(file) = &args.svg {
        let file = if args.runs == 1 { file.clone() } else { of_seed(file, seed) };
        let picture = timeline(&ran.record, &format!("{slug}, seed {seed}"));
        fs::write(&file, picture).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(Report::of(options, &ran))
}

/// Returns a file's name with a seed before its ending.
fn of_seed(file: &Path, seed: u64) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let ending = file.extension().map_or_else(|| "svg".into(), |ending| ending.to_string_lossy());
    file.with_file_name(format!("{stem}-{seed}.{ending}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let duration = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_not_a_number) => super::up::duration(text)?,
    };
    if duration < Duration::from_secs(5) || duration > Duration::from_secs(24 * 3_600) {
        return Err("it must be between five seconds and a day".into());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_seconds_or_says_its_unit() {
        let cases = [("30", Some(30)), ("2m", Some(120)), ("4", None), ("2d", None), ("x", None)];
        for (text, expected) in cases {
            assert_eq!(seconds(text).ok(), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn each_seed_has_a_picture_of_its_own() {
        let cases = [("a/b.svg", "a/b-7.svg"), ("b", "b-7.svg")];
        for (file, expected) in cases {
            assert_eq!(of_seed(Path::new(file), 7), Path::new(expected));
        }
    }
}
