//! Figures of shards.

use tapio_model::Ledger;

/// Figures of one shard, or of several added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardStats {
    /// The accounts.
    pub ledger: Ledger,
    /// Traces that live.
    pub live_traces: u64,
    /// Of those, traces that have an actor at the moment; the others are passive.
    pub live_actors: u64,
    /// About how many bytes they hold, shared places left out.
    pub live_bytes: u64,
    /// Events that wait in the inboxes of their traces.
    pub waiting_events: u64,
    /// Actors that were rebuilt after a panic.
    pub restarts: u64,
    /// Traces that panicked too often.
    pub quarantined: u64,
    /// Wakes that a mailbox refused; the events were kept.
    pub wakes_refused: u64,
}

impl ShardStats {
    /// Adds another shard's figures.
    pub fn add(&mut self, other: &Self) {
        self.ledger.add(&other.ledger);
        self.live_traces += other.live_traces;
        self.live_actors += other.live_actors;
        self.live_bytes += other.live_bytes;
        self.waiting_events += other.waiting_events;
        self.restarts += other.restarts;
        self.quarantined += other.quarantined;
        self.wakes_refused += other.wakes_refused;
    }
}
