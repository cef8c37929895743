//! Whether the engine is as sure as it is right.

use serde::Serialize;
use tapio_eval::{Calibration, Claim, Reliability, Share, recorded};

use super::{
    EvalArgs, evaluate,
    reliability::{Figures, diagram, title},
    save,
};
use crate::out::{Out, Style};

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    scenes: Calibration,
    /// The recordings by themselves: nothing was learnt from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recordings: Vec<OfRecording>,
}

/// How far the stories of a recording are from truth.
#[derive(Debug, Serialize)]
struct OfRecording {
    recording: String,
    verdicts: usize,
    /// Of no story there is no share.
    #[serde(skip_serializing_if = "Option::is_none")]
    right: Option<f64>,
    brier: f64,
    ece: f64,
    ece_interval: (f64, f64),
}

pub(super) fn run(args: &EvalArgs, out: Out) -> anyhow::Result<()> {
    let entries = tapio_patterns::all();
    let played = args.play.as_ref().map_or(Ok(Vec::new()), |it| recorded(it, &entries))?;
    let scenes = Calibration::of(&tapio_eval::trials(&entries, &played)?);
    if let Some(path) = &args.reliability {
        let title = title("verdicts on held-out patterns", scenes.held_out.into());
        save(path, &diagram(&scenes.claims, &title))?;
    }
    let report = Report { scenes, recordings: recordings(args)? };
    if out.is_for_people() { print(&report, out) } else { out.record(&report) }
}

fn recordings(args: &EvalArgs) -> anyhow::Result<Vec<OfRecording>> {
    let together = match args.recordings.as_slice() {
        [] => return Ok(Vec::new()),
        [only] => super::name_of(only),
        [..] => "recordings together".to_owned(),
    };
    let (whole, each) = evaluate(args, None)?;
    let all = each.iter().chain([&whole]).map(|judged| OfRecording {
        recording: judged.recording.clone().unwrap_or_else(|| together.clone()),
        verdicts: judged.score.verdicts,
        right: share_right(&judged.claims),
        brier: judged.score.brier,
        ece: judged.score.ece,
        ece_interval: judged.score.ece_interval,
    });
    Ok(all.collect())
}

fn share_right(claims: &[Claim]) -> Option<f64> {
    let count = |count: usize| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    let right = claims.iter().filter(|claim| claim.is_right).count();
    (!claims.is_empty()).then(|| count(right) / count(claims.len()))
}

fn print(report: &Report, out: Out) -> anyhow::Result<()> {
    let Report { scenes, recordings } = report;
    out.text(format_args!(
        "{} scenes, {} of them recorded, played {} times; {} stories said that they do not know, {} plays with a cause \
         told none\n",
        scenes.scenes, scenes.recordings, scenes.plays, scenes.abstentions, scenes.silences,
    ))?;
    reliability("held out: no points were fitted on the pattern", &scenes.held_out, out)?;
    let alike = scenes.held_out_ece_alike;
    out.text(format_args!("  ECE if each hardship counted alike: {alike:.3}\n"))?;
    if scenes.recordings > 0 {
        reliability("of these, recordings of real faults", &scenes.recorded, out)?;
    }
    reliability("in force: as told", &scenes.in_force, out)?;
    reliability("guesses, where it says that it does not know", &scenes.guesses, out)?;
    head("by what was done to the scene", out)?;
    for (name, share) in &scenes.by_hardship {
        row(name, share, out)?;
    }
    head("by the pattern that was told", out)?;
    for (name, share) in &scenes.by_pattern {
        row(name, share, out)?;
    }
    head("points: in force, fitted", out)?;
    for (name, point) in &scenes.points {
        let fitted = scenes.fitted.get(name).copied().unwrap_or_default();
        out.text(format_args!("  {name:<12} {point:>6.2} {fitted:>6.2}\n"))?;
    }
    recordings.iter().try_for_each(|it| recording(it, out))
}

fn recording(it: &OfRecording, out: Out) -> anyhow::Result<()> {
    let OfRecording { verdicts, brier, ece, ece_interval, .. } = *it;
    let figures = Figures { verdicts, brier, ece, ece_interval };
    let right = it.right.map_or_else(String::new, |it| format!("{} % right; ", percent(it)));
    head(&it.recording, out)?;
    out.text(format_args!("  {right}{}\n", title("stories", figures)))
}

fn head(text: &str, out: Out) -> anyhow::Result<()> {
    out.text(format_args!("\n{}\n", out.paint(Style::Cyan, text)))
}

fn reliability(what: &str, it: &Reliability, out: Out) -> anyhow::Result<()> {
    head(what, out)?;
    out.text(format_args!(
        "  {} % right, {} % sure; {} (one share for all: {:.3})\n",
        percent(it.right),
        percent(it.confidence),
        title("verdicts", (*it).into()),
        it.brier_of_share,
    ))
}

fn row(name: &str, share: &Share, out: Out) -> anyhow::Result<()> {
    out.text(format_args!(
        "  {name:<22} {:>5}  {:>5} % right, {:>5} % sure\n",
        share.verdicts,
        percent(share.right),
        percent(share.confidence),
    ))
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_no_story_there_is_no_share_that_is_right() {
        let claims = [true, false, true, true].map(|is_right| Claim { confidence: 0.5, is_right });
        assert_eq!(share_right(&claims), Some(0.75));
        assert_eq!(share_right(&[]), None);
    }
}
