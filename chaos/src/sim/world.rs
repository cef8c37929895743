//! The simulated middle: logs, roots, chunks and addresses in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tapio_bus::{Receipt, Revision};
use tapio_model::{Address, ChunkName, ShardId, Text, Timestamp};
use tapio_shard::Root;
use tokio::{sync::Notify, time::Instant};

use super::{step::Coverage, weather::Weather};

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Log {
    Events,
    Findings,
}

/// What somebody may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Beats,
    Log(Log, ShardId),
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) time: Timestamp,
    pub(super) body: Bytes,
}

/// Why an entry is no longer in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It was too old.
    Old,
    /// A node said that nobody needs it.
    Trimmed,
}

/// An entry that aged out.
#[derive(Debug, Clone)]
pub(super) struct Aged {
    pub(super) shard: ShardId,
    pub(super) entry: Stored,
    pub(super) why: Why,
    /// Whether a live trace needed it, or would have.
    pub(super) is_needed: bool,
    /// Whether nobody had taken it in.
    pub(super) is_unread: bool,
}

/// One write of a root.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) revision: Revision,
    pub(super) bytes: Bytes,
    pub(super) root: Arc<Root>,
    pub(super) at: Duration,
}

/// Something that was delivered and lies there.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) at: Duration,
    pub(super) address: Address,
}

/// Findings that a brain was given: they count once the commit after them is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) shard: ShardId,
    pub(super) from: ShardId,
    pub(super) number: u64,
    /// Epoch of the owner, and the commit that would say so.
    pub(super) write: (u64, u64),
}

#[derive(Debug)]
pub(super) struct Middle {
    pub(super) rng: StdRng,
    pub(super) weather: Weather,
    /// Nobody gets an answer until then.
    pub(super) outage_until: Option<Instant>,
    /// How far the log's clock is behind, since its leaders changed.
    pub(super) clock_behind: Duration,
    last: BTreeMap<Log, u64>,
    pub(super) logs: BTreeMap<(Log, ShardId), Vec<Stored>>,
    /// The first entry of the event log that has not aged out.
    pub(super) first_kept: u64,
    /// Whether the event log is short of room.
    pub(super) is_log_short: bool,
    /// What has aged out.
    pub(super) aged: Vec<Aged>,
    pub(super) roots: BTreeMap<ShardId, Vec<Written>>,
    revisions: u64,
    pub(super) chunks: BTreeMap<ChunkName, (Duration, Bytes)>,
    pub(super) places: BTreeMap<Address, Bytes>,
    /// In order.
    pub(super) arrivals: Vec<Arrival>,
    /// Places where somebody wanted to put other bytes than lie there.
    pub(super) alarms: Vec<Address>,
    pub(super) beats: Vec<(Text, Revision, Bytes)>,
    pub(super) heard: Vec<Heard>,
    /// Messages of findings in the log: from, to, number.
    pub(super) handed_over: BTreeSet<(ShardId, ShardId, u64)>,
    notices: BTreeMap<Topic, Arc<Notify>>,
    /// How often an owner panicked.
    pub(super) panics: u64,
    pub(super) coverage: Coverage,
}

/// The simulated middle, shared by all nodes of a world.
#[derive(Debug)]
pub(super) struct World {
    middle: Mutex<Middle>,
    began: Instant,
}

/// Simulated time begins here: 2026-01-01.
const BEGIN: Timestamp = Timestamp::from_secs(1_767_225_600);

