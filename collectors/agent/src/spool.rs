//! The spool: a bounded log on disk that bridges a bus that does not take events.
//!
//! One log for each level. A level's batches come back in the order they were appended, with the
//! ids they had; what is acknowledged is deleted, a file at a time. See the crate's documentation
//! for what survives what.

mod ledger;
mod record;
mod segment;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use tapio_model::{Level, ShardId};
use tapio_wire::{EventBatch, encode_batch};

use self::{
    ledger::{Ledger, LevelState, State},
    record::Label,
    segment::{Record, Segments},
};

/// How much the spool holds, and how it is told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Bytes of all files. 256 MiB are some 600,000 events, a minute of 10,000 a second.
    pub bytes_max: u64,
    /// Bytes of a file, which is what is dropped at once when the spool is full.
    pub segment_bytes_max: u64,
    /// Whether an event is durable against power loss before it is acknowledged. Without it, what
    /// was appended since [`Spool::sync`] may be lost with the power; a killed process loses
    /// nothing either way.
    pub sync_each: bool,
    /// What tells this run of the spool from others: the time of its start, for instance.
    pub seed: u64,
}

impl SpoolLimits {
    /// Holds `bytes_max` in files of a sixty-fourth each, 64 KiB to 4 MiB.
    #[must_use]
    pub fn of(bytes_max: u64, seed: u64) -> Self {
        let segment_bytes_max = (bytes_max / 64).clamp(64 << 10, 4 << 20);
        Self { bytes_max, segment_bytes_max, sync_each: false, seed }
    }
}

/// Why the spool did not take a batch, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Everything it holds is more urgent. The events are counted as dropped.
    #[error("the spool is full of more urgent events")]
    Full,
    /// A batch larger than the spool, or of more events than a record counts.
    #[error("a batch of {events} events and {bytes} bytes is too large for the spool")]
    TooLarge {
        /// Its events.
        events: usize,
        /// Its bytes.
        bytes: usize,
    },
    /// The disk does not do what it was asked to.
    #[error("{what} {}: {source}", path.display())]
    Disk {
        /// What was asked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process uses it.
    #[error("the spool {} is in use by another process", .0.display())]
    InUse(PathBuf),
}

/// Where a record ends: what is acknowledged, everything before it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    segment: u64,
    end: u64,
}

/// A batch as it comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where it ends.
    pub position: Position,
    /// The batch.
    pub batch: EventBatch,
}

/// What became of a batch that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The output has it.
    Taken,
    /// The output will never take it; its events are lost and counted.
    Refused,
}

/// What the spool took, gave back, holds and lost; arrays by level, lowest first.
///
/// # Invariant
/// What was held at the start and `appended_events` is what is `held_events`, `acknowledged_events`
/// and the growth of what was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpoolStats {
    /// Bytes on disk.
    pub held_bytes: u64,
    /// Files on disk.
    pub held_segments: usize,
    /// Events held.
    pub held_events: [u64; 3],
    /// Events appended by this process.
    pub appended_events: u64,
    /// Events acknowledged in this process.
    pub acknowledged_events: u64,
    /// Events dropped because the spool was full, since it was made.
    pub dropped_events: [u64; 3],
    /// Events in records that could not be read, since it was made.
    pub damaged_events: [u64; 3],
    /// Events the output would never take, since it was made.
    pub refused_events: [u64; 3],
    /// Lost events that stories were told of, since it was made.
    pub told_events: [u64; 3],
    /// Records whose end was missing when the spool was opened; their writer was never answered.
    pub torn_records: u64,
    /// Records found damaged when the spool was opened.
    pub damaged_records: u64,
    /// Writes, deletions and syncs that the disk refused.
    pub disk_failures: u64,
}

/// A bounded log on disk.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limits: SpoolLimits,
    ledger: Ledger,
    state: State,
    levels: [Segments; 3],
    stats: SpoolStats,
    /// Held while the spool is used; the kernel gives it back when the process dies.
    _lock: File,
}

