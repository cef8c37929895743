//! What is true of a recording, for the judge alone.

use tapio_model::{Text, Timestamp};

/// A fault that was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When it began, by the account of whoever made it.
    pub at: Timestamp,
    /// When it was undone. Without it, it lasts to the end of its stretch of the recording.
    pub until: Option<Timestamp>,
    /// The service that was at fault.
    pub service: Text,
    /// What kind of fault it was.
    pub kind: Text,
    /// The pattern that tells it, where whoever made it knows.
    pub pattern: Option<Text>,
}

/// What is true of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// The faults, in order of time.
    pub faults: Vec<Fault>,
    /// Times in which nothing was wrong, from and until.
    pub fault_free: Vec<(Timestamp, Timestamp)>,
}
