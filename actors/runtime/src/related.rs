//! Which open incidents of this node touch these entities, answered without asking an actor.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use tapio_engine::{IncidentRef, Incidents};
use tapio_model::{Entity, ShardId, Story, StoryId, Timestamp};
use tapio_owner::Elsewhere;

/// An open incident of the index.
#[derive(Debug)]
struct Entry {
    /// Who wrote it last: a shard that is claimed again must not lose what it has to its past.
    writer: u64,
    known: Elsewhere,
    from: Timestamp,
    until: Timestamp,
}

/// The node's open incidents by entity, readable from any thread without asking an actor.
///
/// No guard is held over another call or an await.
#[derive(Debug, Default)]
pub struct OpenIncidents {
    by_entity: DashMap<Entity, Vec<StoryId>>,
    by_id: DashMap<StoryId, Entry>,
    /// The shards whose incidents are all here, each with who wrote them.
    shards: DashMap<ShardId, u64>,
    writers: AtomicU64,
}

impl OpenIncidents {
    /// Returns the open incidents that touch one of `entities`, around the time `at` if one is
    /// given: oldest first, each with its shard and which of the entities it touches.
    ///
    /// An answer is only ever read: it may be out of date, and never moves a finding.
    #[must_use]
    pub fn related(&self, entities: &[Entity], at: Option<Timestamp>) -> Vec<Elsewhere> {
        let mut ids: BTreeSet<StoryId> = BTreeSet::new();
        for entity in entities {
            if let Some(known) = self.by_entity.get(entity) {
                ids.extend(known.iter());
            }
        }
        let found = ids.into_iter().filter_map(|id| {
            let entry = self.by_id.get(&id)?;
            if at.is_some_and(|at| at < entry.from || at > entry.until) {
                return None;
            }
            let IncidentRef { id, opened_at, touches } = &entry.known.incident;
            let asked = touches.iter().filter(|entity| entities.contains(entity));
            let touches = asked.cloned().collect();
            let incident = IncidentRef { id: *id, opened_at: *opened_at, touches };
            Some(Elsewhere { shard: entry.known.shard, incident })
        });
        found.collect()
    }

    /// Says whether the open incidents of a shard are all here.
    #[must_use]
    pub fn has(&self, shard: ShardId) -> bool {
        self.shards.contains_key(&shard)
    }

    /// Returns how many incidents are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Says whether no incident is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Notes a telling of a node that is alone, which has one actor for all incidents: an open story
    /// is found by its entities, any other no longer.
    pub(crate) fn note(&self, story: &Story) {
        if story.state.is_open() {
            let touches = story.entities.clone();
            let incident = IncidentRef { id: story.id, opened_at: story.opened_at, touches };
            self.put(Entry {
                writer: 0,
                known: Elsewhere { shard: ShardId::new(0), incident },
                from: Timestamp::MIN,
                until: Timestamp::MAX,
            });
        } else {
            self.remove(story.id, 0);
        }
    }

    /// Enters an incident, or what became of it; in between it is found all the time.
    fn put(&self, entry: Entry) {
        let id = entry.known.incident.id;
        let touches = entry.known.incident.touches.clone();
        let before = self.by_id.get(&id).map(|entry| entry.known.incident.touches.clone());
        let before = before.unwrap_or_default();
        for entity in touches.iter().filter(|entity| !before.contains(entity)) {
            self.by_entity.entry(entity.clone()).or_default().push(id);
        }
        self.by_id.insert(id, entry);
        for entity in before.iter().filter(|entity| !touches.contains(entity)) {
            self.leave(entity, id);
        }
    }

    fn remove(&self, id: StoryId, writer: u64) {
        if let Some((_, old)) = self.by_id.remove_if(&id, |_, entry| entry.writer == writer) {
            for entity in &old.known.incident.touches {
                self.leave(entity, id);
            }
        }
    }

    fn leave(&self, entity: &Entity, id: StoryId) {
        self.by_entity.alter(entity, |_, mut ids| {
            ids.retain(|known| *known != id);
            ids
        });
        self.by_entity.remove_if(entity, |_, ids| ids.is_empty());
    }
}

/// The entries of one shard, which leave the index with it.
#[derive(Debug)]
pub(crate) struct Entries {
    index: Arc<OpenIncidents>,
    shard: ShardId,
    writer: u64,
    open: BTreeSet<StoryId>,
}

impl Entries {
    pub(crate) fn new(shard: ShardId, index: Arc<OpenIncidents>) -> Self {
        let writer = index.writers.fetch_add(1, Ordering::Relaxed) + 1;
        Self { index, shard, writer, open: BTreeSet::new() }
    }

    /// Enters every open incident.
    pub(crate) fn begin(&mut self, incidents: &Incidents) {
        for id in incidents.open_ids() {
            self.renew(id, incidents);
        }
        self.index.shards.insert(self.shard, self.writer);
    }

    /// Enters what changed since the last cut, again if it was entered before: that is little, and
    /// the owner cuts often.
    pub(crate) fn follow(&mut self, incidents: &Incidents) {
        let fresh: Vec<_> = incidents.fresh_ids().collect();
        for id in fresh {
            self.renew(id, incidents);
        }
    }

    fn renew(&mut self, id: StoryId, incidents: &Incidents) {
        let Some((incident, from, until)) = incidents.presence(id) else {
            self.index.remove(id, self.writer);
            self.open.remove(&id);
            return;
        };
        let known = Elsewhere { shard: self.shard, incident };
        self.index.put(Entry { writer: self.writer, known, from, until });
        self.open.insert(id);
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.index.shards.remove_if(&self.shard, |_, writer| *writer == self.writer);
        for id in &self.open {
            self.index.remove(*id, self.writer);
        }
    }
}
