//! Everything a run leaves behind, for the invariants to judge.
//!
//! All times are counted from the start of the run, by a clock that never jumps: virtual in the
//! simulated world, the machine's monotonic clock in the real one.

mod stories;
mod takeover;

use std::{collections::BTreeMap, time::Duration};

use tapio_model::{Audit, DeadLetter, EventId, ShardId, Telling, Text};
use tapio_shard::{NodeId, Root};

use crate::{fault::FaultKind, load::Expected};

pub use self::stories::{Told, ToldStories};
pub use self::takeover::{Recovery, Takeover};

/// How long after a fault has ended its traces may still show: the election of a stream's leader
/// alone takes up to 9 s.
const AFTERMATH: Duration = Duration::from_secs(20);

/// What became of sending an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// When it was first sent.
    pub at: Duration,
    /// When the log said that it has it; `None` if it never did, and may have it all the same.
    pub acked: Option<Duration>,
    /// Where in the log it stands, where that is known.
    pub sequence: Option<u64>,
    /// Its shard.
    pub shard: ShardId,
    /// How often it was sent.
    pub copies: u32,
}

/// A telling, as readers of stories got it.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardTelling {
    /// When it was first seen.
    pub at: Duration,
    /// The shard that told it.
    pub shard: ShardId,
    /// The telling.
    pub telling: Telling,
}

/// A shard's root at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSeen {
    /// When it was seen.
    pub at: Duration,
    /// The shard.
    pub shard: ShardId,
    /// Which write of the key.
    pub revision: u64,
    /// Which ownership.
    pub epoch: u64,
    /// The owner.
    pub owner: Option<NodeId>,
    /// Which write by the owners' own count.
    pub commit: u64,
    /// Whether the owner has let go.
    pub is_released: bool,
    /// The last log entry taken in.
    pub processed: u64,
}

impl RootSeen {
    /// Makes it of a root.
    #[must_use]
    pub fn of(root: &Root, shard: ShardId, revision: u64, at: Duration) -> Self {
        Self {
            at,
            shard,
            revision,
            epoch: root.epoch,
            owner: root.owner.clone(),
            commit: root.commit,
            is_released: root.released,
            processed: root.processed,
        }
    }
}

/// A fault that was injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultSeen {
    /// When it began.
    pub at: Duration,
    /// When it was taken back or repaired; `None` if never.
    pub ended: Option<Duration>,
    /// Which kind.
    pub kind: FaultKind,
    /// What was hit: nodes or servers.
    pub targets: Vec<Text>,
}

/// How a node left when it was told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainSeen {
    /// The node.
    pub node: Text,
    /// When it was told.
    pub at: Duration,
    /// How long it took until it had ended; `None` if it had to be killed.
    pub took: Option<Duration>,
    /// Whether it ended well: with exit code 0.
    pub is_clean: bool,
}

/// A node that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// When it was seen.
    pub at: Duration,
    /// The node.
    pub node: Text,
    /// The end of its log.
    pub log_tail: String,
}

/// A question to the mesh, and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySeen {
    /// When it was asked.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// How many shards had to be asked.
    pub shards_needed: usize,
    /// What came.
    pub answer: QueryAnswer,
}

/// What came of a question to the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryAnswer {
    /// An answer, and how many shards it names.
    Answered {
        /// Whether it says that it is complete.
        is_complete: bool,
        /// Shards whose owners answered.
        answered: usize,
        /// Shards known from their roots only.
        stale: usize,
        /// Shards not known at all.
        missing: usize,
    },
    /// A refusal with a reason.
    Refused(Text),
    /// Nothing came: nobody listens, or not in time.
    Nothing,
}

/// A node found other bytes where it was to publish: see [`Receipt::Differs`](tapio_bus::Receipt).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// When it was seen.
    pub at: Duration,
    /// Who met it.
    pub node: Text,
    /// How often.
    pub count: u64,
}

/// How much memory a node held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemorySample {
    /// When.
    pub at: Duration,
    /// Which node.
    pub node: Text,
    /// The resident set.
    pub bytes: u64,
}

/// What a run must keep within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From a node's death to the claim of its shards, for runs in which the middle has no fault.
    pub takeover_max: Duration,
    /// From SIGTERM to the end of the process.
    pub drain_max: Duration,
    /// From the servers' return to a root of every shard.
    pub recovery_max: Duration,
    /// From acknowledgement to a root that says the event was taken in, where it is bounded.
    pub late_max: Option<Duration>,
    /// Beyond its own deadline, how late an answer may come.
    pub answer_max: Duration,
    /// The resident set of a node.
    pub memory_bytes_max: u64,
    /// How long a story stays open without news: parts of an incident that reach the log further
    /// apart are two incidents to the mesh.
    pub quiet: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // The lease of 1.5 s and a second.
            takeover_max: Duration::from_millis(2_500),
            drain_max: Duration::from_secs(5),
            recovery_max: Duration::from_secs(15),
            late_max: None,
            answer_max: Duration::from_millis(2_000),
            memory_bytes_max: 1 << 30,
            quiet: Duration::from_secs(16),
        }
    }
}

