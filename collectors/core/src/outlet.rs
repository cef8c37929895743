//! Where a collector puts what it saw, and the account it keeps.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::mpsc;

use crate::{CollectorError, Unbound};

/// Why something read was not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The bytes make no sense.
    Malformed,
    /// Longer than the collector's limit.
    TooLarge,
    /// Overwritten at the source before it was read (a ring buffer, a rotated file).
    Overrun,
    /// Understood, and of no interest: not a loss.
    Ignored,
    /// The pipeline was full and the collector cannot wait.
    Full,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::TooLarge, Self::Overrun, Self::Ignored, Self::Full];

    /// Returns the metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Overrun => "overrun",
            Self::Ignored => "ignored",
            Self::Full => "full",
        }
    }
}

/// What a collector has read, passed on and dropped.
///
/// # Invariant
/// `read = emitted + dropped`, where one record may be emitted as several events or several
/// records as one; the collector counts records.
#[derive(Debug, Default)]
pub struct Account {
    read: AtomicU64,
    emitted: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

/// An account at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Records read.
    pub read: u64,
    /// Records that became, or joined, an event.
    pub emitted: u64,
    /// Records dropped, in the order of [`DropReason::ALL`].
    pub dropped: [u64; DropReason::ALL.len()],
}

impl Account {
    /// Counts records read.
    pub fn read(&self, records: u64) {
        self.read.fetch_add(records, Relaxed);
    }

    /// Counts records that became, or joined, an event.
    pub fn emitted(&self, records: u64) {
        self.emitted.fetch_add(records, Relaxed);
    }

    /// Counts records dropped.
    pub fn dropped(&self, reason: DropReason, records: u64) {
        let known = DropReason::ALL.iter().zip(&self.dropped).find(|(known, _)| **known == reason);
        if let Some((_, count)) = known {
            count.fetch_add(records, Relaxed);
        }
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Accounts {
        let mut dropped = [0; DropReason::ALL.len()];
        for (figure, count) in dropped.iter_mut().zip(&self.dropped) {
            *figure = count.load(Relaxed);
        }
        Accounts { read: self.read.load(Relaxed), emitted: self.emitted.load(Relaxed), dropped }
    }
}

impl Accounts {
    /// Returns the records dropped for `reason`.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        DropReason::ALL
            .iter()
            .zip(self.dropped)
            .find_map(|(known, count)| (*known == reason).then_some(count))
            .unwrap_or_default()
    }

    /// Returns the records that should have been passed on and were not.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped.iter().sum::<u64>() - self.dropped(DropReason::Ignored)
    }
}

/// Where a collector puts what it saw.
#[derive(Debug, Clone)]
pub struct Outlet {
    events: mpsc::Sender<Unbound>,
    account: Arc<Account>,
}

impl Outlet {
    /// Makes an outlet that feeds `events`.
    #[must_use]
    pub fn new(events: mpsc::Sender<Unbound>, account: Arc<Account>) -> Self {
        Self { events, account }
    }

    /// Returns the collector's account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Passes an event on, waiting while the pipeline is full. Counts nothing: the collector knows
    /// how many records it was.
    ///
    /// # Errors
    /// [`CollectorError::Closed`] once nobody takes events any more.
    /// # Cancel safety
    /// Dropping the future drops the event.
    pub async fn emit(&self, event: Unbound) -> Result<(), CollectorError> {
        self.events.send(event).await.map_err(|_closed| CollectorError::Closed)
    }

    /// As [`Outlet::emit`], for a thread that may block.
    ///
    /// # Errors
    /// [`CollectorError::Closed`] once nobody takes events any more.
    pub fn emit_blocking(&self, event: Unbound) -> Result<(), CollectorError> {
        self.events.blocking_send(event).map_err(|_closed| CollectorError::Closed)
    }
}
