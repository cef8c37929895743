//! Tellings: all as they come, or those of one story.

use tapio_bus::Start;
use tapio_model::{ShardId, StoryId, Telling, Text, Timestamp};
use tapio_wire::{DecodeError, decode_telling};
use tracing::warn;

use super::{Archive, ArchiveError};
use crate::{
    Stream, Subjects,
    fabric::{Kept, KeptReader},
};

/// A telling, and how it got here.
#[derive(Debug, Clone, PartialEq)]
pub struct TellingEntry {
    /// Its place in the stream: what comes later is larger, with gaps.
    pub sequence: u64,
    /// When the stream took it, by the server's clock.
    pub time: Timestamp,
    /// The shard that told it.
    pub shard: ShardId,
    /// The trace it was told in, if it said so.
    pub traceparent: Option<Text>,
    /// Tellings that waited behind it when it was read.
    pub waiting: u64,
    /// What was told.
    pub telling: Telling,
}

/// Why a message of the stories stream is no telling.
#[derive(Debug, thiserror::Error)]
enum NoTelling {
    #[error("`{0}` names no shard")]
    Subject(String),
    #[error("{0}")]
    Body(DecodeError),
}

impl TellingEntry {
    fn read(kept: &Kept, subjects: &Subjects) -> Result<Self, NoTelling> {
        let Kept { subject, entry } = kept;
        Ok(Self {
            sequence: entry.sequence,
            time: entry.time,
            shard: subjects.teller(subject).ok_or_else(|| NoTelling::Subject(subject.clone()))?,
            traceparent: entry.traceparent.clone(),
            waiting: entry.waiting,
            telling: decode_telling(&entry.body).map_err(NoTelling::Body)?,
        })
    }
}

/// Tellings as they come. Repairs lost connections and gaps by itself and goes on where it was.
#[derive(Debug)]
pub struct TellingFeed {
    reader: KeptReader,
    subjects: Subjects,
    stream: String,
    first_kept: u64,
    read: u64,
    unreadable: u64,
}

impl TellingFeed {
    /// Returns the first sequence the stream still held when reading began: whoever asked for an
    /// earlier one has missed what aged out.
    #[must_use]
    pub const fn first_kept(&self) -> u64 {
        self.first_kept
    }

    /// Returns the sequence up to which everything was handed out, or counted as unreadable.
    #[must_use]
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// Returns the messages that were passed over, as they are no tellings that this build reads.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Waits for the next telling.
    ///
    /// # Errors
    /// [`ArchiveError::Failed`] if reading can never go on.
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<TellingEntry, ArchiveError> {
        loop {
            let next = self.reader.next().await;
            let kept =
                next.map_err(|why| ArchiveError::Failed { stream: self.stream.clone(), why })?;
            self.read = kept.entry.sequence;
            match TellingEntry::read(&kept, &self.subjects) {
                Ok(entry) => return Ok(entry),
                Err(why) => {
                    self.unreadable = self.unreadable.saturating_add(1);
                    warn!(stream = %self.stream, sequence = self.read, %why, "not a telling");
                }
            }
        }
    }
}

impl Archive {
    /// Reads the tellings of all shards as they come, in the order of the stream.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn tellings(&self, from: Start) -> Result<TellingFeed, ArchiveError> {
        let state = self.state(Stream::Stories).await?;
        let from = match from {
            Start::Earliest => 1,
            Start::At(offset) => offset.0.max(1),
            Start::New => state.last.saturating_add(1),
        };
        let stream = self.subjects.stream(Stream::Stories);
        let reader = self.fabric.read_kept(&stream, self.subjects.tellings(), from).await;
        Ok(TellingFeed {
            reader: reader.map_err(|why| self.failed(Stream::Stories, why))?,
            subjects: self.subjects.clone(),
            stream,
            first_kept: state.first,
            read: from.saturating_sub(1),
            unreadable: 0,
        })
    }

    /// Returns the tellings of a story that the stream keeps, oldest first; none if it keeps none.
    /// What is not readable is left out, and logged.
    ///
    /// # Shape
    /// As many as the stream keeps of it: some hundred at most, each at most one message.
    /// # Errors
    /// [`ArchiveError`].
    pub async fn story(&self, story: StoryId) -> Result<Vec<TellingEntry>, ArchiveError> {
        let mut told = Vec::new();
        let take = |kept: Kept| match TellingEntry::read(&kept, &self.subjects) {
            Ok(entry) => told.push(entry),
            Err(why) => warn!(%story, sequence = kept.entry.sequence, %why, "not a telling"),
        };
        self.scan(Stream::Stories, self.subjects.tellings_of(story), take).await?;
        Ok(told)
    }
}
