//! What a bus did, in figures.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What a bus did.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct BusFigures {
            $($(#[$doc])* pub $name: u64,)+
        }

        /// The running figures behind [`BusFigures`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)+
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> BusFigures {
                BusFigures { $($name: self.$name.load(Relaxed),)+ }
            }
        }
    };
}

figures! {
    /// Envelopes that lie in the stream for sure.
    published_envelopes,
    /// Events in them.
    published_events,
    /// Bytes of them.
    published_bytes,
    /// Attempts to publish after the first.
    retries,
    /// Attempts that the full stream refused.
    refused_full,
    /// Envelopes that lay there already: an acknowledgement was lost, or a collector read twice.
    repeated_envelopes,
    /// Times a reader missed messages of its consumer, and went back for them.
    gaps,
    /// Consumers made again after one was lost.
    recreated_consumers,
    /// Envelopes read that are none.
    malformed_envelopes,
    /// Events in good envelopes that could not be read.
    malformed_events,
    /// Deletions and purges that the server did not do at once.
    failed_deletions,
}

/// Adds to a figure.
pub(super) fn add(figure: &AtomicU64, count: usize) {
    figure.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
}