impl World {
    /// Makes a world in which everything follows from `seed`.
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let middle = Middle {
            rng: StdRng::seed_from_u64(seed),
            weather: Weather::FAIR,
            outage_until: None,
            clock_behind: Duration::ZERO,
            last: BTreeMap::new(),
            logs: BTreeMap::new(),
            first_kept: 1,
            is_log_short: false,
            aged: Vec::new(),
            roots: BTreeMap::new(),
            revisions: 0,
            chunks: BTreeMap::new(),
            places: BTreeMap::new(),
            arrivals: Vec::new(),
            alarms: Vec::new(),
            beats: Vec::new(),
            heard: Vec::new(),
            handed_over: BTreeSet::new(),
            notices: BTreeMap::new(),
            panics: 0,
            coverage: Coverage::default(),
        };
        Arc::new(Self { middle: Mutex::new(middle), began: Instant::now() })
    }

    pub(super) fn middle(&self) -> MutexGuard<'_, Middle> {
        self.middle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long the world has existed.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the time by the log's clock, which steps back where its leader changes.
    pub(super) fn now(&self) -> Timestamp {
        let behind = self.middle().clock_behind;
        BEGIN.after(self.age()).before(behind)
    }

    pub(super) fn weather(&self) -> Weather {
        self.middle().weather
    }

    /// Says whether nobody gets an answer now.
    pub(super) fn is_out(&self) -> bool {
        self.middle().outage_until.is_some_and(|until| until > Instant::now())
    }

    /// Appends an entry to a shard's log and returns its sequence.
    pub(super) fn append(&self, log: Log, shard: ShardId, body: Bytes) -> u64 {
        let time = self.now();
        let mut middle = self.middle();
        let last = middle.last.entry(log).or_default();
        *last += 1;
        let sequence = *last;
        middle.logs.entry((log, shard)).or_default().push(Stored { sequence, time, body });
        middle.notice(Topic::Log(log, shard)).notify_waiters();
        sequence
    }

    /// Returns the first entry of a shard's log from `from` on, and how many stand behind it.
    pub(super) fn entry(&self, log: Log, shard: ShardId, from: u64) -> Option<(Stored, u64)> {
        let middle = self.middle();
        let entries = middle.logs.get(&(log, shard))?;
        let at = entries.partition_point(|entry| entry.sequence < from);
        let entry = entries.get(at)?.clone();
        Some((entry, (entries.len() - at - 1) as u64))
    }

    /// Throws dice: true in `thousandths` of cases.
    pub(super) fn chance(&self, thousandths: u32) -> bool {
        thousandths > 0 && self.middle().rng.random_range(0..1_000) < thousandths
    }

    /// Throws dice: how long something takes.
    pub(super) fn delay(&self, max: Duration) -> Duration {
        let micros = u64::try_from(max.as_micros()).unwrap_or_default();
        Duration::from_micros(self.middle().rng.random_range(0..=micros))
    }

    /// Puts something where it belongs, unless something lies there.
    pub(super) fn deliver(&self, address: Address, body: &Bytes) -> Receipt {
        if let Address::Findings { from, to, commit } = address {
            self.middle().handed_over.insert((from, to, commit));
            self.append(Log::Findings, to, body.clone());
            return Receipt::Delivered;
        }
        let at = self.age();
        let mut middle = self.middle();
        match middle.places.get(&address) {
            Some(there) if there == body => Receipt::WasThere,
            Some(_) => {
                middle.alarms.push(address);
                Receipt::Differs
            }
            None => {
                middle.places.insert(address, body.clone());
                middle.arrivals.push(Arrival { at, address });
                Receipt::Delivered
            }
        }
    }
}

impl Middle {
    pub(super) const fn revise(&mut self) -> Revision {
        self.revisions += 1;
        Revision(self.revisions)
    }

    /// Returns what tells of news.
    pub(super) fn notice(&mut self, topic: Topic) -> Arc<Notify> {
        Arc::clone(self.notices.entry(topic).or_default())
    }

    /// Returns a shard's root as it is.
    pub(super) fn root(&self, shard: ShardId) -> Option<&Written> {
        self.roots.get(&shard)?.last()
    }

    /// Returns the last sequence of a log.
    pub(super) fn last(&self, log: Log) -> u64 {
        self.last.get(&log).copied().unwrap_or_default()
    }

    /// Lets the entries of the event log age out that stand before `first`.
    pub(super) fn age_out(&mut self, first: u64, why: Why) {
        self.first_kept = self.first_kept.max(first);
        for ((log, shard), entries) in &mut self.logs {
            if *log == Log::Findings {
                continue;
            }
            let last = self.roots.get(shard).and_then(|writes| writes.last());
            let (low, processed) =
                last.map_or((0, 0), |written| (written.root.low.sequence, written.root.processed));
            let gone = entries.partition_point(|entry| entry.sequence < first);
            self.aged.extend(entries.drain(..gone).map(|entry| Aged {
                shard: *shard,
                why,
                is_needed: entry.sequence >= low,
                is_unread: entry.sequence > processed,
                entry,
            }));
        }
    }
}
