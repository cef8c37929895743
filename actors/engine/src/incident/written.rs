//! Incidents written down, and read again.

use std::collections::BTreeSet;

use tapio_model::{
    Entity, FindingId, IncidentState, ResolvedState, StoryId, Timestamp, WaitingState,
};

use super::{Incident, IncidentRef, Incidents, Resolved};

/// What of the incidents changed since the last cut.
#[derive(Debug, Default, PartialEq)]
pub struct IncidentsCut {
    /// Incidents that are new or changed.
    pub changed: Vec<IncidentState>,
    /// Incidents that are over.
    pub ended: Vec<StoryId>,
    /// Everything that resolved and can still be named, if that changed.
    pub resolved: Option<Vec<ResolvedState>>,
    /// Changes that wait and are new, or told anew.
    pub waiting: Vec<WaitingState>,
    /// Numbers of changes that wait no longer.
    pub waited: Vec<u64>,
}

/// Incidents as they were written down.
#[derive(Debug, Default)]
pub struct IncidentsRestored {
    /// The open ones.
    pub open: Vec<IncidentState>,
    /// What resolved and can still be named.
    pub resolved: Vec<ResolvedState>,
    /// Changes that wait.
    pub waiting: Vec<WaitingState>,
}

/// What changed since the last cut; nothing where nobody cuts.
#[derive(Debug, Default)]
pub(super) struct Changes {
    is_followed: bool,
    changed: BTreeSet<StoryId>,
    ended: BTreeSet<StoryId>,
    has_resolved: bool,
    waiting: BTreeSet<FindingId>,
    waited: BTreeSet<u64>,
}

impl Changes {
    pub(super) fn followed() -> Self {
        Self { is_followed: true, ..Self::default() }
    }

    pub(super) fn note(&mut self, incident: StoryId) {
        if self.is_followed {
            self.changed.insert(incident);
        }
    }

    pub(super) fn end(&mut self, incident: StoryId) {
        self.changed.remove(&incident);
        if self.is_followed {
            self.ended.insert(incident);
        }
    }

    pub(super) const fn resolved(&mut self) {
        self.has_resolved |= self.is_followed;
    }

    pub(super) fn waits(&mut self, change: &FindingId) {
        if self.is_followed {
            self.waiting.insert(change.clone());
        }
    }

    pub(super) fn waited(&mut self, number: u64) {
        if self.is_followed {
            self.waited.insert(number);
        }
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self { is_followed: self.is_followed, ..Self::default() })
    }
}

impl Incident {
    pub(super) fn to_state(&self) -> IncidentState {
        IncidentState {
            id: self.id,
            opened_at: self.opened_at,
            predecessor: self.predecessor,
            findings: self.findings.clone(),
            further: self.further,
            entities: self.entities.iter().cloned().collect(),
            events: self.events.clone(),
            owned: self.owned.iter().copied().collect(),
            evidence: self.evidence.clone(),
            telling: self.telling,
            told_at: self.told_at,
            news_at: self.news_at,
            is_dirty: self.is_dirty,
            is_told: self.is_told,
        }
    }

    fn from_state(state: IncidentState) -> Self {
        Self {
            id: state.id,
            opened_at: state.opened_at,
            predecessor: state.predecessor,
            findings: state.findings,
            further: state.further,
            entities: state.entities.into_iter().collect(),
            events: state.events,
            owned: state.owned.into_iter().collect(),
            evidence: state.evidence,
            telling: state.telling,
            told_at: state.told_at,
            news_at: state.news_at,
            is_dirty: state.is_dirty,
            is_told: state.is_told,
            ask_at: state.opened_at,
            asks: 0,
            parting: None,
        }
    }
}

impl Incidents {
    /// Writes down what changed since the last cut.
    pub fn cut(&mut self) -> IncidentsCut {
        let Changes { changed, ended, has_resolved, waiting, waited, is_followed: _ } =
            self.changes.take();
        let changed = changed.iter().filter_map(|id| self.open.get(id)).map(Incident::to_state);
        let changed = changed.collect();
        let ended = ended.into_iter().collect();
        let resolved = has_resolved.then(|| {
            let entries = self.resolved.iter();
            let state = entries.map(|(entity, resolved)| ResolvedState {
                entity: entity.clone(),
                id: resolved.id,
                at: resolved.at,
            });
            state.collect()
        });
        let waiting = waiting.iter().filter_map(|id| self.waiting.state(id)).collect();
        let waited = waited.into_iter().collect();
        IncidentsCut { changed, ended, resolved, waiting, waited }
    }

    /// Reads incidents that were written down. Whatever is open asks after incidents elsewhere anew.
    pub fn restore(&mut self, restored: IncidentsRestored) {
        let IncidentsRestored { open, resolved, waiting } = restored;
        for state in open {
            let incident = Incident::from_state(state);
            let id = incident.id;
            for entity in &incident.entities {
                self.by_entity.entry(entity.clone()).or_default().insert(id);
            }
            for event in &incident.events {
                self.by_event.entry(*event).or_insert(id);
            }
            if self.is_sharded {
                self.questions.insert(id, incident.entities.clone());
            }
            self.open.insert(id, incident);
        }
        for ResolvedState { entity, id, at } in resolved {
            self.resolved.insert(entity, Resolved { id, at });
        }
        for state in waiting {
            self.waiting.restore(state);
        }
    }

    /// Returns what every open incident is, for whoever asks.
    pub fn states(&self) -> impl Iterator<Item = IncidentState> {
        self.open.values().map(Incident::to_state)
    }

    /// Returns what the open incidents are that touch one of `entities`, oldest first.
    #[must_use]
    pub fn states_of(&self, entities: &[Entity]) -> Vec<IncidentState> {
        let known = entities.iter().filter_map(|entity| self.by_entity.get(entity)).flatten();
        let ids: BTreeSet<_> = known.collect();
        ids.into_iter().filter_map(|id| self.open.get(id)).map(Incident::to_state).collect()
    }

    /// Returns the ids of the incidents that changed or ended since the last cut.
    pub fn fresh_ids(&self) -> impl Iterator<Item = StoryId> {
        self.changes.changed.iter().chain(&self.changes.ended).copied()
    }

    /// Returns an open incident with all that it touches, and the first and the last moment at which
    /// [`Incidents::related`] finds it.
    #[must_use]
    pub fn presence(&self, id: StoryId) -> Option<(IncidentRef, Timestamp, Timestamp)> {
        let (incident, limits) = (self.open.get(&id)?, self.rules.limits());
        let touches = incident.entities.iter().cloned().collect();
        let known = IncidentRef { id, opened_at: incident.opened_at, touches };
        let from = incident.begins_at().before(limits.window);
        Some((known, from, incident.ends_at().after(limits.quiet)))
    }

    /// Returns the ids of the open incidents, oldest first.
    #[must_use]
    pub fn open_ids(&self) -> BTreeSet<StoryId> {
        self.open.keys().copied().collect()
    }
}
