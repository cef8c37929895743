//! A story as a person reads it.

use std::fmt::Write as _;

use jiff::{Timestamp as Instant, tz::TimeZone};
use tapio_model::{Event, Role, State, Story, Timestamp, Verdict};

use crate::out::{Out, Shape, Style};

/// Renders one telling of a story.
pub(crate) fn render(story: &Story, out: Out) -> String {
    let mut page = String::new();
    head(&mut page, story, out);
    section(&mut page, out, "What happened", story.summary.iter().map(|it| &*it.text));
    section(&mut page, out, "Why", [&*story.root_cause.text]);
    if let Verdict::Unknown { hypotheses, .. } = &story.verdict {
        let lines = hypotheses.iter().map(|it| format!("{} ({}): {}", it.pattern, it.confidence, it.text));
        section(&mut page, out, "It is one of", lines);
    }
    chain(&mut page, story, out);
    let ruled_out = story.ruled_out.iter().map(|it| format!("{}: {}", it.pattern, it.because));
    section(&mut page, out, "Ruled out", ruled_out);
    let steps = story.recommendation.iter().zip(1..).map(|(step, n)| format!("{n}. {}", step.text));
    section(&mut page, out, "What to do", steps);
    section(&mut page, out, "Not known", unknowns(story));
    page
}

fn head(page: &mut String, story: &Story, out: Out) {
    let (mark, style) = match story.state {
        State::Opened | State::Amended => ("●", Style::Red),
        State::Resolved => ("✓", Style::Green),
        State::Merged { .. } => ("→", Style::Dim),
    };
    let title = out.paint(Style::Bold, &story.title);
    line(page, format_args!("{} {title}", out.paint(style, mark)));
    let state = match story.state {
        State::Merged { into } => format!("merged into {into}"),
        other @ (State::Opened | State::Amended | State::Resolved) => other.name().into(),
    };
    let verdict = match story.verdict {
        Verdict::Cause => "confidence",
        Verdict::Unknown { .. } => "cause unknown, best guess",
    };
    let facts = format!(
        "  {state} {} · {verdict} {} ({}) · {} events in {} traces",
        clock(story.told_at),
        story.confidence,
        story.class.name().replace('_', " "),
        story.event_ids.len(),
        story.trace_ids.len(),
    );
    line(page, out.paint(Style::Dim, facts));
    let mut ids = format!("  story {} · pattern {}", story.id, story.pattern);
    if let Some(predecessor) = story.predecessor {
        write!(ids, " · follows {predecessor}").unwrap_or_default();
    }
    line(page, out.paint(Style::Dim, ids));
}

fn section(
    page: &mut String,
    out: Out,
    title: &str,
    lines: impl IntoIterator<Item = impl std::fmt::Display>,
) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return;
    }
    line(page, "");
    line(page, format_args!("  {}", out.paint(Style::Cyan, title)));
    for text in lines {
        line(page, format_args!("    {text}"));
    }
}

fn chain(page: &mut String, story: &Story, out: Out) {
    let links = story.chain.iter().map(|link| {
        let evidence = &link.evidence;
        let mark = match evidence.role {
            Role::Root => out.paint(Style::Red, "root   "),
            Role::Step => "step   ".into(),
            Role::Symptom => out.paint(Style::Yellow, "symptom"),
        };
        let lag = format!("+{} ms", link.lag.as_millis());
        let id = match out.shape {
            Shape::Wide => format!("  {}", out.paint(Style::Dim, evidence.event)),
            Shape::Table | Shape::Json | Shape::Yaml => String::new(),
        };
        format!(
            "{} {lag:>10}  {mark}  {:<10} {}: {}{id}",
            clock(evidence.time),
            evidence.source.name(),
            evidence.place,
            evidence.text,
        )
    });
    section(page, out, "Chain of evidence", links);
}

fn unknowns(story: &Story) -> Vec<String> {
    let mut lines: Vec<String> =
        story.missing.iter().map(|it| format!("expected and not seen: {it}")).collect();
    if story.lost > 0 {
        lines.push(format!("{} events of these traces were lost on the way", story.lost));
    }
    if story.late > 0 {
        lines.push(format!("{} events came late and were let in", story.late));
    }
    lines
}

/// Renders the events a story cites.
pub(crate) fn render_evidence(events: &[Event], out: Out) -> String {
    let mut page = String::new();
    for event in events {
        let head = format!(
            "{} {:<10} {:<22} {}",
            clock(event.time),
            event.source.name(),
            event.kind.name(),
            event.place.label()
        );
        line(&mut page, out.paint(Style::Bold, head));
        line(
            &mut page,
            out.paint(
                Style::Dim,
                format_args!("  event {} · trace {} · {}", event.id, event.trace.trace_id, event.trace.binding),
            ),
        );
        for (key, value) in event.attributes.iter() {
            line(&mut page, format_args!("  {key}: {value}"));
        }
    }
    page
}

/// Renders a list of stories, one a line.
pub(crate) fn render_list(stories: &[Story], out: Out) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut header = vec!["STORY", "STATE", "OPENED", "CONFIDENCE", "PATTERN", "TITLE"];
    if out.shape == Shape::Wide {
        header.extend(["EVENTS", "TRACES", "TELLING"]);
    }
    table.set_header(header);
    for story in stories {
        let confidence = match story.verdict {
            Verdict::Cause => story.confidence.to_string(),
            Verdict::Unknown { .. } => "unknown".into(),
        };
        let mut row = vec![
            story.id.to_string(),
            story.state.name().into(),
            clock(story.opened_at),
            confidence,
            story.pattern.to_string(),
            story.title.to_string(),
        ];
        if out.shape == Shape::Wide {
            let counts = [story.event_ids.len(), story.trace_ids.len()];
            row.extend(counts.map(|count| count.to_string()));
            row.push(story.telling.to_string());
        }
        table.add_row(row);
    }
    format!("{table}\n")
}

/// Shows a time of day, UTC, to the millisecond.
pub(crate) fn clock(at: Timestamp) -> String {
    let Ok(instant) = Instant::from_nanosecond(i128::from(at.as_nanos())) else {
        return "out of range".into();
    };
    instant.to_zoned(TimeZone::UTC).strftime("%H:%M:%S%.3f").to_string()
}

/// Adds a line to a page. Writing to a `String` cannot fail.
fn line(page: &mut String, text: impl std::fmt::Display) {
    writeln!(page, "{text}").unwrap_or_default();
}
