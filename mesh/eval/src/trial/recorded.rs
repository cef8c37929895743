//! Recordings of one fault each, as scenes to be played.

use std::{fs, path::Path, sync::Arc};

use tapio_collect::{Binder, Home};
use tapio_model::{Event, EventId};
use tapio_patterns::{Entry, scene::Truth};

use crate::{ImportError, Importer as _, Labels, importers};

/// What was recorded of one fault, or of none.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What it is called.
    pub name: String,
    /// What is true of it.
    pub truth: Truth,
    /// What was seen, in the order of its arrival.
    pub events: Vec<Event>,
}

/// Reads every recording of a directory: `NAME.jsonl`, and its truth beside it.
///
/// # Errors
/// [`ImportError`] names what cannot be read, and [`ImportError::Unplayable`] what has more than one
/// fault, or one whose pattern none of `entries` is.
pub fn recorded(directory: &Path, entries: &[Entry]) -> Result<Vec<Recorded>, ImportError> {
    let said = |error| ImportError::Read { path: directory.to_owned(), error };
    let listed = fs::read_dir(directory).map_err(said)?;
    let paths = listed.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(said)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths.iter().map(|path| read(path, entries)).collect()
}

fn read(path: &Path, entries: &[Entry]) -> Result<Recorded, ImportError> {
    let binder = Arc::new(Binder::new(Home::default()));
    let (mut recording, labels) = importers::tapio().open_labelled(path, binder)?;
    let truth = truth(&labels, entries)
        .map_err(|why| ImportError::Unplayable { path: path.to_owned(), why })?;
    let mut events = Vec::new();
    while recording.next_chunk(&mut events)? {}
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Recorded { name, truth, events: events.iter().map(|event| unmarked(event)).collect() })
}

fn truth(labels: &Labels, entries: &[Entry]) -> Result<Truth, String> {
    match labels.faults.as_slice() {
        [] => Ok(Truth::Healthy),
        [fault] => {
            let pattern = fault.pattern.as_deref().ok_or("its fault names no pattern")?;
            let known = entries.iter().find(|entry| entry.slug == pattern);
            let known = known.ok_or_else(|| format!("there is no pattern {pattern}"))?;
            Ok(Truth::Cause(known.slug))
        }
        more => Err(format!("it has {} faults, and should have one", more.len())),
    }
}

/// The first two bytes of an id say whose it is when scenes are played beside each other.
fn unmarked(event: &Event) -> Event {
    let mut bytes = *event.id.as_bytes();
    for byte in bytes.iter_mut().take(2) {
        *byte = 0;
    }
    Event { id: EventId::from_bytes(bytes), ..event.clone() }
}
