//! Importers: recordings become events. The judge: what was told against what is true. And how
//! sure one may be: scenes whose truth is known, played under hardships.
//!
//! A format is one file below `importers/` and one word in the list of [`importers()`]. Whatever
//! the format, a recording is read as a stream: what is in memory at a time is bounded, every row
//! is either an event or counted with the reason why not, and labels never become events.

mod account;
mod calibration;
mod dice;
mod error;
mod fit;
mod grouping;
mod heard;
mod held_out;
mod importers;
mod input;
mod interval;
mod judge;
mod labels;
mod read_ahead;
mod recording;
mod score;
mod statistics;
mod times;
mod trial;
mod write;

pub use account::{ImportAccount, Progress, REJECTED_EXAMPLES_MAX, Rejected};
pub use calibration::{BINS, Bin, Claim, bins};
pub use error::ImportError;
pub use heard::Heard;
pub use held_out::{Calibration, Reliability, Share, Table};
pub use importers::{detect_format, importer, importers, open_recording};
pub use input::Input;
pub use judge::Judgement;
pub use labels::{Fault, Labels};
pub use read_ahead::{READ_AHEAD_CHUNKS_MAX, ReadAhead};
pub use recording::{CHUNK_EVENTS_MAX, Importer, Recording};
pub use score::{Case, Count, FalseStories, FalseStory, KindScore, Score};
pub use trial::{Hardship, Origin, Recorded, Trial, Trials, recorded, trials};
pub use write::{RECORDING_VERSION, RecordingHeader, write_recording};
