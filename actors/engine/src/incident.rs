//! The second level: findings that share a cause join one incident.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tapio_model::{Entity, EventId, Finding, FindingId, State, Story, StoryId, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use crate::{Rules, narrate::narrate};

/// An open incident, as other nodes may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentRef {
    /// Its story.
    pub id: StoryId,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Which of the entities asked for it touches.
    pub touches: Vec<Entity>,
}

/// One incident: the findings that share a cause.
#[derive(Debug, Clone)]
pub(crate) struct Incident {
    pub(crate) id: StoryId,
    pub(crate) opened_at: Timestamp,
    pub(crate) predecessor: Option<StoryId>,
    /// In order of identity and begin, so that the order of arrival does not show.
    pub(crate) findings: Vec<Finding>,
    /// Findings beyond the limit, counted only.
    pub(crate) further: u64,
    telling: u32,
    told_at: Timestamp,
    news_at: Timestamp,
    is_dirty: bool,
}

impl Incident {
    fn begins_at(&self) -> Timestamp {
        self.findings.iter().map(Finding::begins_at).min().unwrap_or(self.opened_at)
    }

    fn ends_at(&self) -> Timestamp {
        self.findings.iter().map(Finding::ends_at).max().unwrap_or(self.opened_at)
    }

    /// Takes a finding in: as the amendment of one that shares evidence, or as a further one.
    fn take(&mut self, finding: Finding, findings_max: usize) {
        self.findings.retain(|known| {
            known.id != finding.id
                || known
                    .evidence
                    .iter()
                    .all(|old| finding.evidence.iter().all(|new| new.event != old.event))
        });
        if self.findings.len() >= findings_max {
            self.further += 1;
            return;
        }
        let key = |finding: &Finding| (finding.id.clone(), finding.begins_at());
        let at = self.findings.partition_point(|known| key(known) < key(&finding));
        self.findings.insert(at, finding);
    }
}

/// A resolved incident, for naming it as predecessor.
#[derive(Debug, Clone, Copy)]
struct Resolved {
    id: StoryId,
    at: Timestamp,
}

/// All incidents of a node.
///
/// A state machine like [`Trace`](crate::Trace): findings and time go in, tellings of stories come
/// out. It answers [`Incidents::related`] for itself and, one day, for other nodes.
#[derive(Debug)]
pub struct Incidents {
    rules: Arc<Rules>,
    open: BTreeMap<StoryId, Incident>,
    by_entity: BTreeMap<Entity, BTreeSet<StoryId>>,
    by_event: BTreeMap<EventId, StoryId>,
    resolved: BTreeMap<Entity, Resolved>,
}

