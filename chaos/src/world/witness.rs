//! What a run leaves in the streams, read as it comes.

use std::{
    collections::BTreeSet,
    future::Future,
    mem::take,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tapio_bus::Start;
use tapio_model::{Audit, DeadLetter, EventId, Outcome};
use tapio_nats::{Archive, ArchiveError, Connection, DeadLetterFilter};
use tapio_telemetry::spawn_named;
use tokio::task::JoinHandle;
use tracing::warn;

use super::RunClock;
use crate::record::{HeardTelling, Record, RootSeen};

/// Dead letters that are read at the end of a run: more is a violation whatever they say.
const DEAD_LETTERS_MAX: usize = 1_000;

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) tellings: Vec<HeardTelling>,
    pub(super) audits: Vec<Audit>,
    pub(super) roots: Vec<RootSeen>,
    /// Events that have an outcome.
    settled: BTreeSet<EventId>,
}

/// Reads tellings, audit and roots until it is dropped.
#[derive(Debug)]
pub(super) struct Witness {
    archive: Archive,
    read: Arc<Mutex<Read>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Witness {
    pub(super) async fn attach(
        connection: &Connection,
        clock: RunClock,
    ) -> Result<Self, ArchiveError> {
        let archive = Archive::new(connection.clone());
        let read = Arc::new(Mutex::new(Read::default()));
        let mut tellings = archive.tellings(Start::Earliest).await?;
        let mut audits = archive.audits().await?;
        let mut roots = archive.roots().await?;
        let (heard, audited, rooted) = (Arc::clone(&read), Arc::clone(&read), Arc::clone(&read));
        let tasks = vec![
            follow("chaos tellings", async move {
                loop {
                    let entry = tellings.next().await?;
                    let at = clock.since_start(entry.time);
                    let heard_telling =
                        HeardTelling { at, shard: entry.shard, telling: entry.telling };
                    lock(&heard).tellings.push(heard_telling);
                }
            }),
            follow("chaos audit", async move {
                loop {
                    let audit = audits.next().await?;
                    let mut read = lock(&audited);
                    let first = |(event, outcome): &(EventId, Outcome)| {
                        (*outcome != Outcome::Duplicate).then_some(*event)
                    };
                    read.settled.extend(audit.outcomes.iter().filter_map(first));
                    read.audits.push(audit);
                }
            }),
            follow("chaos roots", async move {
                loop {
                    let entry = roots.next().await?;
                    let at = clock.since_start(entry.time);
                    let seen = RootSeen::of(&entry.root, entry.shard, entry.revision, at);
                    lock(&rooted).roots.push(seen);
                }
            }),
        ];
        Ok(Self { archive, read, tasks })
    }

    /// Returns what could not be processed.
    pub(super) async fn dead_letters(&self) -> Result<Vec<DeadLetter>, ArchiveError> {
        let filter = DeadLetterFilter { limit: DEAD_LETTERS_MAX, ..DeadLetterFilter::default() };
        let letters = self.archive.dead_letters(filter).await?;
        Ok(letters.entries.into_iter().map(|entry| entry.letter).collect())
    }

    /// Returns how many of `events` have no outcome yet.
    pub(super) fn unsettled(&self, events: impl Iterator<Item = EventId>) -> usize {
        let read = lock(&self.read);
        events.filter(|event| !read.settled.contains(event)).count()
    }

    /// Returns how many stories have not ended, and how much was read in all.
    pub(super) fn open_stories(&self) -> (usize, usize) {
        let (tellings, entries) = {
            let read = lock(&self.read);
            (read.tellings.clone(), read.audits.len() + read.tellings.len())
        };
        let record = Record { tellings, ..Record::default() };
        let stories = record.stories();
        let open = stories.by_id.values().filter_map(|told| told.last());
        (open.filter(|story| story.state.is_open()).count(), entries)
    }

    /// Takes what was read.
    pub(super) fn take(&self) -> Read {
        take(&mut *lock(&self.read))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock(read: &Mutex<Read>) -> MutexGuard<'_, Read> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a reader until it can never go on.
fn follow(
    name: &'static str,
    reading: impl Future<Output = Result<(), ArchiveError>> + Send + 'static,
) -> JoinHandle<()> {
    spawn_named(name, async move {
        if let Err(why) = reading.await {
            warn!(%why, name, "the suite no longer reads what the mesh leaves");
        }
    })
}
