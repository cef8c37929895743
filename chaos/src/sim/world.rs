//! The simulated middle: logs, roots, chunks and addresses in memory, with everything that can go
//! wrong between a call and its answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tapio_bus::Revision;
use tapio_model::{Address, ChunkName, ShardId, Text, Timestamp};
use tokio::{sync::Notify, time::Instant};

/// How often what goes wrong, in thousandths of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Calls that never arrive.
    pub lost_requests: u32,
    /// Calls that are done and whose answer never arrives.
    pub lost_answers: u32,
    /// Reads of roots that answer with an older value. A leader does not, and nothing may depend on
    /// it: a claim by an old root fails its compare-and-set.
    pub stale_reads: u32,
    /// Deliveries that are done twice, as by a client library that tries again by itself.
    pub doubled: u32,
    /// The longest a call takes each way.
    pub delay_max: Duration,
}

impl Weather {
    /// Nothing goes wrong.
    pub const FAIR: Self = Self {
        lost_requests: 0,
        lost_answers: 0,
        stale_reads: 0,
        doubled: 0,
        delay_max: Duration::from_millis(3),
    };
    /// Everything goes wrong now and then.
    pub const FOUL: Self = Self {
        lost_requests: 20,
        lost_answers: 20,
        stale_reads: 50,
        doubled: 20,
        delay_max: Duration::from_millis(40),
    };
}

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    Events,
    Findings,
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) time: Timestamp,
    pub(super) body: Bytes,
}

/// One write of a root.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) revision: Revision,
    pub(super) bytes: Bytes,
    pub(super) at: Duration,
}

#[derive(Debug)]
pub(super) struct Middle {
    pub(super) rng: StdRng,
    pub(super) weather: Weather,
    /// Nobody gets an answer until then.
    pub(super) outage_until: Option<Instant>,
    sequences: [u64; 2],
    logs: BTreeMap<(usize, ShardId), Vec<Stored>>,
    pub(super) roots: BTreeMap<ShardId, Vec<Written>>,
    revisions: u64,
    pub(super) chunks: BTreeMap<ChunkName, Bytes>,
    pub(super) places: BTreeMap<Address, Bytes>,
    /// Places in order of arrival.
    pub(super) arrivals: Vec<(Duration, Address)>,
    /// Places where somebody wanted to put other bytes than lie there.
    pub(super) alarms: Vec<Address>,
    pub(super) beats: Vec<(Text, Revision, Bytes)>,
}

/// The simulated middle, shared by all nodes of a world.
#[derive(Debug)]
pub struct World {
    middle: Mutex<Middle>,
    pub(super) changed: Notify,
    began: Instant,
}

/// Simulated time begins here: 2026-01-01.
const BEGIN: Timestamp = Timestamp::from_secs(1_767_225_600);

impl World {
    /// Makes a world in which everything follows from `seed`.
    #[must_use]
    pub fn new(seed: u64, weather: Weather) -> Arc<Self> {
        let middle = Middle {
            rng: StdRng::seed_from_u64(seed),
            weather,
            outage_until: None,
            sequences: [0; 2],
            logs: BTreeMap::new(),
            roots: BTreeMap::new(),
            revisions: 0,
            chunks: BTreeMap::new(),
            places: BTreeMap::new(),
            arrivals: Vec::new(),
            alarms: Vec::new(),
            beats: Vec::new(),
        };
        Arc::new(Self { middle: Mutex::new(middle), changed: Notify::new(), began: Instant::now() })
    }

    pub(super) fn middle(&self) -> MutexGuard<'_, Middle> {
        self.middle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long the world has existed.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the world's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        BEGIN.after(self.age())
    }

    /// Appends an entry to a shard's log and returns its sequence.
    pub(super) fn append(&self, log: Log, shard: ShardId, body: Bytes) -> u64 {
        let time = self.now();
        let mut middle = self.middle();
        let log = log as usize;
        let Some(last) = middle.sequences.get_mut(log) else { return 0 };
        *last += 1;
        let sequence = *last;
        middle.logs.entry((log, shard)).or_default().push(Stored { sequence, time, body });
        drop(middle);
        self.changed.notify_waiters();
        sequence
    }

    /// Returns the first entry of a shard's log from `from` on, and how many stand behind it.
    pub(super) fn entry(&self, log: Log, shard: ShardId, from: u64) -> Option<(Stored, u64)> {
        let middle = self.middle();
        let entries = middle.logs.get(&(log as usize, shard))?;
        let at = entries.partition_point(|entry| entry.sequence < from);
        let entry = entries.get(at)?.clone();
        Some((entry, (entries.len() - at - 1) as u64))
    }

    /// Throws dice: true in `thousandths` of cases.
    pub(super) fn chance(&self, thousandths: u32) -> bool {
        thousandths > 0 && self.middle().rng.random_range(0..1_000) < thousandths
    }

    /// Throws dice: how long something takes.
    pub(super) fn delay(&self) -> Duration {
        let mut middle = self.middle();
        let micros = u64::try_from(middle.weather.delay_max.as_micros()).unwrap_or_default();
        Duration::from_micros(middle.rng.random_range(0..=micros))
    }
}

impl Middle {
    pub(super) const fn revise(&mut self) -> Revision {
        self.revisions += 1;
        Revision(self.revisions)
    }
}
