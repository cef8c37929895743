//! Asking the other shards which open incidents touch the same things.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use tapio_actors::OpenIncidents;
use tapio_bus::SharedAsk;
use tapio_engine::IncidentRef;
use tapio_model::{Entity, Item, Op, Reply, Request, ShardAnswer, ShardId, Text, Timestamp};
use tapio_owner::{AskRelated, Elsewhere};
use tapio_wire::{Form, decode_reply, encode_request};

use crate::OwnerMap;

/// How long the other nodes may take. An incident is told without the answer after a quarter of a
/// second, and merges if the answer says so later: a slow network must not part two halves for good.
const PATIENCE: Duration = Duration::from_secs(2);

/// The incidents of this node's other shards, and those of the other nodes.
#[derive(Debug)]
pub(super) struct Neighbours {
    pub(super) me: Text,
    pub(super) index: Arc<OpenIncidents>,
    pub(super) owners: Arc<OwnerMap>,
    pub(super) ask: SharedAsk,
}

#[async_trait]
impl AskRelated for Neighbours {
    async fn related(&self, from: ShardId, entities: &[Entity], at: Timestamp) -> Vec<Elsewhere> {
        let mut known = self.index.related(entities, Some(at));
        let mut shards: BTreeMap<Text, Vec<ShardId>> = BTreeMap::new();
        for shard in self.owners.count().shards() {
            let owner = self.owners.owner(shard);
            if let Some(owner) = owner.filter(|owner| owner.node != self.me) {
                shards.entry(owner.node).or_default().push(shard);
            }
        }
        let op = Op::Related { entities: entities.to_vec(), at: Some(at) };
        let asked = shards.into_values().map(|shards| {
            let request = Request { op: op.clone(), deadline: Some(PATIENCE), shards };
            self.ask_owner(request)
        });
        known.extend(join_all(asked).await.into_iter().flatten());
        known.retain(|known| known.shard != from);
        known
    }
}

impl Neighbours {
    /// Asks one owner for all its shards. Who does not answer is asked again later, as every open
    /// incident asks again.
    async fn ask_owner(&self, request: Request) -> Vec<Elsewhere> {
        let Some(shard) = request.shards.first().copied() else { return Vec::new() };
        let bytes = Bytes::from(encode_request(&request, Form::MessagePack));
        let Ok(answer) = self.ask.ask(shard, bytes, PATIENCE).await else { return Vec::new() };
        let Ok(Reply::Part(part)) = decode_reply(&answer) else { return Vec::new() };
        let mut known = Vec::new();
        for answer in part.shards {
            let ShardAnswer::Known { shard, results, .. } = answer else { continue };
            for item in results {
                let Item::Incident { id, opened_at, touches } = item else { continue };
                let incident = IncidentRef { id, opened_at, touches };
                known.push(Elsewhere { shard, incident });
            }
        }
        known
    }
}
