//! Every bound of an owner, by name, and what an owner counts.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tapio_telemetry::Histogram;

use crate::IntakeWatch;

/// Bounds and times of an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerLimits {
    /// How often a commit is written if something changed.
    pub commit_every: Duration,
    /// How often is looked whether there are news that a person waits for: they are committed at
    /// once.
    pub look_every: Duration,
    /// Events taken in since the last commit at which the next one is due.
    pub commit_events: u64,
    /// Events taken in since the last commit at which no more are taken in: what a new owner would
    /// have to read again stays bounded while the middle is slow.
    pub uncommitted_events_max: u64,
    /// How long a trace lives in the log alone; then it is written down.
    pub write_after: Duration,
    /// Traces that are written down at one time. Beyond it the log is read further back.
    pub written_traces_max: usize,
    /// How long the log must have been silent before the clock moves the shard's time.
    pub idle: Duration,
    /// How long the next entry may take while the log is read again.
    pub replay_wait: Duration,
    /// Wait before something that was unreachable is tried again.
    pub retry: Duration,
    /// How long an owner believes in its last write before it looks whether it still is the owner.
    pub belief: Duration,
    /// How long a root older than the last known one is held for the word of a leader that is none
    /// any more. After that the store has lost writes, and the shard is claimed anew.
    pub stale_max: Duration,
    /// How long a parcel may be refused before it is given up.
    pub refused_max: Duration,
    /// How long a chunk stays after no root names it: somebody may be reading by an older root.
    pub chunk_grace: Duration,
    /// What the owner leaves out on purpose: only the controls of the chaos suite do.
    pub sabotage: Option<Sabotage>,
}

impl Default for OwnerLimits {
    fn default() -> Self {
        Self {
            commit_every: Duration::from_millis(250),
            look_every: Duration::from_millis(25),
            commit_events: 20_000,
            uncommitted_events_max: 200_000,
            write_after: Duration::from_secs(90),
            written_traces_max: 2_000,
            idle: Duration::from_millis(100),
            replay_wait: Duration::from_secs(10),
            retry: Duration::from_millis(100),
            belief: Duration::from_millis(750),
            stale_max: Duration::from_secs(10),
            refused_max: Duration::from_secs(30),
            chunk_grace: Duration::from_secs(60),
            sabotage: None,
        }
    }
}

/// A rule that an owner breaks on purpose, so that the chaos suite can show that it would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sabotage {
    /// Roots are written whoever wrote last, and shards claimed whoever holds them.
    NoFence,
    /// What a commit decides is delivered before its root is written.
    PublishFirst,
    /// Which findings were taken in is not remembered.
    ForgetReceived,
    /// Closed traces are not remembered by the next owner.
    SkipGraves,
    /// The times that passed between entries do not pass when the log is read again.
    IgnoreTicks,
}

impl Sabotage {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::NoFence,
        Self::PublishFirst,
        Self::ForgetReceived,
        Self::SkipGraves,
        Self::IgnoreTicks,
    ];

    /// Returns the name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoFence => "no_fence",
            Self::PublishFirst => "publish_first",
            Self::ForgetReceived => "forget_received",
            Self::SkipGraves => "skip_graves",
            Self::IgnoreTicks => "ignore_ticks",
        }
    }
}

impl OwnerLimits {
    /// Says whether the owner breaks this rule on purpose.
    #[must_use]
    pub fn breaks(&self, rule: Sabotage) -> bool {
        self.sabotage == Some(rule)
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Returns it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the owners of a node count.
#[derive(Debug, Default)]
pub struct OwnerFigures {
    /// Shards claimed.
    pub claims: Count,
    /// Of those, claimed from an owner that had not let go.
    pub takeovers: Count,
    /// Shards let go as ordered, for another node.
    pub handoffs: Count,
    /// Roots written.
    pub commits: Count,
    /// Writes that another owner's was ahead of: the shard was dropped.
    pub lost_commits: Count,
    /// Writes of which was not known at first whether they happened.
    pub unsure_commits: Count,
    /// Nanoseconds from cut to written root, all commits together.
    pub commit_nanos: Count,
    /// Where each of these times goes, if somebody has set it.
    pub commit_duration: OnceLock<Histogram>,
    /// Parcels that arrived.
    pub delivered: Count,
    /// Of those, tellings of stories.
    pub tellings: Count,
    /// Of those, messages of findings.
    pub findings_sent: Count,
    /// Of those, dead letters.
    pub letters_sent: Count,
    /// Parcels that lay there already.
    pub were_there: Count,
    /// Parcels in whose place other bytes lie: an alarm.
    pub differing: Count,
    /// Parcels that were given up because the middle refused them for too long.
    pub refused_parcels: Count,
    /// Messages of findings that were taken in.
    pub findings_heard: Count,
    /// Messages of findings that had been taken in before.
    pub findings_skipped: Count,
    /// Entries of the log taken in.
    pub entries: Count,
    /// Events in them.
    pub events: Count,
    /// Entries read again.
    pub replayed_entries: Count,
    /// Times reading again led elsewhere than the first time.
    pub replay_mismatches: Count,
    /// Parts of a state that were gone.
    pub missing_parts: Count,
    /// Events or batches that could not be read.
    pub dead_letters: Count,
    /// Gaps of the log that nobody has read.
    pub unread_gaps: Count,
    /// Questions asked of other shards.
    pub questions: Count,
    /// Who wants to know when the traces of a batch have it.
    pub intake: IntakeWatch,
}
