//! What `tapio eval` says to people.

use tapio_eval::{Count, FalseStory, Score};

use super::{Judged, Report};
use crate::out::{Out, Style};

pub(super) fn report(report: &Report, out: Out) -> anyhow::Result<()> {
    let Judged { score, events, events_lost, seconds, .. } = &report.whole;
    out.text(format_args!(
        "{events} events in {seconds:.1} s, {events_lost} lost; {} faults\n\n",
        score.faults
    ))?;
    for case in &score.cases {
        let rank = case.rank.map_or("-".to_owned(), |rank| rank.to_string());
        let seconds = case.seconds_to_correct.map_or(String::new(), |it| format!("{it:.0} s"));
        let (at, kind, service) = (&case.at, &case.kind, &case.service);
        let told = case.told.as_deref().unwrap_or("no story");
        let line = format!("{at} {kind} {service}: rank {rank} {seconds}");
        out.text(format_args!("{}\n    {told}\n", out.paint(Style::Bold, line)))?;
    }
    for story in &score.told_falsely {
        let FalseStory { at, place, told, .. } = story;
        let line = format!("{at} told about nothing, {}", place.replace('_', " "));
        out.text(format_args!("{}\n    {told}\n", out.paint(Style::Bold, line)))?;
    }
    let all = report.recordings.iter().chain([&report.whole]).chain(&report.compared);
    for judged in all {
        line(judged, out)?;
    }
    Ok(())
}

fn line(judged: &Judged, out: Out) -> anyhow::Result<()> {
    let score = &judged.score;
    let who = match (&judged.recording, judged.without) {
        (Some(recording), _) => recording.clone(),
        (None, Some(part)) => format!("without {part}"),
        (None, None) => "the engine".to_owned(),
    };
    out.text(format_args!("\n{}\n", out.paint(Style::Cyan, who)))?;
    // Of no fault there is no share that was told right.
    if score.faults > 0 {
        told_right(score, out)?;
    }
    let false_in = |count: Count| format!("{} in {:.0} min", count.stories, count.minutes);
    let falsely = &score.false_stories;
    let (low, high) = score.ece_interval;
    out.text(format_args!(
        "  false: {} without a fault, {} before the first, {} elsewhere, {} of metrics alone\n  \
         Brier {:.3}, ECE {:.3} ({low:.3} to {high:.3}) over {} verdicts, {} abstentions\n",
        false_in(falsely.fault_free),
        false_in(falsely.before_first_fault),
        false_in(falsely.elsewhere),
        false_in(falsely.metrics_only),
        score.brier,
        score.ece,
        score.verdicts,
        score.abstentions,
    ))
}

fn told_right(score: &Score, out: Out) -> anyhow::Result<()> {
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let median = score.seconds_to_correct_median;
    let after = median.map_or("never".to_owned(), |it| format!("after {it:.0} s (median)"));
    let without_one = score.leave_one_service_out_min.zip(score.leave_one_service_out_max);
    let without_one = without_one.map(|(least, most)| {
        format!("  AS@1 without one service: {} to {} %\n", percent(least), percent(most))
    });
    out.text(format_args!(
        "  AS@1/3/5 {}/{}/{} %, pessimistic {}/{}/{} %\n  \
         {:.2} stories an incident, adjusted Rand index {:.3}, first right story {after}\n{}",
        percent(score.as_at_1),
        percent(score.as_at_3),
        percent(score.as_at_5),
        percent(score.as_at_1_pessimistic),
        percent(score.as_at_3_pessimistic),
        percent(score.as_at_5_pessimistic),
        score.stories_per_incident,
        score.adjusted_rand_index,
        without_one.unwrap_or_default(),
    ))
}
