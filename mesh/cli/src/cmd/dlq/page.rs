//! Dead letters as people and programs read them.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use tapio_model::DeadReason;
use tapio_nats::DeadLetterEntry;
use tapio_wire::json::{EventJson, event_to_json, time_to_text};

use super::{
    clock,
    give_back::{Fate, What, read},
};
use crate::{
    out::{Out, Shape, Style},
    story::render_evidence,
};

/// Bytes of the original that are shown to people; a wide page and JSON have all.
const DUMP_BYTES_MAX: usize = 512;

/// Bytes of one line of a dump.
const DUMP_LINE: usize = 16;

/// A dead letter in a list.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LetterLine {
    /// Its name: its place in the stream.
    pub(super) sequence: u64,
    /// When the stream took it.
    pub(super) time: String,
    /// When it was given up, by the engine's time.
    pub(super) at: String,
    pub(super) generation: String,
    pub(super) shard: u16,
    /// The log entry it came with.
    pub(super) entry: u64,
    pub(super) reason: &'static str,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<String>,
    /// Events in it that can be read.
    pub(super) events_readable: usize,
    pub(super) original_bytes: usize,
}

/// A dead letter, whole.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LetterPage {
    #[serde(flatten)]
    pub(super) line: LetterLine,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<String>,
    /// What of the original this build cannot read.
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) events: Vec<EventJson>,
    pub(super) original_base64: String,
}

/// Something that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Unreadable {
    /// Which event of the batch, from 0; nothing if it is the message itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<usize>,
    pub(super) reason: &'static str,
    pub(super) why: String,
}

impl From<&DeadLetterEntry> for LetterLine {
    fn from(entry: &DeadLetterEntry) -> Self {
        let letter = &entry.letter;
        Self {
            sequence: entry.sequence,
            time: time_to_text(entry.time),
            at: time_to_text(letter.at),
            generation: entry.generation.to_string(),
            shard: letter.shard.number(),
            entry: letter.sequence,
            reason: letter.reason.name(),
            detail: letter.detail.to_string(),
            trace: letter.trace.map(|trace| trace.to_string()),
            events_readable: read(letter).events.len(),
            original_bytes: letter.original.len(),
        }
    }
}

impl From<&DeadLetterEntry> for LetterPage {
    fn from(entry: &DeadLetterEntry) -> Self {
        let read = read(&entry.letter);
        let unreadable = read.unreadable.iter().map(|(event, why)| Unreadable {
            event: *event,
            reason: why.reason(),
            why: why.to_string(),
        });
        Self {
            line: LetterLine::from(entry),
            traceparent: entry.traceparent.as_ref().map(ToString::to_string),
            unreadable: unreadable.collect(),
            events: read.events.iter().map(|event| event_to_json(event)).collect(),
            original_base64: BASE64_STANDARD.encode(&entry.letter.original),
        }
    }
}

/// Renders a list, one dead letter a line.
pub(super) fn render_list(lines: &[LetterLine], out: Out) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut header = vec!["SEQ", "TIME", "SHARD", "REASON", "EVENTS", "BYTES", "DETAIL"];
    if out.shape == Shape::Wide {
        header.extend(["ENTRY", "GENERATION", "TRACE"]);
    }
    table.set_header(header);
    for line in lines {
        let mut row = vec![
            line.sequence.to_string(),
            line.time.get(..19).unwrap_or_default().replace('T', " "),
            line.shard.to_string(),
            line.reason.to_owned(),
            line.events_readable.to_string(),
            line.original_bytes.to_string(),
            line.detail.clone(),
        ];
        if out.shape == Shape::Wide {
            let trace = line.trace.clone().unwrap_or_default();
            row.extend([line.entry.to_string(), line.generation.clone(), trace]);
        }
        table.add_row(row);
    }
    format!("{table}\n")
}

