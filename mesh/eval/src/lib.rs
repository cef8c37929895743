//! Importers: recordings become events.
//!
//! A format is one file below `importers/` and one word in the list of [`importers()`]. Whatever
//! the format, a recording is read as a stream: what is in memory at a time is bounded, every row
//! is either an event or counted with the reason why not, and labels never become events.

mod account;
mod error;
mod importers;
mod input;
mod read_ahead;
mod recording;
mod write;

pub use account::{ImportAccount, Progress, REJECTED_EXAMPLES_MAX, Rejected};
pub use error::ImportError;
pub use importers::{detect_format, importer, importers, open_recording};
pub use input::Input;
pub use read_ahead::{READ_AHEAD_CHUNKS_MAX, ReadAhead};
pub use recording::{CHUNK_EVENTS_MAX, Importer, Recording};
pub use write::{RECORDING_VERSION, RecordingHeader, write_recording};
