//! What the fabric has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use tapio_bus::Receipt;

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What a fabric has done since it was made.
        ///
        /// # Units
        /// Times it happened, each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct FabricFigures {
            $($(#[$doc])* pub $name: u64,)+
        }

        /// [`FabricFigures`] while they grow.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)+
        }

        impl Counters {
            /// Returns the figures of this moment.
            pub(super) fn snapshot(&self) -> FabricFigures {
                FabricFigures { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

figures! {
    /// Roots read.
    roots_read,
    /// Roots written.
    swaps_won,
    /// Roots not written, as somebody else was first.
    swaps_lost,
    /// Roots of which it is not known.
    swaps_unsure,
    /// Roots refused for good.
    swaps_refused,
    /// Chunks kept.
    chunks_put,
    /// Chunks found.
    chunks_got,
    /// Chunks asked for that are not there.
    chunks_missed,
    /// Chunks removed.
    chunks_removed,
    /// Readers opened, of logs and of signs of life.
    readers_opened,
    /// Entries read.
    entries_read,
    /// Consumers made anew because a delivery was missing.
    reopened_gap,
    /// Consumers made anew because they fell silent.
    reopened_silent,
    /// Consumers made anew because the server no longer knew them.
    reopened_gone,
    /// Consumers made anew because their server stops or hands over.
    reopened_moved,
    /// Consumers made anew because the connection was.
    reopened_reconnected,
    /// Tries to make a consumer anew that failed.
    reopenings_failed,
    /// Entries a consumer delivered once more, passed over.
    repeats_dropped,
    /// Messages that no consumer sends, passed over.
    malformed_dropped,
    /// Parcels that lie there now.
    delivered,
    /// Parcels that lay there already.
    delivered_before,
    /// Parcels in whose place others lie.
    delivered_differing,
    /// Signs of life given.
    beats_given,
    /// Signs of life heard.
    beats_heard,
    /// Calls without an answer.
    unreachable,
    /// Calls that failed at once, as there is no connection or the breaker is open.
    failed_fast,
    /// Calls that found the other side full.
    full,
    /// Calls refused for good.
    refused,
}

/// Why a consumer is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A delivery is missing.
    Gap,
    /// Neither a message nor a heartbeat for too long.
    Silent,
    /// The server no longer knows it.
    Gone,
    /// Its server stops or hands over.
    Moved,
    /// The connection is a new one: the server has forgotten what we asked for.
    Reconnected,
}

impl Cause {
    /// Returns the counter of this cause.
    pub(super) const fn counter(self, of: &Counters) -> &AtomicU64 {
        match self {
            Self::Gap => &of.reopened_gap,
            Self::Silent => &of.reopened_silent,
            Self::Gone => &of.reopened_gone,
            Self::Moved => &of.reopened_moved,
            Self::Reconnected => &of.reopened_reconnected,
        }
    }
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Returns the counter of a receipt.
pub(super) const fn counter_of(receipt: Receipt, of: &Counters) -> &AtomicU64 {
    match receipt {
        Receipt::Delivered => &of.delivered,
        Receipt::WasThere => &of.delivered_before,
        Receipt::Differs => &of.delivered_differing,
    }
}
