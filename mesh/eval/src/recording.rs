//! What an importer and a recording are.

use std::{fmt, path::Path, sync::Arc};

use tapio_collect::Binder;
use tapio_model::Event;

use crate::{ImportAccount, ImportError, Input, Labels, Progress, RecordingHeader};

/// Events that one call of [`Recording::next_chunk`] appends at most: enough that the call costs
/// nothing beside them, few enough that they stay in the processor's cache.
pub const CHUNK_EVENTS_MAX: usize = 1_024;

/// Reads one format.
pub trait Importer: Sync + fmt::Debug {
    /// Returns the format's name: its file, its argument.
    fn name(&self) -> &'static str;

    /// Returns other names it goes by.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns what it reads, in one line for people.
    fn about(&self) -> &'static str;

    /// Says whether what is at `path` looks like this format.
    fn detects(&self, path: &Path) -> bool;

    /// Opens a recording; events without a trace get theirs from `binder`.
    ///
    /// # Errors
    /// [`ImportError`] if there is nothing to read, or nothing of this format.
    fn open(&self, input: Input, binder: Arc<Binder>) -> Result<Box<dyn Recording>, ImportError>;

    /// Opens a recording with what is true of it, for formats that say so. The truth is for the
    /// judge alone: it never becomes an event.
    ///
    /// # Errors
    /// [`ImportError`] if there is nothing to read, nothing of this format, or no truth.
    fn open_labelled(
        &self,
        path: &Path,
        _binder: Arc<Binder>,
    ) -> Result<(Box<dyn Recording>, Labels), ImportError> {
        Err(ImportError::Input {
            format: self.name(),
            wants: "a format whose recordings say what is true of them, such as nezha",
            found: path.display().to_string(),
        })
    }
}

/// A recording that is being read.
pub trait Recording: Send {
    /// Appends up to [`CHUNK_EVENTS_MAX`] events to `chunk`; returns `false` once there are no
    /// more. Rows that are no events are counted and skipped.
    ///
    /// # Errors
    /// [`ImportError`] if the rest cannot be read; what was appended is sound.
    fn next_chunk(&mut self, chunk: &mut Vec<Arc<Event>>) -> Result<bool, ImportError>;

    /// Returns how far it has been read.
    fn progress(&self) -> Progress;

    /// Returns what became of the rows so far.
    fn account(&self) -> &ImportAccount;

    /// Returns what the recording says of itself, once the first chunk has been read.
    fn header(&self) -> Option<&RecordingHeader> {
        None
    }
}
