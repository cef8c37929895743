//! Writing the root, and delivering what it decided.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tapio_bus::{FabricError, Parcel, Receipt, Revision, SharedFabric, SwapError};
use tapio_model::{Address, ChunkName, ShardId};
use tapio_shard::{Posted, Root};
use tapio_telemetry::{OwnSpan, SpanKey, SpanName, SpanValue, Telemetry};
use tapio_wire::{decode_root, encode_root};
use tokio::time::{Instant, sleep};
use tracing::{error, field::display, info, warn};

use crate::{
    BrainCut, Order, OwnerFigures, OwnerLimits, Sabotage,
    draft::{Draft, Intake, Setting},
    load::gather,
    trails::Trails,
};

/// Chunks and parcels on their way at one time.
const IN_FLIGHT: usize = 16;

/// Chunks that one commit removes.
const SWEPT_MAX: usize = 512;

/// Why an owner stops owning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// Another owner has written the root.
    #[error("another owner has written the root")]
    Lost,
    /// The middle refuses for good.
    #[error("refused: {0}")]
    Refused(String),
}

/// The owner's hand on the root: whoever holds it writes.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) fabric: SharedFabric,
    pub(crate) setting: Setting,
    pub(crate) limits: OwnerLimits,
    pub(crate) figures: Arc<OwnerFigures>,
    pub(crate) telemetry: Telemetry,
    pub(crate) root: Root,
    pub(crate) revision: Option<Revision>,
    /// When the root was last known to be ours.
    pub(crate) believed_at: Instant,
    /// Chunks of what was delivered: the root that lies there names them still, the next one will not.
    delivered: Vec<ChunkName>,
    /// Chunks that no root of ours names any more, and since when.
    unnamed: VecDeque<(Instant, ChunkName)>,
}

impl Committer {
    pub(crate) fn new(
        fabric: SharedFabric,
        setting: Setting,
        (limits, figures, telemetry): (OwnerLimits, Arc<OwnerFigures>, Telemetry),
        (root, revision): (Root, Option<Revision>),
    ) -> Self {
        let believed_at = Instant::now();
        Self {
            fabric,
            setting,
            limits,
            figures,
            telemetry,
            root,
            revision,
            believed_at,
            delivered: Vec::new(),
            unnamed: VecDeque::new(),
        }
    }

    /// Writes down what the shard became.
    pub(crate) fn draft(
        &self,
        cut: BrainCut,
        intake: Intake,
        (order, trails): (Order, &Trails),
    ) -> Draft {
        let mut draft = Draft::new(self.root.clone(), cut, intake, (&self.setting, trails));
        // Whoever claims it next delivers the outbox too: the same bytes in the same places.
        draft.root.released = order == Order::Release;
        draft
    }

    /// Writes a draft, then delivers what follows from it.
    ///
    /// # Cancel safety
    /// Dropping the future at any point leaves a root that the next owner can go on from.
    pub(crate) async fn commit(&mut self, draft: Draft) -> Result<(), Dropped> {
        let began = Instant::now();
        let before: Vec<ChunkName> = self.named().collect();
        let Draft { root, chunks } = draft;
        let trail = root.outbox.iter().find_map(|posted| posted.traceparent.clone());
        let span = self.telemetry.start(SpanName::Commit, trail.as_deref());
        self.put(chunks).await?;
        if self.limits.breaks(Sabotage::PublishFirst) {
            self.deliver_all(&root.outbox).await?;
        }
        self.swap(root).await?;
        self.delivered.clear();
        span.end();
        self.figures.commits.add(1);
        let took = began.elapsed();
        self.figures.commit_nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        if let Some(histogram) = self.figures.commit_duration.get() {
            histogram.record(took);
        }
        self.unname(before);
        // First what somebody waits for.
        self.deliver().await?;
        self.sweep().await;
        Ok(())
    }

    /// Returns every chunk that the root names as it lies there.
    fn named(&self) -> impl Iterator<Item = ChunkName> {
        self.root.chunks().chain(self.delivered.iter().copied())
    }

    /// Claims the shard, or lets it go: the state stays as it is.
    pub(crate) async fn swap(&mut self, next: Root) -> Result<(), Dropped> {
        let bytes = Bytes::from(encode_root(&next));
        let (shard, mut expect) = (self.setting.shard, self.revision);
        loop {
            let written = self.fabric.swap_root(shard, bytes.clone(), expect).await;
            let looked = match written {
                Ok(revision) => Look::Ours(revision),
                Err(SwapError::Refused(why)) => return Err(Dropped::Refused(why)),
                Err(SwapError::Lost) => self.look(&next).await?,
                Err(SwapError::Unsure(why)) => {
                    self.figures.unsure_commits.add(1);
                    warn!(%shard, why, "not known whether the root was written");
                    sleep(self.limits.retry).await;
                    self.look(&next).await?
                }
            };
            let revision = match looked {
                Look::Ours(revision) => revision,
                Look::Before => continue,
                Look::Theirs(revision) if self.limits.breaks(Sabotage::NoFence) => {
                    expect = revision;
                    continue;
                }
                Look::Theirs(_) => {
                    self.figures.lost_commits.add(1);
                    return Err(Dropped::Lost);
                }
            };
            self.root = next;
            self.revision = Some(revision);
            self.believed_at = Instant::now();
            return Ok(());
        }
    }

