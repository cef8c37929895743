//! Which open incidents touch these entities: answered here, and one day by other nodes too.

use std::fmt;

use async_trait::async_trait;
use dashmap::DashMap;
use tapio_engine::IncidentRef;
use tapio_model::{Entity, Story, StoryId};

/// Knows open incidents: of this node, or of others.
///
/// A request is not durable, so an answer is only ever read: it never moves a finding.
#[async_trait]
pub trait Related: Send + Sync + fmt::Debug {
    /// Returns the open incidents that touch one of `entities`, oldest first, and whether everybody
    /// who might know one has answered.
    async fn related(&self, entities: &[Entity]) -> (Vec<IncidentRef>, bool);
}

/// The node's open incidents by entity, readable from any thread without asking an actor.
#[derive(Debug, Default)]
pub struct OpenIncidents(DashMap<Entity, Vec<StoryId>>, DashMap<StoryId, IncidentRef>);

impl OpenIncidents {
    /// Notes a telling: an open story is found by its entities, any other no longer.
    pub(crate) fn note(&self, story: &Story) {
        let Self(by_entity, by_id) = self;
        // No guard is held over another call: each of these ends its own.
        if let Some((_, old)) = by_id.remove(&story.id) {
            for entity in &old.touches {
                by_entity.alter(entity, |_, mut ids| {
                    ids.retain(|id| *id != story.id);
                    ids
                });
                by_entity.remove_if(entity, |_, ids| ids.is_empty());
            }
        }
        if story.state.is_open() {
            for entity in &story.entities {
                by_entity.entry(entity.clone()).or_default().push(story.id);
            }
            let touches = story.entities.clone();
            by_id.insert(
                story.id,
                IncidentRef { id: story.id, opened_at: story.opened_at, touches },
            );
        }
    }
}

#[async_trait]
impl Related for OpenIncidents {
    async fn related(&self, entities: &[Entity]) -> (Vec<IncidentRef>, bool) {
        let Self(by_entity, by_id) = self;
        let mut ids: Vec<StoryId> = entities
            .iter()
            .filter_map(|entity| by_entity.get(entity).map(|ids| ids.clone()))
            .flatten()
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let found = ids.iter().filter_map(|id| by_id.get(id).map(|found| found.clone()));
        (found.collect(), true)
    }
}
