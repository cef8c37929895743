//! Why a recording cannot be read.

use std::{io, path::PathBuf};

/// Why a recording cannot be read. A bad row is not an error: it is counted.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file or directory cannot be opened or read.
    #[error("cannot read {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The format is read from another kind of input: a directory, a file, a stream.
    #[error("{format} is read from {wants}, not from {found}")]
    Input {
        /// The format.
        format: &'static str,
        /// What it is read from.
        wants: &'static str,
        /// What was given.
        found: String,
    },
    /// No importer has this name.
    #[error("unknown format {name:?}: write one of {known}")]
    UnknownFormat {
        /// What was written.
        name: String,
        /// The formats there are.
        known: String,
    },
    /// Nothing says which format it is.
    #[error("cannot tell the format of {what}: name one of {known}")]
    Undetected {
        /// What was looked at.
        what: String,
        /// The formats there are.
        known: String,
    },
    /// The recording was written by a later version.
    #[error("the recording has version {found}, this program reads up to {known}")]
    Version {
        /// The version in its header.
        found: u32,
        /// The latest version that can be read.
        known: u32,
    },
    /// A recording does not have the one fault, or none, that a scene has.
    #[error("cannot play {path}: {why}")]
    Unplayable {
        /// The recording.
        path: PathBuf,
        /// Which of its labels is not right for it.
        why: String,
    },
    /// The thread that reads ahead could not be started.
    #[error("cannot start the thread that reads ahead")]
    Thread(#[source] io::Error),
    /// The thread that reads ahead ended before its recording did.
    #[error("the thread that reads ahead ended early")]
    ThreadEnded,
}
