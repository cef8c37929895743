//! Dead letters: counted, listed, one by one.

use std::collections::VecDeque;

use tapio_model::{DeadLetter, DeadReason, ShardId, Text, Timestamp};
use tapio_wire::{DecodeError, decode_dead_letter};

use super::{Archive, ArchiveError};
use crate::{Stream, Subjects, fabric::Kept};

/// A dead letter, and how it got here.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterEntry {
    /// Its place in the stream: its name.
    pub sequence: u64,
    /// When the stream took it, by the server's clock.
    pub time: Timestamp,
    /// The generation whose shard gave it up.
    pub generation: Text,
    /// The trace it was given up in, if it said so.
    pub traceparent: Option<Text>,
    /// The letter.
    pub letter: DeadLetter,
}

impl DeadLetterEntry {
    fn read(kept: &Kept, subjects: &Subjects) -> Result<Self, DecodeError> {
        let Kept { subject, entry } = kept;
        Ok(Self {
            sequence: entry.sequence,
            time: entry.time,
            generation: subjects.dead_generation(subject).unwrap_or_default().into(),
            traceparent: entry.traceparent.clone(),
            letter: decode_dead_letter(&entry.body)?,
        })
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Those of this shard.
    pub shard: Option<ShardId>,
    /// Those given up for this reason.
    pub reason: Option<DeadReason>,
    /// Those that the stream took at or after this time.
    pub since: Option<Timestamp>,
    /// The newest so many; each has up to a megabyte.
    pub limit: usize,
}

impl Default for DeadLetterFilter {
    fn default() -> Self {
        Self { shard: None, reason: None, since: None, limit: 50 }
    }
}

impl DeadLetterFilter {
    fn lets_through(&self, entry: &DeadLetterEntry) -> bool {
        self.shard.is_none_or(|shard| entry.letter.shard == shard)
            && self.reason.is_none_or(|reason| entry.letter.reason == reason)
    }
}

/// What a look at the dead letters found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeadLetters {
    /// The newest, newest first.
    pub entries: Vec<DeadLetterEntry>,
    /// Older ones beyond the limit.
    pub omitted: u64,
    /// Messages that are no dead letters that this build reads, whatever was asked for.
    pub unreadable: u64,
}

impl Archive {
    /// Returns the dead letters that a filter lets through, newest first.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn dead_letters(
        &self,
        filter: DeadLetterFilter,
    ) -> Result<DeadLetters, ArchiveError> {
        let mut newest = VecDeque::new();
        let (mut omitted, mut unreadable) = (0, 0);
        let take = |read: Result<DeadLetterEntry, DecodeError>| match read {
            Ok(entry) if filter.lets_through(&entry) => {
                newest.push_front(entry);
                if newest.len() > filter.limit {
                    newest.pop_back();
                    omitted += 1;
                }
            }
            Ok(_other) => {}
            Err(_unreadable) => unreadable += 1,
        };
        self.scan_dead(filter, take).await?;
        Ok(DeadLetters { entries: newest.into(), omitted, unreadable })
    }

    /// Returns the sequences of the dead letters that a filter lets through, oldest first, its limit
    /// left aside: for whoever wants them all, one by one.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn dead_letter_sequences(
        &self,
        filter: DeadLetterFilter,
    ) -> Result<Vec<u64>, ArchiveError> {
        let mut sequences = Vec::new();
        let take = |read: Result<DeadLetterEntry, DecodeError>| {
            sequences.extend(read.ok().filter(|it| filter.lets_through(it)).map(|it| it.sequence));
        };
        self.scan_dead(filter, take).await?;
        Ok(sequences)
    }

    /// Returns one dead letter; `None` if there is none, or not any more.
    ///
    /// # Errors
    /// [`ArchiveError`]; [`ArchiveError::Unreadable`] if it is not one that this build reads.
    pub async fn dead_letter(
        &self,
        sequence: u64,
    ) -> Result<Option<DeadLetterEntry>, ArchiveError> {
        self.state(Stream::DeadLetters).await?;
        let stream = self.subjects.stream(Stream::DeadLetters);
        let kept = self.fabric.kept_at(&stream, sequence).await;
        let kept = kept.map_err(|why| self.failed(Stream::DeadLetters, why))?;
        let read = kept.map(|kept| DeadLetterEntry::read(&kept, &self.subjects)).transpose();
        read.map_err(|why| ArchiveError::Unreadable { stream, sequence, why })
    }

    /// Returns how many dead letters there are.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn dead_letter_count(&self) -> Result<u64, ArchiveError> {
        Ok(self.state(Stream::DeadLetters).await?.messages)
    }

    async fn scan_dead(
        &self,
        filter: DeadLetterFilter,
        mut take: impl FnMut(Result<DeadLetterEntry, DecodeError>),
    ) -> Result<(), ArchiveError> {
        let subject = self.subjects.dead_letters(filter.shard);
        self.scan(Stream::DeadLetters, subject, |kept| {
            if filter.since.is_none_or(|since| kept.entry.time >= since) {
                take(DeadLetterEntry::read(&kept, &self.subjects));
            }
        })
        .await
    }
}