impl Spool {
    /// Opens the spool in `folder`, which is made if it is not there, and reads what a former
    /// process left in it.
    ///
    /// # Errors
    /// [`SpoolError::InUse`], or [`SpoolError::Disk`].
    pub fn open(folder: &Path, limits: SpoolLimits) -> Result<Self, SpoolError> {
        let failed = |what| disk(what, folder);
        fs::create_dir_all(folder).map_err(failed("make the folder"))?;
        let lock = File::create(folder.join("lock")).map_err(failed("lock"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(SpoolError::InUse(folder.to_owned()));
        }
        let (ledger, mut state) = Ledger::open(&folder.join("ledger"), limits.seed)
            .map_err(failed("open the ledger of"))?;
        let open = |level: Level, state: &mut LevelState| {
            Segments::open(folder, level, limits.seed, state).map_err(failed("read"))
        };
        let [normal, high, critical] = &mut state.levels;
        let levels = [
            open(Level::Normal, normal)?,
            open(Level::High, high)?,
            open(Level::Critical, critical)?,
        ];
        let stats = SpoolStats {
            torn_records: levels.iter().map(|level| level.torn_records).sum(),
            damaged_records: levels.iter().map(|level| level.damaged_records).sum(),
            ..SpoolStats::default()
        };
        let folder = folder.to_owned();
        let mut spool = Self { folder, limits, ledger, state, levels, stats, _lock: lock };
        spool.note();
        Ok(spool)
    }

    /// Appends a batch. When there is no room, the oldest files of the lowest level go first, up to
    /// the batch's own level.
    ///
    /// # Errors
    /// [`SpoolError::Full`], counted as dropped; [`SpoolError::TooLarge`] and [`SpoolError::Disk`],
    /// after which the caller still has the events and nothing of them is on disk.
    pub fn append(&mut self, batch: &EventBatch) -> Result<(), SpoolError> {
        let payload = encode_batch(batch);
        let (events, bytes) = (batch.events.len(), payload.len());
        let size = u64::try_from(bytes + record::HEADER_BYTES).unwrap_or(u64::MAX);
        let fits = size <= self.limits.bytes_max && bytes <= tapio_wire::MESSAGE_BYTES_MAX;
        let Some(count) = u16::try_from(events).ok().filter(|_| fits) else {
            return Err(SpoolError::TooLarge { events, bytes });
        };
        while self.bytes() + size > self.limits.bytes_max {
            if !self.drop_lowest(batch.level) {
                self.drop_events(batch.level, u64::from(count));
                return Err(SpoolError::Full);
            }
        }
        let label = Label { events: count, shard: batch.shard };
        let record = Record { label, payload: &payload };
        loop {
            match self.write(batch.level, &record) {
                Ok(()) => break,
                // The disk is fuller than we were told it would be: what is ours makes room.
                Err(why)
                    if why.kind() == io::ErrorKind::StorageFull
                        && self.drop_lowest(batch.level) => {}
                Err(why) => return Err(disk("append to", &self.folder)(why)),
            }
        }
        self.stats.appended_events += u64::from(count);
        Ok(())
    }

    fn write(&mut self, level: Level, record: &Record<'_>) -> io::Result<()> {
        let bytes_max = self.limits.segment_bytes_max;
        let (segments, state) = self.level(level);
        let written = segments.append(state, bytes_max, record);
        if matches!(written, Ok(false)) && !self.limits.sync_each {
            return Ok(());
        }
        if written.is_err() {
            self.stats.disk_failures += 1;
        } else {
            self.note();
        }
        let is_new = written?;
        if self.limits.sync_each {
            let (segments, _) = self.level(level);
            segments.sync()?;
            if is_new {
                File::open(&self.folder)?.sync_all()?;
            }
        }
        Ok(())
    }

    /// Drops the oldest file of the lowest level that has one, up to `level`; false if none has.
    fn drop_lowest(&mut self, level: Level) -> bool {
        for lowest in Level::ALL.into_iter().filter(|lowest| *lowest <= level) {
            let (segments, state) = self.level(lowest);
            let Some(victim) = segments.choose_victim() else { continue };
            // Counted before it is gone: a process killed in between finds it again by its number,
            // and deletes it without counting.
            state.dropped += victim.events;
            state.dropping = victim.number;
            self.note();
            let removed = victim.remove();
            self.count(&removed);
            let (_, state) = self.level(lowest);
            if removed.is_ok() {
                state.dropping = 0;
            }
            return true;
        }
        false
    }

    /// Counts events that nothing could hold.
    pub fn drop_events(&mut self, level: Level, events: u64) {
        self.level(level).1.dropped += events;
        self.note();
    }

    /// Returns the next batches of a level, at most `records_max` and of one file; none if there
    /// are none. Until they are acknowledged or [`Spool::release`]d, their file is not dropped.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub fn peek(&mut self, level: Level, records_max: usize) -> Result<Vec<Entry>, SpoolError> {
        let (segments, state) = self.level(level);
        let before = *state;
        let entries = segments.peek(state, records_max);
        if *state != before {
            self.note();
        }
        self.count(&entries);
        entries.map_err(disk("read", &self.folder))
    }

