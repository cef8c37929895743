//! Answers of other shards, from the roots as they lie: true some moments ago.

use std::sync::Arc;

use async_trait::async_trait;
use tapio_engine::IncidentRef;
use tapio_model::{Entity, IncidentState, ShardId, Timestamp};
use tapio_owner::{AskRelated, Elsewhere, Related};
use tapio_shard::{Content, PieceKey, Root};
use tapio_wire::decode_incident_state;

use super::world::World;

/// Answers questions from the roots as they lie.
#[derive(Debug)]
pub(super) struct AskRoots {
    pub(super) world: Arc<World>,
}

#[async_trait]
impl AskRelated for AskRoots {
    async fn related(&self, from: ShardId, entities: &[Entity], _: Timestamp) -> Related {
        tokio::time::sleep(self.world.delay(self.world.weather().delay_max)).await;
        let roots: Vec<(ShardId, Arc<Root>)> = {
            let middle = self.world.middle();
            let others = middle.roots.iter().filter(|(shard, _)| **shard != from);
            others
                .filter_map(|(shard, writes)| Some((*shard, Arc::clone(&writes.last()?.root))))
                .collect()
        };
        let mut known = Vec::new();
        for (shard, root) in roots {
            for (key, content) in &root.pieces {
                let PieceKey::Incident(id) = key else { continue };
                let Some(state) = self.incident(content) else { continue };
                let touches: Vec<_> =
                    entities.iter().filter(|it| state.entities.contains(it)).cloned().collect();
                if !touches.is_empty() {
                    let incident = IncidentRef { id: *id, opened_at: state.opened_at, touches };
                    known.push(Elsewhere { shard, incident });
                }
            }
        }
        Related { known, is_complete: true }
    }
}

impl AskRoots {
    fn incident(&self, content: &Content) -> Option<IncidentState> {
        let bytes = match content {
            Content::Inline(bytes) => bytes.clone(),
            Content::Chunks { names, .. } => {
                let middle = self.world.middle();
                let chunks = names.iter().map(|name| Some(middle.chunks.get(name)?.1.clone()));
                chunks.collect::<Option<Vec<_>>>()?.concat()
            }
        };
        decode_incident_state(&bytes).ok()
    }
}
