//! Writing a recording in our own format.

use std::{
    borrow::Borrow,
    io::{self, Write},
};

use serde::{Deserialize, Serialize};
use tapio_model::Event;
use tapio_wire::event_to_json;

/// The version of the format that is written, and the latest that is read.
pub const RECORDING_VERSION: u32 = 1;

/// The first line of a recording: what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingHeader {
    /// Version of the format; that the field is there is what makes the line a header.
    pub tapio_recording: u32,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it was recorded, or how it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<String>,
}

impl RecordingHeader {
    /// Makes a header of the present version.
    #[must_use]
    pub fn new(title: impl Into<String>, recorded: impl Into<String>) -> Self {
        Self {
            tapio_recording: RECORDING_VERSION,
            title: Some(title.into()),
            recorded: Some(recorded.into()),
        }
    }
}

/// Writes a recording: the header, then one event a line in the order given. Returns how many
/// events were written.
///
/// The events are written as published, with id and trace, and read back equal.
///
/// # Errors
/// What `writer` says.
pub fn write_recording<E: Borrow<Event>>(
    header: &RecordingHeader,
    events: impl IntoIterator<Item = E>,
    writer: &mut impl Write,
) -> io::Result<u64> {
    write_line(writer, header)?;
    let mut written = 0;
    for event in events {
        write_line(writer, &event_to_json(event.borrow()))?;
        written += 1;
    }
    writer.flush()?;
    Ok(written)
}

fn write_line(writer: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, line)?;
    writer.write_all(b"\n")
}
