//! What the collector shows of itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{LeadState, Marks, Rule, WatchState, staleness::Sign, version::Version};

/// The collector at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KubeStatus {
    /// Whether we are the one that watches.
    pub lead: LeadState,
    /// Each watch, by resource and namespace.
    pub resources: BTreeMap<String, ResourceStatus>,
}

/// A watch at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceStatus {
    /// What it is at.
    pub state: WatchState,
    /// How long ago the server last gave a sign; `None` if it never did.
    pub heard_ago: Option<Duration>,
    /// Whether the alarm is on.
    pub is_stale: bool,
    /// Events told.
    pub told: u64,
    /// Objects remembered.
    pub known: usize,
    /// Listings of everything.
    pub listings: u64,
    /// Failures so far.
    pub failures: u64,
    /// The last trouble, until it is over.
    pub trouble: Option<String>,
    /// The rule that is missing.
    pub refused: Option<Rule>,
    /// Longest time in which a change would not have been seen when it happened.
    pub blind_max: Duration,
}

/// Where watches write and everybody reads.
#[derive(Debug)]
pub struct StatusBoard {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    lead: LeadState,
    rows: BTreeMap<String, Row>,
}

/// A watch as it is kept.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) status: ResourceStatus,
    pub(crate) heard: Option<Instant>,
    pub(crate) begun: Option<Instant>,
    /// Since when a change would not be seen.
    pub(crate) blind_since: Option<Instant>,
    pub(crate) told_to: Option<Version>,
    /// Whether the first listing is done, or will not come.
    pub(crate) is_settled: bool,
}

impl Default for StatusBoard {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl StatusBoard {
    /// Returns the figures of this moment.
    #[must_use]
    pub fn snapshot(&self) -> KubeStatus {
        let now = Instant::now();
        self.with(|inner| KubeStatus {
            lead: inner.lead.clone(),
            resources: inner
                .rows
                .iter()
                .map(|(name, row)| {
                    let heard_ago = row.heard.map(|heard| now.saturating_duration_since(heard));
                    (name.clone(), ResourceStatus { heard_ago, ..row.status.clone() })
                })
                .collect(),
        })
    }

    /// Waits until `is_so`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_until(&self, is_so: impl Fn(&KubeStatus) -> bool + Send + Sync) {
        let mut changed = self.changed.subscribe();
        while !is_so(&self.snapshot()) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn write<T>(&self, name: &str, change: impl FnOnce(&mut Row) -> T) -> T {
        let result = self.with(|inner| change(inner.rows.entry(name.to_owned()).or_default()));
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        result
    }

    pub(crate) fn write_lead(&self, lead: LeadState) {
        self.with(|inner| inner.lead = lead);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until the watches of these names have listed once, or will not.
    pub(crate) async fn wait_settled(&self, names: &[String]) {
        let mut changed = self.changed.subscribe();
        let is_settled = |inner: &mut Inner| {
            let of = |name: &String| inner.rows.get(name).is_none_or(|row| row.is_settled);
            names.iter().all(of)
        };
        while !self.with(is_settled) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns what staleness is judged by.
    pub(crate) fn signs(&self) -> Vec<Sign> {
        self.with(|inner| {
            let of = |(name, row): (&String, &Row)| Sign {
                name: name.clone(),
                last: row.heard.or(row.begun),
                is_heard: row.heard.is_some(),
                state: row.status.state.clone(),
            };
            inner.rows.iter().map(of).collect()
        })
    }

    /// Returns how far everything has been told.
    pub(crate) fn marks(&self, cluster: &str) -> Marks {
        self.with(|inner| {
            let of = |(name, row): (&String, &Row)| {
                row.told_to.as_ref().map(|version| (name.clone(), version.to_string()))
            };
            Marks {
                cluster: cluster.to_owned(),
                versions: inner.rows.iter().filter_map(of).collect(),
            }
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Row {
    /// Takes note of a sign of life.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Takes note that changes are not seen, since when at least.
    pub(crate) fn go_blind(&mut self, since: Instant) {
        self.blind_since.get_or_insert(since);
    }

    /// Takes note that changes are seen again, those of the meantime included.
    pub(crate) fn see(&mut self, now: Instant) {
        if let Some(since) = self.blind_since.take() {
            let blind = now.saturating_duration_since(since);
            self.status.blind_max = self.status.blind_max.max(blind);
        }
    }
}
