//! Keeps stories, the events they cite and dead letters, in one file.

mod prune;
mod schema;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OptionalExtension as _, Params, params};
use tapio_model::{Event, Story, StoryId, TraceId};
use tapio_wire::{decode_event, decode_story, encode_event, encode_story};

pub use schema::StoreError;

/// How much a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Stories; the oldest resolved go first, with their events.
    pub stories_max: u64,
    /// Events; those that no story cites go first.
    pub events_max: u64,
    /// Events of traces that could not be processed; the oldest go first.
    pub dead_letters_max: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self { stories_max: 1_000, events_max: 200_000, dead_letters_max: 10_000 }
    }
}

/// What a store holds, and what it let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct StoreStats {
    /// Stories held.
    pub stories: u64,
    /// Events held.
    pub events: u64,
    /// Dead letters held.
    pub dead_letters: u64,
    /// Stories removed at the limit.
    pub pruned_stories: u64,
    /// Events removed at the limit, or with the last story that cited them.
    pub pruned_events: u64,
    /// Dead letters removed at the limit.
    pub pruned_dead_letters: u64,
    /// Times a row was read that this build cannot decode; it was skipped.
    pub undecodable: u64,
    /// Tellings that the database did not take.
    pub failed: u64,
}

/// Something to keep.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// Events that stories cite.
    Evidence(Vec<Arc<Event>>),
    /// A telling.
    Story(Arc<Story>),
    /// Events of a trace that was given up.
    Dead {
        /// The trace.
        trace: TraceId,
        /// Its events.
        events: Vec<Arc<Event>>,
    },
}

/// Why a trace ended among the dead letters.
const PANICKED: &str = "the trace panicked too often";

/// What a person meant by a part of a story's id.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// One story fits.
    Found(Box<Story>),
    /// Several fit: the newest of them, newest first.
    Ambiguous(Vec<StoryId>),
    /// None fits.
    Unknown,
}

/// Candidates that an ambiguous look-up names.
const CANDIDATES_MAX: u32 = 10;

/// The stories of a node and the events they cite. Calls block: a few hundred microseconds each.
#[derive(Debug)]
pub struct StoryStore {
    limits: StoreLimits,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// `stories` and `dead_letters` are counted when asked for.
    stats: StoreStats,
}

