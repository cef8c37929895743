//! What the root of a shard says when its owner does not: true as of its last commit.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tapio_bus::SharedFabric;
use tapio_model::{Epoch, IncidentState, Item, Op, Owned, Owner, ShardId, TraceId};
use tapio_shard::{Content, PieceKey, Root};
use tapio_wire::{decode_incident_state, decode_root, decode_trace_state};

use super::answers::{incident, report, story};
use crate::{Recall, Recalled, StoryStore};

/// Reads roots.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) fabric: SharedFabric,
    pub(super) store: Arc<StoryStore>,
}

#[async_trait]
impl Recall for Roots {
    async fn recall(&self, shard: ShardId, op: &Op) -> Option<Recalled> {
        let read = self.fabric.read_root(shard).await.ok()??;
        let root = decode_root(&read.bytes).ok()?;
        let (results, omitted) = self.find(shard, &root, op).await?;
        Some(Recalled { epoch: Epoch(root.epoch), results, omitted })
    }
}

impl Roots {
    async fn find(&self, shard: ShardId, root: &Root, op: &Op) -> Option<(Vec<Item>, u64)> {
        Some(match op {
            Op::Story(id) => {
                let is_here = root.pieces.contains_key(&PieceKey::Incident(*id));
                let told = if is_here { story(Arc::clone(&self.store), *id).await } else { None };
                (told.map(Item::Story).into_iter().collect(), 0)
            }
            Op::Trace(id) => (self.trace(root, *id).await.into_iter().collect(), 0),
            Op::Entity(entity) => {
                // Young traces are in nobody's root: what is left out is said.
                let found = self.incidents(root, std::slice::from_ref(entity)).await;
                (found, root.live_traces)
            }
            Op::List { limit } => {
                let open = self.incidents(root, &[]).await;
                let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
                let omitted = open.len().saturating_sub(limit) as u64;
                (open.into_iter().take(limit).collect(), omitted)
            }
            Op::Related { entities, .. } => (self.incidents(root, entities).await, 0),
            Op::WhoOwns(Owned::Trace(_) | Owned::Entity(_) | Owned::Shard(_)) => {
                let owner = root.owner.as_ref().filter(|_| !root.released);
                let owner =
                    owner.map(|it| Owner { node: it.name.clone(), epoch: Epoch(root.epoch) });
                (vec![Item::Owner { shard, owner }], 0)
            }
            Op::Deliver { .. } | Op::Handoff(_) => return None,
        })
    }

    async fn trace(&self, root: &Root, id: TraceId) -> Option<Item> {
        let bytes = self.gather(root.pieces.get(&PieceKey::Trace(id))?).await?;
        let state = decode_trace_state(&bytes).ok()?;
        Some(Item::Trace(Box::new(report(state, usize::MAX))))
    }

    async fn incidents(&self, root: &Root, asked: &[tapio_model::Entity]) -> Vec<Item> {
        let mut found = Vec::new();
        for (key, content) in &root.pieces {
            if !matches!(key, PieceKey::Incident(_)) {
                continue;
            }
            let Some(bytes) = self.gather(content).await else { continue };
            let Ok(state) = decode_incident_state(&bytes) else { continue };
            if asked.is_empty() || touches(&state, asked) {
                found.push(incident(&state, asked));
            }
        }
        found
    }

    async fn gather(&self, content: &Content) -> Option<Bytes> {
        match content {
            Content::Inline(bytes) => Some(Bytes::copy_from_slice(bytes)),
            Content::Chunks { names, .. } => {
                let mut whole = Vec::new();
                for name in names {
                    whole.extend_from_slice(&self.fabric.get_chunk(*name).await.ok()??);
                }
                Some(whole.into())
            }
        }
    }
}

fn touches(state: &IncidentState, asked: &[tapio_model::Entity]) -> bool {
    asked.iter().any(|entity| state.entities.contains(entity))
}