impl Incidents {
    /// Makes a node's incidents: none.
    #[must_use]
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            open: BTreeMap::new(),
            by_entity: BTreeMap::new(),
            by_event: BTreeMap::new(),
            resolved: BTreeMap::new(),
        }
    }

    /// Returns how many incidents are open.
    #[must_use]
    pub fn open_incidents(&self) -> usize {
        self.open.len()
    }

    /// Returns the open incidents that touch one of `entities` around the time `at`.
    #[must_use]
    pub fn related(&self, entities: &[Entity], at: Timestamp) -> Vec<IncidentRef> {
        let mut found: BTreeMap<StoryId, Vec<Entity>> = BTreeMap::new();
        for entity in entities {
            for id in self.by_entity.get(entity).into_iter().flatten() {
                found.entry(*id).or_default().push(entity.clone());
            }
        }
        let near = found.into_iter().filter_map(|(id, touches)| {
            let incident = self.open.get(&id)?;
            self.is_near(incident, at, at).then_some((incident, touches))
        });
        near.map(|(incident, touches)| IncidentRef {
            id: incident.id,
            opened_at: incident.opened_at,
            touches,
        })
        .collect()
    }

    fn is_near(&self, incident: &Incident, begins: Timestamp, ends: Timestamp) -> bool {
        let limits = self.rules.limits();
        begins <= incident.ends_at().after(limits.quiet)
            && ends >= incident.begins_at().before(limits.window)
    }

    /// Takes a finding in, new or amended: it joins the incident that touches what it touches, or
    /// opens one; incidents that it joins to each other merge into the oldest.
    pub fn admit(&mut self, finding: Finding, now: Timestamp) -> Vec<Story> {
        let mut told = self.make_room(now);
        let related = self.candidates(&finding);
        let Some(oldest) = related.first().copied() else {
            told.extend(self.open(finding, now));
            return told;
        };
        for younger in related.into_iter().skip(1) {
            told.extend(self.merge(younger, oldest, now));
        }
        self.index(&finding, oldest);
        let findings_max = self.rules.limits().incident_findings_max;
        if let Some(incident) = self.open.get_mut(&oldest) {
            incident.take(finding, findings_max);
            incident.is_dirty = true;
            incident.news_at = now;
        }
        told
    }

    /// Returns the open incidents a finding belongs to, oldest first.
    fn candidates(&self, finding: &Finding) -> BTreeSet<StoryId> {
        let (begins, ends) = (finding.begins_at(), finding.ends_at());
        let touching = finding.touches.iter().filter_map(|entity| self.by_entity.get(entity));
        let near = touching.flatten().copied().filter(|id| {
            self.open.get(id).is_some_and(|incident| self.is_near(incident, begins, ends))
        });
        // An event belongs to one incident, so findings that share one share the incident.
        let sharing =
            finding.evidence.iter().filter_map(|evidence| self.by_event.get(&evidence.event));
        near.chain(sharing.copied()).collect()
    }

    fn open(&mut self, finding: Finding, now: Timestamp) -> Option<Story> {
        let id = StoryId::new(now, seed(&finding));
        let predecessor = self.predecessor(&finding, now);
        self.index(&finding, id);
        let incident = Incident {
            id,
            opened_at: now,
            predecessor,
            findings: vec![finding],
            further: 0,
            telling: 0,
            told_at: now,
            news_at: now,
            is_dirty: false,
        };
        let story = narrate(&incident, State::Opened, 0, now, self.rules.limits());
        self.open.insert(id, incident);
        story
    }

    fn predecessor(&self, finding: &Finding, now: Timestamp) -> Option<StoryId> {
        let horizon = now.before(self.rules.limits().successor_horizon);
        finding
            .touches
            .iter()
            .filter_map(|entity| self.resolved.get(entity))
            .filter(|resolved| resolved.at >= horizon)
            .max_by_key(|resolved| (resolved.at, resolved.id))
            .map(|resolved| resolved.id)
    }

    fn index(&mut self, finding: &Finding, id: StoryId) {
        for entity in &finding.touches {
            self.by_entity.entry(entity.clone()).or_default().insert(id);
        }
        for evidence in &finding.evidence {
            self.by_event.entry(evidence.event).or_insert(id);
        }
    }

    fn unindex(&mut self, incident: &Incident) {
        for finding in &incident.findings {
            for entity in &finding.touches {
                if let Some(ids) = self.by_entity.get_mut(entity) {
                    ids.remove(&incident.id);
                    if ids.is_empty() {
                        self.by_entity.remove(entity);
                    }
                }
            }
        }
        if incident.further > 0 {
            // Findings beyond the limit left their traces in the index, and were not kept.
            self.by_entity.retain(|_, ids| {
                ids.remove(&incident.id);
                !ids.is_empty()
            });
        }
        self.by_event.retain(|_, id| *id != incident.id);
    }

    fn merge(&mut self, younger: StoryId, into: StoryId, now: Timestamp) -> Option<Story> {
        let mut merged = self.open.remove(&younger)?;
        self.unindex(&merged);
        merged.telling += 1;
        let state = State::Merged { into };
        let story = narrate(&merged, state, merged.telling, now, self.rules.limits());
        let findings_max = self.rules.limits().incident_findings_max;
        for finding in merged.findings {
            self.index(&finding, into);
            if let Some(incident) = self.open.get_mut(&into) {
                incident.take(finding, findings_max);
            }
        }
        if let Some(incident) = self.open.get_mut(&into) {
            incident.further += merged.further;
            incident.predecessor = incident.predecessor.max(merged.predecessor);
        }
        story
    }

    /// Takes back a finding that a better one about the same thing replaces.
    pub fn retract(&mut self, id: &FindingId) {
        for incident in self.open.values_mut() {
            let others = incident.findings.iter().any(|finding| finding.id != *id);
            let known = incident.findings.iter().any(|finding| finding.id == *id);
            if known && others {
                incident.findings.retain(|finding| finding.id != *id);
                incident.is_dirty = true;
            }
        }
    }

    /// Lets time pass: tells amendments that are due, resolves what is quiet.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Story> {
        let limits = self.rules.limits();
        let quiet = now.before(limits.quiet);
        let ended: Vec<_> =
            self.open.values().filter(|it| it.news_at <= quiet).map(|it| it.id).collect();
        let mut told: Vec<_> = ended.into_iter().filter_map(|id| self.resolve(id, now)).collect();
        let due = now.before(self.rules.limits().amend_every);
        told.extend(self.amend(|incident| incident.told_at <= due, now));
        self.forget_resolved(now);
        told
    }

    /// Tells every amendment that waits for its time: nothing more will come.
    pub fn finish(&mut self, now: Timestamp) -> Vec<Story> {
        self.amend(|_| true, now)
    }

    fn amend(&mut self, is_due: impl Fn(&Incident) -> bool, now: Timestamp) -> Vec<Story> {
        let limits = self.rules.limits();
        let due = self.open.values_mut().filter(|incident| incident.is_dirty && is_due(incident));
        due.filter_map(|incident| {
            incident.is_dirty = false;
            incident.told_at = now;
            incident.telling += 1;
            narrate(incident, State::Amended, incident.telling, now, limits)
        })
        .collect()
    }

    fn resolve(&mut self, id: StoryId, now: Timestamp) -> Option<Story> {
        let incident = self.open.remove(&id)?;
        self.unindex(&incident);
        for entity in incident.findings.iter().flat_map(|finding| &finding.touches) {
            self.resolved.insert(entity.clone(), Resolved { id, at: now });
        }
        narrate(&incident, State::Resolved, incident.telling + 1, now, self.rules.limits())
    }

    fn make_room(&mut self, now: Timestamp) -> Vec<Story> {
        if self.open.len() < self.rules.limits().incidents_open_max {
            return Vec::new();
        }
        let quietest = self.open.values().min_by_key(|it| (it.news_at, it.id)).map(|it| it.id);
        quietest.and_then(|id| self.resolve(id, now)).into_iter().collect()
    }

    fn forget_resolved(&mut self, now: Timestamp) {
        let horizon = now.before(self.rules.limits().successor_horizon);
        self.resolved.retain(|_, resolved| resolved.at >= horizon);
    }
}

/// Derives the part of a story's id that no other incident of its millisecond shares.
fn seed(finding: &Finding) -> [u8; 10] {
    let mut hash = Xxh3::new();
    hash.update(finding.id.trace.as_bytes());
    hash.update(&finding.id.incarnation.0.to_le_bytes());
    hash.update(finding.id.pattern.as_bytes());
    hash.update(finding.root.as_bytes());
    let [seed @ .., _, _, _, _, _, _] = hash.digest128().to_be_bytes();
    seed
}
