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
use tapio_telemetry::{SpanName, Telemetry};
use tapio_wire::{decode_root, encode_root};
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use crate::{
    BrainCut, Order, OwnerFigures, OwnerLimits, Sabotage,
    draft::{Draft, Intake, Setting},
    load::gather,
    trails::Trails,
};

/// Chunks and parcels on their way at one time.
const IN_FLIGHT: usize = 16;

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
        let unnamed = VecDeque::new();
        Self { fabric, setting, limits, figures, telemetry, root, revision, believed_at, unnamed }
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
        let before: Vec<ChunkName> = self.root.chunks().collect();
        let Draft { root, chunks } = draft;
        let trail = root.outbox.iter().find_map(|posted| posted.traceparent.clone());
        let span = self.telemetry.start(SpanName::Commit, trail.as_deref());
        self.put(chunks).await?;
        if self.limits.breaks(Sabotage::PublishFirst) {
            self.deliver_all(&root.outbox).await?;
        }
        self.swap(root).await?;
        span.end();
        self.figures.commits.add(1);
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.figures.commit_nanos.add(nanos);
        self.sweep(before).await;
        self.deliver().await
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
        loop {
            match self.fabric.read_root(self.setting.shard).await {
                Ok(Some(read)) => {
                    let is_ours = decode_root(&read.bytes).is_ok_and(|it| it.is_same_write(next));
                    let revision = Some(read.revision);
                    return Ok(match is_ours {
                        true => Look::Ours(read.revision),
                        // Older than what is known to be there: a leader that is none any more.
                        false if revision < self.revision => {
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

    /// Removes chunks that no root has named for a while. One that cannot be removed stays: it
    /// costs room and nothing else.
    async fn sweep(&mut self, before: Vec<ChunkName>) {
        let now = Instant::now();
        let named: BTreeSet<_> = self.root.chunks().collect();
        let unnamed = before.into_iter().filter(|name| !named.contains(name));
        self.unnamed.extend(unnamed.map(|name| (now, name)));
        for _ in 0..IN_FLIGHT {
            let grace = self.limits.chunk_grace;
            let is_due = |(since, _): &(Instant, ChunkName)| now.duration_since(*since) >= grace;
            let Some((_, name)) = self.unnamed.front().copied().filter(is_due) else { return };
            self.unnamed.pop_front();
            if !named.contains(&name) {
                self.fabric.remove_chunk(name).await.unwrap_or_default();
            }
        }
    }

    /// Delivers what lies in the outbox, commit after commit, and clears it. The root loses it with
    /// the next write.
    pub(crate) async fn deliver(&mut self) -> Result<(), Dropped> {
        let posted = std::mem::take(&mut self.root.outbox);
        let mut rest = posted.as_slice();
        while let Some(first) = rest.first() {
            let (of_commit, later) =
                rest.split_at(rest.partition_point(|it| it.commit == first.commit));
            self.assure().await?;
            if let Err(dropped) = self.deliver_all(of_commit).await {
                self.root.outbox = posted;
                return Err(dropped);
            }
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
        let body = gather(&posted.content, &*self.fabric, &self.limits).await;
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
        let span = self.telemetry.start(name, posted.traceparent.as_deref());
        let traceparent = span.traceparent().or_else(|| posted.traceparent.clone());
        let parcel = Parcel { address: posted.address, body, traceparent };
        loop {
            match self.fabric.deliver(&parcel).await {
                Ok(Receipt::Delivered) => self.figures.delivered.add(1),
                Ok(Receipt::WasThere) => self.figures.were_there.add(1),
                Ok(Receipt::Differs) => {
                    self.figures.differing.add(1);
                    error!(address = ?posted.address, "two owners have told different things");
                }
                Err(FabricError::Refused(why)) => return Err(Dropped::Refused(why)),
                Err(FabricError::Unreachable(_) | FabricError::Full(_)) => {
                    sleep(self.limits.retry).await;
                    continue;
                }
            }
            span.end();
            return Ok(());
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