    /// Looks whose root it is now, for as long as it takes to know.
    async fn look(&self, next: &Root) -> Result<Look, Dropped> {
        let begun = Instant::now();
        loop {
            match self.fabric.read_root(self.setting.shard).await {
                Ok(Some(read)) => {
                    let is_ours = decode_root(&read.bytes).is_ok_and(|it| it.is_same_write(next));
                    let revision = Some(read.revision);
                    return Ok(match is_ours {
                        true => Look::Ours(read.revision),
                        // Older than what is known to be there: a leader that is none any more. Or, if
                        // that stays so, a store that has lost writes: whoever claims anew finds out.
                        false
                            if revision < self.revision
                                && begun.elapsed() < self.limits.stale_max =>
                        {
                            sleep(self.limits.retry).await;
                            continue;
                        }
                        false if revision == self.revision => Look::Before,
                        false => Look::Theirs(revision),
                    });
                }
                Ok(None) if self.revision.is_none() => return Ok(Look::Before),
                Ok(None) => return Ok(Look::Theirs(None)),
                Err(FabricError::Refused(why)) => return Err(Dropped::Refused(why)),
                Err(FabricError::Unreachable(_) | FabricError::Full(_)) => {
                    sleep(self.limits.retry).await;
                }
            }
        }
    }

    async fn put(&self, chunks: Vec<(ChunkName, Bytes)>) -> Result<(), Dropped> {
        let puts = chunks.into_iter().map(|(name, bytes)| async move {
            loop {
                match self.fabric.put_chunk(name, bytes.clone()).await {
                    Ok(()) => return Ok(()),
                    Err(FabricError::Refused(why)) => return Err(Dropped::Refused(why)),
                    Err(FabricError::Unreachable(_) | FabricError::Full(_)) => {
                        sleep(self.limits.retry).await;
                    }
                }
            }
        });
        let mut puts = stream::iter(puts).buffer_unordered(IN_FLIGHT);
        while let Some(put) = puts.next().await {
            put?;
        }
        Ok(())
    }

    /// Notes which chunks the root does not name any more.
    fn unname(&mut self, before: Vec<ChunkName>) {
        let now = Instant::now();
        let named: BTreeSet<_> = self.named().collect();
        let unnamed = before.into_iter().filter(|name| !named.contains(name));
        self.unnamed.extend(unnamed.map(|name| (now, name)));
    }

    /// Removes chunks that no root has named for a while. One that cannot be removed now is tried
    /// again later.
    async fn sweep(&mut self) {
        let now = Instant::now();
        let grace = self.limits.chunk_grace;
        let is_due = |(since, _): &(Instant, ChunkName)| now.duration_since(*since) >= grace;
        if !self.unnamed.front().is_some_and(is_due) {
            return;
        }
        let named: BTreeSet<_> = self.named().collect();
        let mut due = Vec::new();
        while due.len() < SWEPT_MAX
            && let Some((_, name)) = self.unnamed.pop_front_if(|it| is_due(it))
        {
            if !named.contains(&name) {
                due.push(name);
            }
        }
        let removals = due.into_iter().map(|name| {
            let removed = self.fabric.remove_chunk(name);
            async move { removed.await.err().map(|_| name) }
        });
        let removals = stream::iter(removals).buffer_unordered(IN_FLIGHT);
        let failed: Vec<_> = removals.filter_map(|failed| async move { failed }).collect().await;
        self.unnamed.extend(failed.into_iter().map(|name| (now, name)));
    }

    /// Delivers what lies in the outbox, commit after commit, and clears it. The root loses it with
    /// the next write.
    pub(crate) async fn deliver(&mut self) -> Result<(), Dropped> {
        let posted = std::mem::take(&mut self.root.outbox);
        let delivered = self.deliver_in_turn(&posted).await;
        if delivered.is_err() {
            self.root.outbox = posted;
            return delivered;
        }
        self.delivered.extend(posted.iter().flat_map(|posted| posted.content.chunks()));
        Ok(())
    }

    async fn deliver_in_turn(&mut self, mut rest: &[Posted]) -> Result<(), Dropped> {
        while let Some(first) = rest.first() {
            let (of_commit, later) =
                rest.split_at(rest.partition_point(|it| it.commit == first.commit));
            self.assure().await?;
            self.deliver_all(of_commit).await?;
            rest = later;
        }
        Ok(())
    }

