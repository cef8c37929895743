//! Asking the other shards which open incidents touch the same things.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use tapio_actors::OpenIncidents;
use tapio_bus::SharedAsk;
use tapio_engine::IncidentRef;
use tapio_model::{Entity, Item, Op, Reply, Request, ShardAnswer, ShardId, Text, Timestamp};
use tapio_owner::{AskRelated, Elsewhere, Related};
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
    async fn related(&self, from: ShardId, entities: &[Entity], at: Timestamp) -> Related {
        let all: BTreeSet<_> = self.owners.count().shards().collect();
        let mut answered: BTreeSet<_> =
            all.iter().copied().filter(|shard| self.index.has(*shard)).collect();
        let mut known = self.index.related(entities, Some(at));
        let mut shards: BTreeMap<Text, Vec<ShardId>> = BTreeMap::new();
        for shard in all.difference(&answered).copied() {
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
        for (shard, incidents) in join_all(asked).await.into_iter().flatten() {
            answered.insert(shard);
            known.extend(incidents.into_iter().map(|incident| Elsewhere { shard, incident }));
        }
        known.retain(|known| known.shard != from);
        Related { known, is_complete: answered == all }
    }
}

impl Neighbours {
    /// Asks one owner for all its shards. Who does not answer is asked again later, as every open
    /// incident asks again.
    async fn ask_owner(&self, request: Request) -> Vec<(ShardId, Vec<IncidentRef>)> {
        let Some(shard) = request.shards.first().copied() else { return Vec::new() };
        let bytes = Bytes::from(encode_request(&request, Form::MessagePack));
        let Ok(answer) = self.ask.ask(shard, bytes, PATIENCE).await else { return Vec::new() };
        let Ok(Reply::Part(part)) = decode_reply(&answer) else { return Vec::new() };
        let known = part.shards.into_iter().filter_map(|answer| {
            let ShardAnswer::Known { shard, results, .. } = answer else { return None };
            Some((shard, results.into_iter().filter_map(incident).collect()))
        });
        known.collect()
    }
}

fn incident(item: Item) -> Option<IncidentRef> {
    let Item::Incident { id, opened_at, touches } = item else { return None };
    Some(IncidentRef { id, opened_at, touches })
}