impl StoryStore {
    /// Opens the store at `path`, making it and its directory if need be.
    ///
    /// # Errors
    /// [`StoreError`], which says what to do about it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::new(schema::open(path)?, StoreLimits::default())
    }

    /// Makes a store that ends with the process.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::new(schema::in_memory()?, StoreLimits::default())
    }

    /// Sets how much is kept, from the next telling on.
    #[must_use]
    pub const fn with_limits(mut self, limits: StoreLimits) -> Self {
        self.limits = limits;
        self
    }

    fn new(connection: Connection, limits: StoreLimits) -> Result<Self, StoreError> {
        let events = prune::count(&connection, "SELECT COUNT(*) FROM events")?;
        let stats = StoreStats { events, ..StoreStats::default() };
        Ok(Self { limits, inner: Mutex::new(Inner { connection, stats }) })
    }

    /// Keeps events.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was kept.
    pub fn keep_events(&self, events: &[Arc<Event>]) -> Result<(), StoreError> {
        self.keep(&[Record::Evidence(events.to_vec())])
    }

    /// Keeps a telling, unless a later one of the same story is kept already.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was kept.
    pub fn keep_story(&self, story: &Story) -> Result<(), StoreError> {
        self.keep(&[Record::Story(Arc::new(story.clone()))])
    }

    /// Keeps the events of a trace that panicked too often, with the reason.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nothing was kept.
    pub fn keep_dead(&self, trace: TraceId, events: &[Arc<Event>]) -> Result<(), StoreError> {
        self.keep(&[Record::Dead { trace, events: events.to_vec() }])
    }

    /// Keeps all records or none.
    pub(crate) fn keep(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let Inner { connection, stats } = &mut *inner;
        let kept = keep_all(connection, *stats, records, &self.limits);
        match kept {
            Ok(kept) => *stats = kept,
            Err(_) => stats.failed += records.len() as u64,
        }
        kept.map(drop).map_err(StoreError::from)
    }

    /// Returns stories in their latest telling, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn stories(&self, limit: u32) -> Result<Vec<Story>, StoreError> {
        self.read_stories("SELECT body FROM stories ORDER BY id DESC LIMIT ?1", [limit])
    }

    /// Returns stories that can still change, the newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn open_stories(&self, limit: u32) -> Result<Vec<Story>, StoreError> {
        let query = "SELECT body FROM stories WHERE state IN ('opened', 'amended')
                     ORDER BY id DESC LIMIT ?1";
        self.read_stories(query, [limit])
    }

    /// Finds a story by its id, or by what only its id begins or ends with, in any case.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn story(&self, part: &str) -> Result<Lookup, StoreError> {
        let part = part.trim().to_ascii_uppercase();
        if part.is_empty() {
            return Ok(Lookup::Unknown);
        }
        let inner = self.lock();
        // Ids of one day begin alike, so people copy the end: either side will do.
        let mut query = inner.connection.prepare(
            "SELECT id FROM stories
             WHERE substr(id, 1, length(?1)) = ?1 OR substr(id, -length(?1)) = ?1
             ORDER BY id DESC LIMIT ?2",
        )?;
        let ids: Vec<String> = query
            .query_map(params![part, CANDIDATES_MAX], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        drop(query);
        drop(inner);
        let [id] = ids.as_slice() else {
            let candidates: Vec<_> = ids.iter().filter_map(|id| id.parse().ok()).collect();
            let is_unknown = candidates.is_empty();
            return Ok(if is_unknown { Lookup::Unknown } else { Lookup::Ambiguous(candidates) });
        };
        let found = self.read_stories("SELECT body FROM stories WHERE id = ?1", [id])?;
        Ok(found.into_iter().next().map_or(Lookup::Unknown, |story| Lookup::Found(Box::new(story))))
    }

    /// Returns the events that a story cites and that are still kept, in order of time.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn events_of(&self, story: &Story) -> Result<Vec<Event>, StoreError> {
        let mut inner = self.lock();
        let Inner { connection, stats } = &mut *inner;
        let mut query = connection.prepare("SELECT body FROM events WHERE id = ?1")?;
        let mut events = Vec::new();
        for id in &story.event_ids {
            let body: Option<Vec<u8>> =
                query.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
            match body.map(|body| decode_event(&body)) {
                Some(Ok(event)) => events.push(event),
                Some(Err(_)) => stats.undecodable += 1,
                None => {}
            }
        }
        events.sort_by_key(Event::order);
        events.dedup_by_key(|event| event.id);
        Ok(events)
    }

    /// Returns what the store holds, and what it let go.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn stats(&self) -> Result<StoreStats, StoreError> {
        let inner = self.lock();
        let count = |query| prune::count(&inner.connection, query);
        Ok(StoreStats {
            stories: count("SELECT COUNT(*) FROM stories")?,
            dead_letters: count("SELECT COUNT(*) FROM dead_letters")?,
            ..inner.stats
        })
    }

    fn read_stories(&self, query: &str, params: impl Params) -> Result<Vec<Story>, StoreError> {
        let mut inner = self.lock();
        let Inner { connection, stats } = &mut *inner;
        let mut query = connection.prepare(query)?;
        let mut stories = Vec::new();
        for body in query.query_map(params, |row| row.get::<_, Vec<u8>>(0))? {
            match decode_story(&body?) {
                Ok(story) => stories.push(story),
                Err(_) => stats.undecodable += 1,
            }
        }
        Ok(stories)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked with the lock left a transaction that rolled itself back.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps all records or none, and returns the figures as they are then.
fn keep_all(
    connection: &mut Connection,
    mut stats: StoreStats,
    records: &[Record],
    limits: &StoreLimits,
) -> rusqlite::Result<StoreStats> {
    let transaction = connection.transaction()?;
    for record in records {
        match record {
            Record::Evidence(events) => stats.events += keep_events(&transaction, events)?,
            Record::Story(story) => keep_story(&transaction, story)?,
            Record::Dead { trace, events } => keep_dead(&transaction, *trace, events)?,
        }
    }
    prune::prune(&transaction, limits, &mut stats)?;
    transaction.commit()?;
    Ok(stats)
}

fn keep_events(connection: &Connection, events: &[Arc<Event>]) -> rusqlite::Result<u64> {
    let mut insert = connection
        .prepare("INSERT INTO events (id, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    events.iter().try_fold(0, |kept, event| {
        let rows = insert.execute(params![event.id.as_bytes(), encode_event(event)])?;
        Ok(kept + rows as u64)
    })
}

fn keep_story(connection: &Connection, story: &Story) -> rusqlite::Result<()> {
    let id = story.id.to_string();
    // By time and not by number alone: after a restart an incident is told from the start again.
    let rows = connection.execute(
        "INSERT INTO stories (id, telling, state, opened_at, told_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET telling = ?2, state = ?3, told_at = ?5, body = ?6
         WHERE (?5, ?2) >= (stories.told_at, stories.telling)",
        params![
            id,
            story.telling,
            story.state.name(),
            story.opened_at.as_nanos(),
            story.told_at.as_nanos(),
            encode_story(story)
        ],
    )?;
    if rows == 0 {
        return Ok(());
    }
    connection.execute("DELETE FROM story_events WHERE story = ?1", [&id])?;
    let mut cite = connection.prepare(
        "INSERT INTO story_events (event, story) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for event in &story.event_ids {
        cite.execute(params![event.as_bytes(), id])?;
    }
    Ok(())
}

fn keep_dead(
    connection: &Connection,
    trace: TraceId,
    events: &[Arc<Event>],
) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare("INSERT INTO dead_letters (trace, reason, body) VALUES (?1, ?2, ?3)")?;
    for event in events {
        insert.execute(params![trace.as_bytes(), PANICKED, encode_event(event)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
