//! Every bound of the engine, by name.

use std::time::Duration;

/// Bounds and times of traces and incidents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long an event stays in its trace unless a finding cites it. Also the idle time after
    /// which a trace is mature and closes.
    pub window: Duration,
    /// How long a change stays in its trace, and its trace with it: a mounted ConfigMap reaches its
    /// containers after a minute, and a rollout that stalls says so after ten.
    pub change_window: Duration,
    /// Changes a trace keeps beyond its window; the oldest go first.
    pub trace_changes_max: usize,
    /// Events a window must hold, unless one of them is critical or the kernel decides alone.
    pub min_events: usize,
    /// How long a high-impact event waits for its witnesses before the trace is evaluated.
    pub settle: Duration,
    /// Events a trace may hold. Everyday hum may fill three quarters; the rest is for signs.
    pub trace_events_max: usize,
    /// Bytes a trace may hold.
    pub trace_bytes_max: usize,
    /// How long a trace may live; a busy inferred trace then begins its next incarnation.
    pub trace_age_max: Duration,
    /// Ids of events that left the window, kept to know repeats.
    pub trace_past_ids_max: usize,
    /// Traces a node may hold.
    pub node_traces_max: usize,
    /// Events waiting for a trace's actor.
    pub mailbox_events_max: usize,
    /// How old an event may be on arrival, and how long a closed trace is remembered.
    pub late_horizon: Duration,
    /// Closed traces a node remembers; the oldest are forgotten first.
    pub node_closed_max: usize,
    /// How often a trace may panic before it is quarantined.
    pub tries_max: u32,
    /// Wait before the second try; doubled before each further one.
    pub backoff: Duration,
    /// How long an incident must be quiet to be resolved.
    pub quiet: Duration,
    /// Amendments of one story are at least this far apart; what comes between is told together.
    pub amend_every: Duration,
    /// How long a resolved incident can be named as predecessor.
    pub successor_horizon: Duration,
    /// Findings an incident keeps in full; further ones are only counted.
    pub incident_findings_max: usize,
    /// Incidents open at one time; the quietest is resolved to make room.
    pub incidents_open_max: usize,
    /// Links of a story's chain.
    pub chain_links_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let window = Duration::from_secs(30);
        Self {
            window,
            change_window: Duration::from_secs(600),
            trace_changes_max: 16,
            min_events: 2,
            // Kernel log, counters and journal speak of one kill within some 100 ms.
            settle: Duration::from_millis(500),
            trace_events_max: 4_096,
            trace_bytes_max: 4 << 20,
            trace_age_max: Duration::from_secs(3_600),
            trace_past_ids_max: 4_096,
            node_traces_max: 2_000_000,
            mailbox_events_max: 1_024,
            late_horizon: Duration::from_secs(600),
            node_closed_max: 1_000_000,
            tries_max: 3,
            backoff: Duration::from_millis(100),
            quiet: window * 2,
            amend_every: Duration::from_secs(5),
            successor_horizon: Duration::from_secs(3_600),
            incident_findings_max: 256,
            incidents_open_max: 1_024,
            chain_links_max: 24,
        }
    }
}

impl Limits {
    /// Returns the limits of one of `shards` equal parts of a node.
    #[must_use]
    pub fn for_shard(&self, shards: u16) -> Self {
        let part = |whole: usize| whole.div_ceil(usize::from(shards.max(1)));
        Self {
            node_traces_max: part(self.node_traces_max),
            node_closed_max: part(self.node_closed_max),
            ..self.clone()
        }
    }
}