    /// Says what became of the oldest batch that came back; in order, one after the other.
    pub fn acknowledge(&mut self, level: Level, entry: &Entry, fate: Fate) {
        let events = u64::try_from(entry.batch.events.len()).unwrap_or(u64::MAX);
        match fate {
            Fate::Taken => self.stats.acknowledged_events += events,
            Fate::Refused => self.level(level).1.refused += events,
        }
        let (segments, state) = self.level(level);
        let passed = segments.pass(state, entry);
        self.count(&passed);
        self.note();
    }

    /// Lets go of the batches that came back and were not acknowledged.
    pub fn release(&mut self, level: Level) {
        self.level(level).0.pinned = None;
    }

    /// Makes everything durable against power loss.
    pub fn sync(&mut self) {
        let synced = self.levels.iter().try_for_each(Segments::sync);
        let synced = synced.and_then(|()| self.ledger.sync());
        self.count(&synced);
    }

    /// Says whether anything of the shard and level is held.
    #[must_use]
    pub fn holds(&self, level: Level, shard: ShardId) -> bool {
        self.levels.get(index(level)).is_some_and(|segments| segments.holds(shard))
    }

    /// Says whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(|segments| segments.count() == 0)
    }

    /// Returns what tells this spool from others, for as long as its folder is there.
    #[must_use]
    pub const fn identity(&self) -> u64 {
        self.state.identity
    }

    /// Returns the lost events of a level that no story was told of, and all that were lost.
    #[must_use]
    pub fn untold(&self, level: Level) -> (u64, u64) {
        let state = self.state.levels.get(index(level)).copied().unwrap_or_default();
        (state.lost().saturating_sub(state.told), state.lost())
    }

    /// Says that stories were told of the first `lost` events that a level lost.
    pub fn told(&mut self, level: Level, lost: u64) {
        let state = self.level(level).1;
        state.told = state.told.max(lost);
        self.note();
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn stats(&self) -> SpoolStats {
        let [normal, high, critical] = &self.levels;
        let each = |field: fn(&LevelState) -> u64| self.state.levels.each_ref().map(field);
        SpoolStats {
            held_bytes: self.bytes(),
            held_segments: self.levels.iter().map(Segments::count).sum(),
            held_events: [normal.events(), high.events(), critical.events()],
            dropped_events: each(|state| state.dropped),
            damaged_events: each(|state| state.damaged),
            refused_events: each(|state| state.refused),
            told_events: each(|state| state.told),
            ..self.stats
        }
    }

    fn bytes(&self) -> u64 {
        self.levels.iter().map(Segments::bytes).sum()
    }

    fn level(&mut self, level: Level) -> (&mut Segments, &mut LevelState) {
        let [normal, high, critical] = &mut self.levels;
        let [of_normal, of_high, of_critical] = &mut self.state.levels;
        match level {
            Level::Normal => (normal, of_normal),
            Level::High => (high, of_high),
            Level::Critical => (critical, of_critical),
        }
    }

    /// Writes the ledger; a disk that refuses costs duplicates after a restart, not events.
    fn note(&mut self) {
        let written = self.ledger.write(&mut self.state);
        self.count(&written);
    }

    fn count<T>(&mut self, answer: &io::Result<T>) {
        if answer.is_err() {
            self.stats.disk_failures += 1;
        }
    }
}

const fn index(level: Level) -> usize {
    match level {
        Level::Normal => 0,
        Level::High => 1,
        Level::Critical => 2,
    }
}

fn disk(what: &'static str, path: &Path) -> impl Fn(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Disk { what, path: path.clone(), source }
}

#[cfg(test)]
mod tests;
