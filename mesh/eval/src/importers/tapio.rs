//! Our own format: one event a line, as JSON.
//!
//! The order of the lines is the order of arrival and is part of the recording: nothing is sorted,
//! so that an event which came late comes late again.

mod labels;

use std::{
    io::{self, BufRead, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use ahash::AHashSet;
use tapio_collect::{Binder, Unbound, event_id};
use tapio_model::{Event, EventId, Place};
use tapio_wire::{EventJson, LINE_BYTES_MAX, parse_event_line};

use crate::{
    CHUNK_EVENTS_MAX, ImportAccount, ImportError, Importer, Input, Labels, Progress,
    RECORDING_VERSION, Recording, RecordingHeader, Rejected, input::Opened,
};

/// Places that are shared between events; beyond, they are forgotten and shared anew.
const PLACES_MAX: usize = 10_000;

/// The importer.
#[derive(Debug)]
pub(super) struct Format;

impl Importer for Format {
    fn name(&self) -> &'static str {
        "tapio"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["jsonl"]
    }

    fn about(&self) -> &'static str {
        "Tapio's own recordings: one event a line, as JSON"
    }

    fn detects(&self, path: &Path) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && matches!(extension, Some("jsonl" | "ndjson"))
    }

    fn open(&self, input: Input, binder: Arc<Binder>) -> Result<Box<dyn Recording>, ImportError> {
        let name = match &input {
            Input::Path(path) => path.clone(),
            Input::Stream(_) => PathBuf::from("-"),
        };
        let Opened { stream, bytes_total } = input.into_stream(self.name())?;
        Ok(Box::new(Lines {
            stream,
            name,
            line: Vec::new(),
            line_number: 0,
            binder,
            places: AHashSet::new(),
            header: None,
            account: ImportAccount::default(),
            progress: Progress { bytes_read: 0, bytes_total },
        }))
    }

    fn open_labelled(
        &self,
        path: &Path,
        binder: Arc<Binder>,
    ) -> Result<(Box<dyn Recording>, Labels), ImportError> {
        let labels = labels::read(path)?;
        Ok((self.open(Input::Path(path.to_path_buf()), binder)?, labels))
    }
}

struct Lines {
    stream: Box<dyn BufRead + Send>,
    name: PathBuf,
    line: Vec<u8>,
    line_number: u64,
    binder: Arc<Binder>,
    places: AHashSet<Arc<Place>>,
    header: Option<RecordingHeader>,
    account: ImportAccount,
    progress: Progress,
}

impl Recording for Lines {
    fn next_chunk(&mut self, chunk: &mut Vec<Arc<Event>>) -> Result<bool, ImportError> {
        let full = chunk.len() + CHUNK_EVENTS_MAX;
        while chunk.len() < full {
            let more = self
                .next_line()
                .map_err(|error| ImportError::Read { path: self.name.clone(), error })?;
            if !more {
                return Ok(false);
            }
            if self.line.trim_ascii().is_empty() || self.take_header()? {
                continue;
            }
            match parse_event_line(&self.line) {
                Ok(event) => {
                    chunk.push(Arc::new(self.settle(event)));
                    self.account.accept();
                }
                Err(error) => self.account.reject(Rejected {
                    file: None,
                    line: self.line_number,
                    reason: error.reason(),
                    why: error.to_string(),
                }),
            }
        }
        Ok(true)
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn account(&self) -> &ImportAccount {
        &self.account
    }

    fn header(&self) -> Option<&RecordingHeader> {
        self.header.as_ref()
    }
}

impl Lines {
    /// Reads the next line into `self.line`, of a line that is too long one byte more than is
    /// allowed: enough to be refused. Returns `false` at the end.
    fn next_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let bytes_max = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
        let mut read =
            (&mut self.stream).take(bytes_max).read_until(b'\n', &mut self.line).map(to_u64)?;
        if read == bytes_max && self.line.last() != Some(&b'\n') {
            read += skip_line(&mut self.stream)?;
        }
        self.line_number += 1;
        self.progress.bytes_read += read;
        Ok(read > 0)
    }

    fn take_header(&mut self) -> Result<bool, ImportError> {
        // The cheap test first; a header stands before every event or it is none.
        let may_be = self.account.rows == 0 && self.header.is_none();
        if !may_be || memchr::memmem::find(&self.line, b"\"tapio_recording\"").is_none() {
            return Ok(false);
        }
        let Ok(header) = serde_json::from_slice::<RecordingHeader>(&self.line) else {
            return Ok(false);
        };
        if header.tapio_recording > RECORDING_VERSION {
            let found = header.tapio_recording;
            return Err(ImportError::Version { found, known: RECORDING_VERSION });
        }
        self.header = Some(header);
        Ok(true)
    }

    /// Gives the event what the line left out.
    ///
    /// An event that has both id and trace was published once, and what is published never
    /// changes: it stays as it is. Any other goes the way of a fresh one, past the binder.
    fn settle(&mut self, event: EventJson) -> Event {
        if let EventJson { id: Some(id), trace: Some(trace), .. } = event {
            let place = self.share(&event.place);
            return EventJson { place, ..event }.into_event(id, trace);
        }
        let id = event.id.unwrap_or_else(|| content_id(&event));
        let trace = event.trace;
        let bound = self.binder.bind(unbound(id, event));
        // The trace as written wins over the binder's: it may say that it was inferred.
        Event { trace: trace.unwrap_or(bound.trace), ..bound }
    }

    fn share(&mut self, place: &Arc<Place>) -> Arc<Place> {
        if let Some(known) = self.places.get(place) {
            return Arc::clone(known);
        }
        if self.places.len() >= PLACES_MAX {
            self.places.clear();
        }
        self.places.insert(Arc::clone(place));
        Arc::clone(place)
    }
}

/// Derives an id from everything the line says, however it is spelt: white space, the order of
/// fields and the offset of a time do not matter.
fn content_id(event: &EventJson) -> EventId {
    // What was just read can be written: it holds nothing but text and numbers.
    let content = serde_json::to_vec(event).unwrap_or_default();
    event_id(&[b"recording", &content])
}

fn unbound(id: EventId, event: EventJson) -> Unbound {
    let trace = event.trace;
    Unbound {
        trace_id: trace.map(|trace| trace.trace_id),
        span_id: trace.and_then(|trace| trace.span_id),
        parent_span_id: trace.and_then(|trace| trace.parent_span_id),
        place: Arc::unwrap_or_clone(event.place),
        severity: event.severity,
        impact: event.impact,
        class: event.class,
        attributes: event
            .attributes
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        ..Unbound::new(id, event.time, event.source, event.kind)
    }
}

fn skip_line(stream: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let bytes = stream.fill_buf()?;
        if bytes.is_empty() {
            return Ok(skipped);
        }
        let end = memchr::memchr(b'\n', bytes);
        let length = end.map_or(bytes.len(), |end| end + 1);
        stream.consume(length);
        skipped += to_u64(length);
        if end.is_some() {
            return Ok(skipped);
        }
    }
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
