//! From a root back to a shard: its parts are fetched and the log is read again.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tapio_bus::{Fabric, FabricError, LogEntry, LogReader};
use tapio_engine::{Restored, Rules, Shard};
use tapio_model::{IncidentState, Mark, ResolvedState};
use tapio_shard::{Content, PieceKey, Root};
use tapio_wire::{
    decode_batch, decode_graves, decode_incident_state, decode_resolved, decode_trace_state,
};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::{OwnerFigures, OwnerLimits, Sabotage};

/// The parts of a shard's state, read.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) shard: Restored,
    pub(crate) incidents: Vec<IncidentState>,
    pub(crate) resolved: Vec<ResolvedState>,
    /// Parts that a root named and nobody has: lost, counted and said.
    pub(crate) missing: u64,
}

/// Fetches everything a root names.
pub(crate) async fn fetch(root: &Root, fabric: &dyn Fabric, limits: &OwnerLimits) -> Parts {
    let mut parts = Parts::default();
    parts.shard.low = root.low;
    for (key, content) in &root.pieces {
        let bytes = match gather(content, fabric, limits).await {
            Some(bytes) => bytes,
            None => {
                parts.missing += 1;
                error!(?key, "a part of the shard's state is gone");
                continue;
            }
        };
        let read = match key {
            PieceKey::Graves(_) => {
                decode_graves(&bytes).map(|graves| parts.shard.graves.extend(graves))
            }
            PieceKey::Trace(_) => {
                decode_trace_state(&bytes).map(|state| parts.shard.traces.push(state))
            }
            PieceKey::Incident(_) => {
                decode_incident_state(&bytes).map(|state| parts.incidents.push(state))
            }
            PieceKey::Resolved => decode_resolved(&bytes).map(|state| parts.resolved = state),
        };
        if let Err(why) = read {
            parts.missing += 1;
            error!(?key, %why, "a part of the shard's state cannot be read");
        }
    }
    if limits.breaks(Sabotage::SkipGraves) {
        parts.shard.graves.clear();
    }
    parts
}

/// Fetches the bytes of one part; `None` if a chunk of it is gone.
pub(crate) async fn gather(
    content: &Content,
    fabric: &dyn Fabric,
    limits: &OwnerLimits,
) -> Option<Bytes> {
    match content {
        Content::Inline(bytes) => Some(Bytes::copy_from_slice(bytes)),
        Content::Chunks { names, .. } => {
            let mut whole = BytesMut::new();
            for name in names {
                whole.extend_from_slice(&fetch_chunk(*name, fabric, limits).await?);
            }
            Some(whole.freeze())
        }
    }
}

async fn fetch_chunk(
    name: tapio_model::ChunkName,
    fabric: &dyn Fabric,
    limits: &OwnerLimits,
) -> Option<Bytes> {
    loop {
        match fabric.get_chunk(name).await {
            Ok(chunk) => return chunk,
            Err(FabricError::Refused(why)) => {
                error!(%name, why, "a chunk may not be read");
                return None;
            }
            Err(FabricError::Unreachable(_) | FabricError::Full(_)) => sleep(limits.retry).await,
        }
    }
}

/// A shard as it was at the root's last entry, and what was read beyond that.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) shard: Shard,
    /// The first entry beyond the root, if reading came that far.
    pub(crate) next: Option<LogEntry>,
}

/// Reads the log again, from what the live traces need up to what the root had taken in, with the
/// same times at the same places, and tells nothing of it: it was told the first time.
pub(crate) async fn replay(
    root: &Root,
    restored: Restored,
    rules: Arc<Rules>,
    events: &mut dyn LogReader,
    (limits, figures): (&OwnerLimits, &OwnerFigures),
) -> Result<Replayed, FabricError> {
    let mut shard = Shard::restore(rules, restored);
    let is_timeless = limits.breaks(Sabotage::IgnoreTicks);
    let ticks = root.ticks.iter().filter(|_| !is_timeless);
    let mut ticks = ticks.copied().peekable();
    let mut next = None;
    let is_needed = root.low.sequence <= root.processed && events.first_kept() <= root.processed;
    while is_needed {
        let Ok(entry) = timeout(limits.replay_wait, events.next()).await else {
            warn!("the log does not reach as far as the root says");
            break;
        };
        let entry = entry?;
        pass(&mut shard, &mut ticks, |tick| tick.sequence < entry.sequence);
        if entry.sequence > root.processed {
            next = Some(entry);
            break;
        }
        figures.replayed_entries.add(1);
        let now = shard.now().max(entry.time);
        // What cannot be read became a dead letter the first time.
        if let Ok(decoded) = decode_batch(&entry.body) {
            shard.take_in(entry.sequence, now, &decoded.batch.events);
        }
        if entry.sequence == root.processed {
            break;
        }
    }
    pass(&mut shard, &mut ticks, |_| true);
    let open = shard.end_replay(root.now, root.ledger);
    if open != root.ledger.open {
        figures.replay_mismatches.add(1);
        error!(open, expected = root.ledger.open, "reading the log again led elsewhere");
    }
    Ok(Replayed { shard, next })
}

/// Lets the times pass that passed between two entries.
fn pass(
    shard: &mut Shard,
    ticks: &mut std::iter::Peekable<impl Iterator<Item = Mark>>,
    is_before: impl Fn(&Mark) -> bool,
) {
    while let Some(tick) = ticks.next_if(&is_before) {
        shard.advance(tick.now);
    }
}