    async fn deliver_all(&self, posted: &[Posted]) -> Result<(), Dropped> {
        // Messages of findings to one shard go one after the other; nothing else has an order.
        let mut lanes: BTreeMap<Lane, Vec<&Posted>> = BTreeMap::new();
        for (at, posted) in posted.iter().enumerate() {
            lanes.entry(Lane::of(posted, at)).or_default().push(posted);
        }
        let deliveries = lanes.into_values().map(|lane| async move {
            for posted in lane {
                self.deliver_one(posted).await?;
            }
            Ok(())
        });
        let mut deliveries = stream::iter(deliveries).buffer_unordered(IN_FLIGHT);
        while let Some(delivered) = deliveries.next().await {
            delivered?;
        }
        Ok(())
    }

    async fn deliver_one(&self, posted: &Posted) -> Result<(), Dropped> {
        let body = gather(&posted.content, &*self.fabric, &self.limits).await?;
        let Some(body) = body else {
            self.figures.missing_parts.add(1);
            error!(address = ?posted.address, "what was to be delivered is gone");
            return Ok(());
        };
        let name = match posted.address {
            Address::Telling { .. } => SpanName::Tell,
            Address::Findings { .. } | Address::DeadLetter { .. } | Address::Audit { .. } => {
                SpanName::Deliver
            }
        };
        let mut span = self.telemetry.start(name, posted.traceparent.as_deref());
        span.set(SpanKey::Shard, u64::from(self.setting.shard.number()));
        if let Address::Telling { story, .. } = posted.address {
            span.set(SpanKey::Story, SpanValue::Shown(&story));
        }
        let traceparent = span.traceparent().or_else(|| posted.traceparent.clone());
        let parcel = Parcel { address: posted.address, body, traceparent };
        let begun = Instant::now();
        loop {
            match self.fabric.deliver(&parcel).await {
                Ok(Receipt::Delivered) => self.arrived(posted.address, &span),
                Ok(Receipt::WasThere) => self.figures.were_there.add(1),
                Ok(Receipt::Differs) => {
                    self.figures.differing.add(1);
                    error!(address = ?posted.address, "two owners have told different things");
                }
                // For a while it may be an operator's slip; after that it is the parcel, and one
                // parcel must not hold a shard up for ever.
                Err(FabricError::Refused(why)) if begun.elapsed() >= self.limits.refused_max => {
                    self.figures.refused_parcels.add(1);
                    error!(address = ?posted.address, why, "a parcel is given up");
                }
                Err(
                    FabricError::Refused(_) | FabricError::Unreachable(_) | FabricError::Full(_),
                ) => {
                    sleep(self.limits.retry).await;
                    continue;
                }
            }
            span.end();
            return Ok(());
        }
    }

    /// Counts a parcel that arrived.
    fn arrived(&self, address: Address, span: &OwnSpan) {
        self.figures.delivered.add(1);
        match address {
            Address::Telling { story, telling, .. } => {
                self.figures.tellings.add(1);
                let trace_id = span.trace_id().map(display);
                info!(shard = %self.setting.shard, %story, telling, trace_id, "told");
            }
            Address::Findings { .. } => self.figures.findings_sent.add(1),
            Address::DeadLetter { .. } => self.figures.letters_sent.add(1),
            Address::Audit { .. } => {}
        }
    }

    /// Makes sure that the root is still ours if that has not been known for a while: a process that
    /// was stopped wakes up believing what was true before.
    async fn assure(&mut self) -> Result<(), Dropped> {
        let is_unfenced = self.limits.breaks(Sabotage::NoFence);
        if is_unfenced || self.believed_at.elapsed() < self.limits.belief {
            return Ok(());
        }
        match self.look(&self.root).await? {
            Look::Ours(_) => {
                self.believed_at = Instant::now();
                Ok(())
            }
            Look::Before | Look::Theirs(_) => {
                self.figures.lost_commits.add(1);
                Err(Dropped::Lost)
            }
        }
    }
}

/// Whose root it is.
enum Look {
    /// The write in question happened.
    Ours(Revision),
    /// It did not; the last write is the one before it.
    Before,
    /// Somebody else has written since.
    Theirs(Option<Revision>),
}

/// What is delivered one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Findings(ShardId),
    Alone(usize),
}

impl Lane {
    const fn of(posted: &Posted, at: usize) -> Self {
        match posted.address {
            Address::Findings { to, .. } => Self::Findings(to),
            Address::Telling { .. } | Address::DeadLetter { .. } | Address::Audit { .. } => {
                Self::Alone(at)
            }
        }
    }
}

#[cfg(test)]
mod tests;
