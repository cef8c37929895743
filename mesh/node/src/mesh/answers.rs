//! What this node knows of the shards it owns.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use tapio_actors::{MeshActors, ShardReader, Unread};
use tapio_bus::{Batch, Bus};
use tapio_model::{
    Entity, Epoch, Event, IncidentState, Item, Op, Owner, ShardAnswer, ShardId, Story, StoryId,
    Timestamp, TraceReport, TraceState,
};
use tapio_owner::{MeshView, Phase};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};
use tracing::{debug, warn};

use crate::{Answering, Lookup, OwnerMap, StoryStore};

/// Traces of a thing that an answer lists.
const TRACES_MAX: usize = 20;

/// What this node knows of the shards it owns.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) actors: Arc<MeshActors>,
    pub(super) view: watch::Receiver<MeshView>,
    pub(super) owners: Arc<OwnerMap>,
    pub(super) store: Arc<StoryStore>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) handoff: mpsc::Sender<ShardId>,
}

/// What was found, and how much was left out.
type Found = (Vec<Item>, u64);

#[async_trait]
impl Answering for Answers {
    async fn answer(&self, shards: &[ShardId], op: &Op) -> Vec<ShardAnswer> {
        join_all(shards.iter().map(|shard| self.answer_for(*shard, op))).await
    }
}

impl Answers {
    async fn answer_for(&self, shard: ShardId, op: &Op) -> ShardAnswer {
        let status = self.view.borrow().held.get(&shard).copied();
        let owned = status.filter(|status| status.phase == Phase::Owning);
        let found = match (owned, self.actors.reader(shard)) {
            (Some(_), Some(reader)) => self.find(shard, &reader, op).await.ok(),
            (Some(_) | None, _) => None,
        };
        match (owned, found) {
            (Some(status), Some((results, omitted))) => {
                ShardAnswer::Known { shard, epoch: Epoch(status.epoch), results, omitted }
            }
            (Some(_) | None, _) => {
                let owner = self.owners.owner(shard);
                let epoch = owner.as_ref().map(|owner| owner.epoch).unwrap_or_default();
                ShardAnswer::Moved { shard, owner: owner.map(|owner| owner.node), epoch }
            }
        }
    }

    async fn find(&self, shard: ShardId, reader: &ShardReader, op: &Op) -> Result<Found, Unread> {
        match op {
            Op::Story(id) => {
                let open = reader.incidents().await?;
                let open: Vec<_> = open.into_iter().filter(|it| it.id == *id).collect();
                // One that is over has no shard: the first one answers for it.
                let is_asked = !open.is_empty() || shard.number() == 0;
                let story = if is_asked { self.story(*id).await } else { None };
                Ok(match story {
                    Some(story) => (vec![Item::Story(story)], 0),
                    None => (open.iter().map(|state| incident(state, &[])).collect(), 0),
                })
            }
            Op::Trace(id) => {
                let trace = reader.trace(*id).await?;
                let report = trace.map(|state| Item::Trace(Box::new(report(state, usize::MAX))));
                Ok((report.into_iter().collect(), 0))
            }
            Op::Entity(entity) => self.touching(reader, entity).await,
            Op::List { limit } => {
                let open = reader.incidents().await?;
                let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
                let omitted = open.len().saturating_sub(limit) as u64;
                let kept = open.into_iter().take(limit);
                Ok((join_all(kept.map(|state| self.told(state))).await, omitted))
            }
            Op::Related { entities, at } => Ok((self.related(shard, entities, *at), 0)),
            Op::WhoOwns(_) => {
                let epoch = self.view.borrow().held.get(&shard).map(|status| Epoch(status.epoch));
                let owner = self
                    .owners
                    .owner(shard)
                    .map(|owner| Owner { epoch: epoch.unwrap_or(owner.epoch), ..owner });
                Ok((vec![Item::Owner { shard, owner }], 0))
            }
            Op::Deliver { events } => self.deliver(shard, events).await,
            Op::Handoff(_) => match self.handoff.try_send(shard) {
                Ok(()) => Ok((vec![Item::Released { shard }], 0)),
                Err(why) => {
                    warn!(%shard, %why, "a shard was not handed off");
                    Err(Unread::Busy)
                }
            },
        }
    }

    async fn touching(&self, reader: &ShardReader, entity: &Entity) -> Result<Found, Unread> {
        let open = reader.incidents_of(vec![entity.clone()]).await?;
        let mut results: Vec<Item> = join_all(open.into_iter().map(|it| self.told(it))).await;
        let traces = reader.traces_of(entity.clone(), TRACES_MAX).await?;
        for id in traces.traces {
            if let Some(state) = reader.trace(id).await? {
                results.push(Item::Trace(Box::new(report(state, 0))));
            }
        }
        Ok((results, u64::from(traces.is_truncated)))
    }

    /// Returns an open incident as the story that was told of it, or as itself before that.
    async fn told(&self, state: IncidentState) -> Item {
        let story = if state.is_told { self.story(state.id).await } else { None };
        story.map_or_else(|| incident(&state, &[]), Item::Story)
    }

    async fn story(&self, id: StoryId) -> Option<Box<Story>> {
        story(Arc::clone(&self.store), id).await
    }

    fn related(&self, shard: ShardId, entities: &[Entity], at: Option<Timestamp>) -> Vec<Item> {
        let known = self.actors.open_incidents().related(entities, at);
        let here = known.into_iter().filter(|known| known.shard == shard);
        here.map(|known| Item::Incident {
            id: known.incident.id,
            opened_at: known.incident.opened_at,
            touches: known.incident.touches,
        })
        .collect()
    }

    /// Appends events to the shard's log: only then are they accepted.
    async fn deliver(&self, shard: ShardId, events: &[Arc<Event>]) -> Result<Found, Unread> {
        let mut levels: std::collections::BTreeMap<_, Vec<Arc<Event>>> =
            std::collections::BTreeMap::new();
        for event in events {
            levels.entry(event.level()).or_default().push(Arc::clone(event));
        }
        for (level, events) in levels {
            let time = events.iter().map(|event| event.time).max().unwrap_or_default();
            let batch = Batch { shard, level, time, events };
            if let Err(why) = self.bus.publish(batch).await {
                debug!(%shard, %why, "events were not taken");
                return Err(Unread::Busy);
            }
        }
        Ok((vec![Item::Accepted { shard, events: events.len() as u64 }], 0))
    }
}

/// Returns a story as it was last told.
pub(super) async fn story(store: Arc<StoryStore>, id: StoryId) -> Option<Box<Story>> {
    let found = spawn_blocking(move || store.story(&id.to_string())).await;
    match found.ok()?.ok()? {
        Lookup::Found(story) => Some(story),
        Lookup::Unknown | Lookup::Ambiguous(_) => None,
    }
}

pub(super) fn incident(state: &IncidentState, asked: &[Entity]) -> Item {
    let touches = if asked.is_empty() {
        state.entities.clone()
    } else {
        asked.iter().filter(|entity| state.entities.contains(entity)).cloned().collect()
    };
    Item::Incident { id: state.id, opened_at: state.opened_at, touches }
}

pub(super) fn report(state: TraceState, events_max: usize) -> TraceReport {
    let findings = state.memory.map(|memory| memory.findings).unwrap_or_default();
    TraceReport {
        id: state.id,
        incarnation: state.incarnation,
        ended: None,
        opened_at: state.opened_at,
        last_at: state.last_at,
        events_total: state.events.len() as u64,
        events: state.events.into_iter().take(events_max).collect(),
        findings,
        stories: Vec::new(),
    }
}
