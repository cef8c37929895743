//! How often what goes wrong between a node and the middle.

use std::time::Duration;

/// How often what goes wrong, in thousandths of calls, and how long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weather {
    /// Calls that never arrive.
    pub(super) lost_requests: u32,
    /// Calls that arrive long after the caller has given up, and are done then.
    pub(super) late_requests: u32,
    /// Calls that are done and whose answer never arrives.
    pub(super) lost_answers: u32,
    /// Reads of roots that answer with an older value. A leader does not, and nothing may depend on
    /// it: a claim by an old root fails its compare-and-set.
    pub(super) stale_reads: u32,
    /// Reads of a young chunk that a lagging replica answers with nothing.
    pub(super) lagging_chunks: u32,
    /// Deliveries that are done twice, as by a client library that tries again by itself.
    pub(super) doubled: u32,
    /// The longest a call takes each way.
    pub(super) delay_max: Duration,
    /// The longest a chunk takes beyond that.
    pub(super) chunk_delay_max: Duration,
}

impl Weather {
    /// Nothing goes wrong.
    pub(super) const FAIR: Self = Self {
        lost_requests: 0,
        late_requests: 0,
        lost_answers: 0,
        stale_reads: 0,
        lagging_chunks: 0,
        doubled: 0,
        delay_max: Duration::from_millis(3),
        chunk_delay_max: Duration::ZERO,
    };
    /// Everything goes wrong now and then.
    pub(super) const FOUL: Self = Self {
        lost_requests: 20,
        late_requests: 10,
        lost_answers: 20,
        stale_reads: 50,
        lagging_chunks: 50,
        doubled: 20,
        delay_max: Duration::from_millis(40),
        chunk_delay_max: Duration::ZERO,
    };
    /// Chunks are slow, and replicas of them lag behind.
    pub(super) const SLOW_CHUNKS: Self =
        Self { lagging_chunks: 200, chunk_delay_max: Duration::from_millis(250), ..Self::FAIR };
}
