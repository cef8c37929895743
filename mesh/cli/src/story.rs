//! A story as a person reads it.

use std::fmt::Write as _;

use tapio_wire::json::{EventJson, LinkJson, StoryJson, time_to_text};

use crate::out::{Out, Shape, Style};

/// Columns of text for people. Ids and quoted lines may be longer: they are never broken.
const COLUMNS: usize = 100;

/// Renders one telling of a story.
pub(crate) fn render(story: &StoryJson, out: Out) -> String {
    let mut page = String::new();
    head(&mut page, story, out);
    let sentences = |section: &'static str| {
        let of_section = story.citations.iter().filter(move |it| it.section == section);
        of_section.map(|it| it.sentence.as_str())
    };
    section(&mut page, out, "What happened", sentences("summary"));
    section(&mut page, out, "Why", sentences("root_cause"));
    let candidates = story.hypotheses.iter().flatten();
    let candidates =
        candidates.map(|it| format!("{} ({}): {}", it.pattern, percent(it.confidence), it.text));
    section(&mut page, out, "It is one of", candidates);
    chain(&mut page, &story.chain, out);
    let ruled_out = story.ruled_out.iter().map(|it| format!("{}: {}", it.pattern, it.because));
    section(&mut page, out, "Ruled out", ruled_out);
    let steps = sentences("recommendation").zip(1..).map(|(step, n)| format!("{n}. {step}"));
    section(&mut page, out, "What to do", steps);
    section(&mut page, out, "Not known", unknowns(story));
    page
}

fn head(page: &mut String, story: &StoryJson, out: Out) {
    let (mark, style) = match story.state.as_str() {
        "resolved" => ("✓", Style::Green),
        "merged" => ("→", Style::Dim),
        _ => ("●", Style::Red),
    };
    let title = out.paint(Style::Bold, &story.title);
    line(page, format_args!("{} {title}", out.paint(style, mark)));
    let into = story.merged_into.as_ref().map_or_else(String::new, |id| format!(" into {id}"));
    let verdict = if story.verdict == "cause" { "confidence" } else { "cause unknown, best guess" };
    let facts = format!(
        "  {}{into} {} · {verdict} {} ({}) · {} events in {} traces",
        story.state,
        clock(&story.told_at),
        percent(story.confidence),
        story.evidence_class.replace('_', " "),
        story.event_ids.len(),
        story.trace_ids.len(),
    );
    line(page, out.paint(Style::Dim, facts));
    let mut ids = format!("  story {} · pattern {}", story.id, story.pattern);
    if let Some(predecessor) = &story.predecessor {
        write!(ids, " · follows {predecessor}").unwrap_or_default();
    }
    line(page, out.paint(Style::Dim, ids));
}

fn section(
    page: &mut String,
    out: Out,
    title: &str,
    lines: impl IntoIterator<Item = impl AsRef<str>>,
) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return;
    }
    line(page, format_args!("\n  {}", out.paint(Style::Cyan, title)));
    for text in lines {
        wrapped(page, "    ", text.as_ref());
    }
}

fn chain(page: &mut String, links: &[LinkJson], out: Out) {
    if links.is_empty() {
        return;
    }
    line(page, format_args!("\n  {}", out.paint(Style::Cyan, "Chain of evidence")));
    for link in links {
        let role = format!("{:<8}", link.role);
        let role = match link.role.as_str() {
            "root" => out.paint(Style::Red, role),
            "symptom" => out.paint(Style::Yellow, role),
            _ => role,
        };
        let (time, lag) = (clock(&link.time), lag(link.lag_ms));
        line(page, format_args!("    {time} {lag:>8}  {role} {}", link.source));
        // The words name the place more often than not.
        let place = if link.text.contains(&link.place) {
            String::new()
        } else {
            format!("{}: ", link.place)
        };
        wrapped(page, "        ", &format!("{place}{}", link.text));
        if out.shape == Shape::Wide {
            line(page, format_args!("        {}", out.paint(Style::Dim, &link.event)));
        }
    }
}

fn unknowns(story: &StoryJson) -> Vec<String> {
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
pub(crate) fn render_evidence(events: &[EventJson], out: Out) -> String {
    let mut page = String::new();
    for event in events {
        let time = time_to_text(event.time);
        let head = format!(
            "{} {:<10} {:<22} {}",
            clock(&time),
            event.source.name(),
            event.kind.name(),
            event.place.label()
        );
        line(&mut page, out.paint(Style::Bold, head));
        let ids = event.id.zip(event.trace);
        if let Some((id, trace)) = ids {
            let ids = format!("  event {id} · trace {} · {}", trace.trace_id, trace.binding);
            line(&mut page, out.paint(Style::Dim, ids));
        }
        for (key, value) in event.attributes.iter() {
            line(&mut page, format_args!("  {key}: {value}"));
        }
    }
    page
}

/// Renders a list of stories, one a line.
pub(crate) fn render_list(stories: &[StoryJson], out: Out) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut header = vec!["STORY", "STATE", "OPENED", "CONFIDENCE", "PATTERN", "TITLE"];
    if out.shape == Shape::Wide {
        header.extend(["EVENTS", "TRACES", "TELLING"]);
    }
    table.set_header(header);
    for story in stories {
        let is_known = story.verdict == "cause";
        let confidence = if is_known { percent(story.confidence) } else { "unknown".into() };
        let mut row = vec![
            story.id.clone(),
            story.state.clone(),
            story.opened_at.get(..19).unwrap_or_default().replace('T', " "),
            confidence,
            story.pattern.clone(),
            story.title.clone(),
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

/// Shows the time of day of an RFC 3339 time, UTC, to the millisecond.
fn clock(time: &str) -> &str {
    time.get(11..23).unwrap_or(time)
}

fn percent(confidence: f64) -> String {
    format!("{:.0} %", confidence * 100.0)
}

fn lag(millis: f64) -> String {
    if millis < 10_000.0 {
        format!("+{millis:.0} ms")
    } else {
        format!("+{:.1} s", millis / 1_000.0)
    }
}

fn wrapped(page: &mut String, indent: &str, text: &str) {
    let options = textwrap::Options::new(COLUMNS)
        .initial_indent(indent)
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    for text in textwrap::wrap(text, options) {
        line(page, text);
    }
}

/// Adds a line to a page. Writing to a `String` cannot fail.
fn line(page: &mut String, text: impl std::fmt::Display) {
    writeln!(page, "{text}").unwrap_or_default();
}