/// Everything a run leaves behind.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The right answer.
    pub expected: Expected,
    /// What was sent, by event.
    pub sent: BTreeMap<EventId, Sending>,
    /// The tellings, in the order of the stream.
    pub tellings: Vec<HeardTelling>,
    /// What became of which event.
    pub audits: Vec<Audit>,
    /// What could not be processed.
    pub dead_letters: Vec<DeadLetter>,
    /// The roots, in the order of their writes.
    pub roots: Vec<RootSeen>,
    /// The faults.
    pub faults: Vec<FaultSeen>,
    /// Nodes that were told to leave.
    pub drains: Vec<DrainSeen>,
    /// Nodes that ended by themselves.
    pub crashes: Vec<Crash>,
    /// Questions and answers.
    pub queries: Vec<QuerySeen>,
    /// Alarms of the nodes.
    pub alarms: Vec<Alarm>,
    /// Memory of the nodes.
    pub memory: Vec<MemorySample>,
    /// What the run must keep within.
    pub bounds: Bounds,
    /// Whether the run went on until all was quiet, so that every story has ended.
    pub is_settled: bool,
}

impl Record {
    /// Returns the events that the log has taken for certain.
    pub fn acked(&self) -> impl Iterator<Item = (EventId, &Sending)> {
        let sent = self.sent.iter().map(|(id, sending)| (*id, sending));
        sent.filter(|(_, sending)| sending.acked.is_some())
    }

    /// Says whether a fault, or what follows from one, falls into a time.
    #[must_use]
    pub fn is_disturbed(&self, from: Duration, to: Duration) -> bool {
        self.faults.iter().any(|fault| {
            let end = fault.ended.map_or(Duration::MAX, |ended| ended.saturating_add(AFTERMATH));
            fault.at <= to && end >= from
        })
    }

    /// Returns how long after its acknowledgement each event was taken in for good, as far as roots
    /// were seen that say so. Includes the wait for the commit.
    #[must_use]
    pub fn lateness(&self) -> Vec<Duration> {
        let mut progress: BTreeMap<ShardId, BTreeMap<u64, Duration>> = BTreeMap::new();
        for root in &self.roots {
            let seen = progress.entry(root.shard).or_default();
            seen.entry(root.processed).or_insert(root.at);
        }
        let late = self.acked().filter_map(|(_, sending)| {
            let seen = progress.get(&sending.shard)?;
            let (_, at) = seen.range(sending.sequence?..).next()?;
            Some(at.saturating_sub(sending.acked?))
        });
        late.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_late_until_a_root_says_it_was_taken_in() {
        let shard = ShardId::new(2);
        let root = |at, processed| {
            let root = Root { processed, ..Root::default() };
            RootSeen::of(&root, shard, processed, Duration::from_millis(at))
        };
        let mut record = Record { roots: vec![root(500, 9), root(900, 12)], ..Record::default() };
        for (number, sequence, acked) in [(1, 9, 400), (2, 10, 450), (3, 99, 450)] {
            let acked = Some(Duration::from_millis(acked));
            let at = Duration::ZERO;
            let sending = Sending { at, acked, sequence: Some(sequence), shard, copies: 1 };
            record.sent.insert(EventId::from_bytes([number; 16]), sending);
        }
        assert_eq!(record.lateness(), [100, 450].map(Duration::from_millis));
    }

    #[test]
    fn a_fault_disturbs_until_its_aftermath_is_over() {
        let secs = Duration::from_secs;
        let fault = |ended| FaultSeen {
            at: secs(10),
            ended,
            kind: FaultKind::KillNode,
            targets: Vec::new(),
        };
        let record = |ended| Record { faults: vec![fault(ended)], ..Record::default() };
        let cases = [
            (Some(secs(12)), 0, 9, false),
            (Some(secs(12)), 0, 10, true),
            (Some(secs(12)), 31, 40, true),
            (Some(secs(12)), 33, 40, false),
            (None, 999, 999, true),
        ];
        for (ended, from, to, expected) in cases {
            assert_eq!(record(ended).is_disturbed(secs(from), secs(to)), expected, "{from} {to}");
        }
    }
}
