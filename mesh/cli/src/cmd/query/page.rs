//! An answer as a person reads it.

use std::{fmt::Write as _, time::Duration};

use tapio_model::{Answer, Ending, Item, TraceReport};
use tapio_wire::{StoryJson, json::time_to_text};

use crate::{
    out::{Out, Style},
    story,
};

/// Renders an answer, and how much of the mesh it knows.
pub(super) fn render(answer: &Answer, out: Out) -> String {
    let mut page = String::new();
    for item in &answer.results {
        match item {
            Item::Story(told) => page.push_str(&story::render(&StoryJson::from(&**told), out)),
            Item::Trace(trace) => render_trace(&mut page, trace, out),
            Item::Incident { id, opened_at, touches } => {
                let touches: Vec<_> = touches.iter().map(ToString::to_string).collect();
                let since = time_to_text(*opened_at);
                line(&mut page, format_args!("{id}  since {since}  {}", touches.join(", ")));
            }
            Item::Owner { shard, owner: Some(owner) } => {
                line(
                    &mut page,
                    format_args!("shard {shard}: {}, epoch {}", owner.node, owner.epoch),
                );
            }
            Item::Owner { shard, owner: None } => {
                line(&mut page, format_args!("shard {shard}: nobody"));
            }
            Item::Accepted { shard, events } => {
                line(&mut page, format_args!("shard {shard}: {events} events accepted"));
            }
            Item::Released { shard } => line(&mut page, format_args!("shard {shard}: given back")),
        }
    }
    if answer.results.is_empty() {
        line(&mut page, "nothing known");
    }
    let shards = &answer.shards;
    let known = shards.answered.len();
    let all = known + shards.stale.len() + shards.missing.len();
    let took_ms = answer.took.div_duration_f64(Duration::from_millis(1));
    let foot = format!("{known} of {all} shards · {took_ms:.1} ms · {}", answer.coordinator);
    line(&mut page, out.paint(Style::Dim, foot));
    page
}

fn render_trace(page: &mut String, trace: &TraceReport, out: Out) {
    let state = match trace.ended {
        None => "live",
        Some(Ending::Closed) => "closed",
        Some(Ending::Quarantined) => "quarantined",
        Some(Ending::Refused) => "turned away",
    };
    let title = format!("trace {}", trace.id);
    let events = trace.events_total;
    line(page, format_args!("{} {state} · {events} events", out.paint(Style::Bold, title)));
    for finding in &trace.findings {
        line(
            page,
            format_args!("  {} ({}): {}", finding.id.pattern, finding.confidence, finding.title),
        );
    }
    for id in &trace.stories {
        line(page, format_args!("  story {id}"));
    }
    for event in &trace.events {
        let (time, kind) = (time_to_text(event.time), event.kind.name());
        line(page, format_args!("  {time}  {kind}  {}  {}", event.place.label(), event.message()));
    }
}

fn line(page: &mut String, text: impl std::fmt::Display) {
    writeln!(page, "{text}").unwrap_or_default();
}