/// Renders one dead letter, whole.
pub(super) fn render(page: &LetterPage, original: &[u8], out: Out) -> String {
    let LetterPage { line: head, traceparent, unreadable, events, original_base64: _ } = page;
    let mut text = String::new();
    let title = format!("dead letter {}: {}", head.sequence, head.reason);
    line(
        &mut text,
        format_args!("{} {}", out.paint(Style::Red, "●"), out.paint(Style::Bold, title)),
    );
    let mut facts = format!(
        "  {} · shard {} · log entry {} · generation {}",
        head.at.get(..23).unwrap_or_default().replace('T', " "),
        head.shard,
        head.entry,
        head.generation
    );
    if let Some(trace) = &head.trace {
        write!(facts, " · trace {trace}").unwrap_or_default();
    }
    line(&mut text, out.paint(Style::Dim, facts));
    if let Some(traceparent) = traceparent {
        line(&mut text, out.paint(Style::Dim, format_args!("  traceparent {traceparent}")));
    }
    heading(&mut text, out, "Why");
    line(&mut text, format_args!("    {}", head.detail));
    if !unreadable.is_empty() {
        heading(&mut text, out, "Not readable by this build");
        for Unreadable { event, why, .. } in unreadable {
            let what = event.map_or_else(|| "all of it".into(), |event| format!("event {event}"));
            line(&mut text, format_args!("    {what}: {why}"));
        }
    }
    if !events.is_empty() {
        heading(&mut text, out, "Events");
        text.push_str(&render_evidence(events, out));
    }
    if !original.is_empty() {
        heading(&mut text, out, &format!("Original, {} bytes", original.len()));
        let shown = if out.shape == Shape::Wide { original.len() } else { DUMP_BYTES_MAX };
        dump(&mut text, original, shown);
    }
    text
}

/// Renders what became of one dead letter.
pub(super) fn render_fate(fate: &Fate, out: Out) -> String {
    let style = match fate.what {
        What::GivenBack => Style::Green,
        What::AlreadyThere | What::WouldBeGivenBack => Style::Yellow,
        What::Refused => Style::Red,
    };
    let mut text = String::new();
    let events = match fate.events {
        0 => String::new(),
        1 => ", 1 event".to_owned(),
        events => format!(", {events} events"),
    };
    let what = out.paint(style, fate.what.words());
    line(&mut text, format_args!("{} {}: {what}{events}", fate.sequence, fate.reason));
    for note in &fate.notes {
        line(&mut text, format_args!("  {note}"));
    }
    text
}

/// Says what a person should know before giving back what was given up for `reason`.
pub(super) const fn caution(reason: DeadReason) -> Option<&'static str> {
    match reason {
        DeadReason::Crash => Some(
            "taking it in ended its owner's process again and again: give it back only to a build \
             that is cured of that",
        ),
        DeadReason::BadFindings => Some(
            "its receiver passes it over if it has heard later findings of the same shard since",
        ),
        DeadReason::BadEvent => Some(
            "events of the same batch that could be read were taken in then: they count as \
             duplicates, or as late",
        ),
        DeadReason::BadBatch | DeadReason::Poison => None,
    }
}

/// Says until when a trace stays quarantined.
pub(super) fn quarantine(until: tapio_model::Timestamp) -> String {
    format!(
        "its trace is quarantined until {}: before that it becomes a dead letter again",
        clock(until)
    )
}

fn heading(text: &mut String, out: Out, title: &str) {
    line(text, format_args!("\n  {}", out.paint(Style::Cyan, title)));
}

/// Shows bytes as `hexdump -C` does.
fn dump(text: &mut String, bytes: &[u8], shown: usize) {
    for (row, chunk) in bytes.chunks(DUMP_LINE).take(shown.div_ceil(DUMP_LINE)).enumerate() {
        let hex: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let letters = chunk.iter().map(|byte| {
            if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }
        });
        let letters: String = letters.collect();
        let at = row * DUMP_LINE;
        line(text, format_args!("    {at:08x}  {:<47}  |{letters}|", hex.join(" ")));
    }
    if bytes.len() > shown {
        let rest = bytes.len() - shown;
        line(text, format_args!("    {rest} bytes more; `-o wide` shows them, `-o json` has them"));
    }
}

/// Adds a line to a page. Writing to a `String` cannot fail.
fn line(text: &mut String, words: impl std::fmt::Display) {
    writeln!(text, "{words}").unwrap_or_default();
}
