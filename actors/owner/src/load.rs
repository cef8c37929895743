//! From a root back to a shard: its parts are fetched and the log is read again.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use tapio_bus::{Fabric, FabricError, LogEntry, LogReader};
use tapio_engine::{IncidentsRestored, Restored, Rules, Shard};
use tapio_model::{ChunkName, Mark, ShardId};
use tapio_shard::{Content, PieceKey, Root};
use tapio_wire::{
    DecodeError, decode_batch, decode_graves, decode_incident_state, decode_resolved,
    decode_trace_state, decode_waiting,
};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::{Dropped, OwnerFigures, OwnerLimits, Sabotage};

/// Parts that are fetched at one time.
const IN_FLIGHT: usize = 16;

/// Times in a row that a reader just opened may stay silent before the log is held for shorter than
/// the root says.
const SILENCES_MAX: u32 = 3;

/// Times in a row that a chunk may not be there before it is held for lost.
const ABSENCES_MAX: u32 = 10;

/// Which log of a shard.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Log {
    /// Its events.
    Events,
    /// The findings sent to it.
    Findings,
}

/// Where a shard is read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) fabric: &'a dyn Fabric,
    pub(crate) shard: ShardId,
    pub(crate) limits: &'a OwnerLimits,
    pub(crate) figures: &'a OwnerFigures,
}

impl Source<'_> {
    /// Opens a reader, for as long as it takes.
    pub(crate) async fn open(&self, log: Log, from: u64) -> Result<Box<dyn LogReader>, Dropped> {
        loop {
            let opened = match log {
                Log::Events => self.fabric.read_events(self.shard, from).await,
                Log::Findings => self.fabric.read_findings(self.shard, from).await,
            };
            match opened {
                Ok(reader) => return Ok(reader),
                Err(FabricError::Refused(why)) => return Err(Dropped::Refused(why)),
                Err(FabricError::Unreachable(_) | FabricError::Full(_)) => {
                    sleep(self.limits.retry).await;
                }
            }
        }
    }
}

/// The parts of a shard's state, read.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) shard: Restored,
    pub(crate) incidents: IncidentsRestored,
    /// Parts that a root named and nobody has, or nobody can read: lost, counted and said.
    pub(crate) missing: Vec<PieceKey>,
}

/// Fetches everything a root names.
///
/// # Errors
/// [`Dropped::Refused`] if it may not be read: what is not known to be lost is not given up.
pub(crate) async fn fetch(
    root: &Root,
    fabric: &dyn Fabric,
    limits: &OwnerLimits,
) -> Result<Parts, Dropped> {
    let mut parts = Parts::default();
    parts.shard.low = root.low;
    let pieces = root
        .pieces
        .iter()
        .map(|(key, content)| async move { (*key, gather(content, fabric, limits).await) });
    let mut pieces = stream::iter(pieces).buffered(IN_FLIGHT);
    while let Some((key, bytes)) = pieces.next().await {
        let Some(bytes) = bytes? else {
            error!(?key, "a part of the shard's state is gone");
            parts.missing.push(key);
            continue;
        };
        if let Err(why) = parts.read(key, &bytes) {
            error!(?key, %why, "a part of the shard's state cannot be read");
            parts.missing.push(key);
        }
    }
    if limits.breaks(Sabotage::SkipGraves) {
        parts.shard.graves.clear();
    }
    Ok(parts)
}

impl Parts {
    fn read(&mut self, key: PieceKey, bytes: &[u8]) -> Result<(), DecodeError> {
        match key {
            PieceKey::Graves(_) => self.shard.graves.extend(decode_graves(bytes)?),
            PieceKey::Trace(_) => self.shard.traces.push(decode_trace_state(bytes)?),
            PieceKey::Incident(_) => self.incidents.open.push(decode_incident_state(bytes)?),
            PieceKey::Resolved => self.incidents.resolved = decode_resolved(bytes)?,
            PieceKey::Waiting(_) => self.incidents.waiting.push(decode_waiting(bytes)?),
        }
        Ok(())
    }
}

/// Fetches the bytes of one part; `None` if a chunk of it is gone.
///
/// # Errors
/// [`Dropped::Refused`] if it may not be read.
pub(crate) async fn gather(
    content: &Content,
    fabric: &dyn Fabric,
    limits: &OwnerLimits,
) -> Result<Option<Bytes>, Dropped> {
    match content {
        Content::Inline(bytes) => Ok(Some(Bytes::copy_from_slice(bytes))),
        Content::Chunks { names, .. } => {
            let mut whole = BytesMut::new();
            for name in names {
                let Some(chunk) = fetch_chunk(*name, fabric, limits).await? else {
                    return Ok(None);
                };
                whole.extend_from_slice(&chunk);
            }
            Ok(Some(whole.freeze()))
        }
    }
}

async fn fetch_chunk(
    name: ChunkName,
    fabric: &dyn Fabric,
    limits: &OwnerLimits,
) -> Result<Option<Bytes>, Dropped> {
    let mut absences = 0;
    loop {
        match fabric.get_chunk(name).await {
            // A root names it, so it was there: a replica that lags behind may not have it yet.
            Ok(None) if absences < ABSENCES_MAX => {
                absences += 1;
                sleep(limits.retry).await;
            }
            Ok(chunk) => return Ok(chunk),
            Err(FabricError::Refused(why)) => return Err(Dropped::Refused(why)),
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
    /// Entries that waited behind the last one that was read.
    pub(crate) waiting: u64,
}

/// Reads the log again, from what the live traces need up to what the root had taken in, with the
/// same times at the same places, and tells nothing of it: it was told the first time.
pub(crate) async fn replay(
    root: &Root,
    restored: Restored,
    rules: Arc<Rules>,
    events: &mut Box<dyn LogReader>,
    source: Source<'_>,
) -> Result<Replayed, Dropped> {
    let (limits, figures) = (source.limits, source.figures);
    let mut shard = Shard::restore(rules, restored);
    let is_timeless = limits.breaks(Sabotage::IgnoreTicks);
    let mut ticks = root.ticks.iter().filter(|_| !is_timeless).copied().peekable();
    let (mut next, mut waiting) = (None, 0);
    let (mut from, mut silences) = (root.low.sequence, 0);
    let is_needed = root.low.sequence <= root.processed && events.first_kept() <= root.processed;
    loop {
        if !is_needed {
            break;
        }
        let Ok(entry) = timeout(limits.replay_wait, events.next()).await else {
            // Either the middle is away, and what is missing will come; or it has aged out. A reader
            // just opened knows.
            silences += 1;
            *events = source.open(Log::Events, from).await?;
            if events.first_kept() <= root.processed && silences < SILENCES_MAX {
                continue;
            }
            warn!("the log does not reach as far as the root says");
            break;
        };
        let entry = entry.map_err(|why| Dropped::Refused(why.to_string()))?;
        (silences, from, waiting) = (0, entry.sequence + 1, entry.waiting);
        pass(&mut shard, &mut ticks, |tick| tick.sequence < entry.sequence);
        if entry.sequence > root.processed {
            next = Some(entry);
            break;
        }
        figures.replayed_entries.add(1);
        let now = shard.now().max(entry.time);
        // What cannot be read, or was given up, became a dead letter the first time.
        if !root.given_up.contains(&entry.sequence)
            && let Ok(decoded) = decode_batch(&entry.body)
        {
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
    Ok(Replayed { shard, next, waiting })
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

#[cfg(test)]
mod tests;
