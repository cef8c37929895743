//! The second level: findings that share a cause join one incident.

mod elsewhere;
mod waiting;
mod written;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use tapio_model::{Entity, Event, EventId, Finding, FindingId, State, StoryId, Telling, Timestamp};
use xxhash_rust::xxh3::Xxh3;

use self::elsewhere::Parting;
pub use self::elsewhere::{Handed, Joined, Question};
use self::waiting::Waiting;
use self::written::Changes;
pub use self::written::{IncidentsCut, IncidentsRestored};
use crate::{Limits, Rules, candidate::is_candidate, narrate::narrate};

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
    /// Tellings of findings beyond the limit, counted only.
    pub(crate) further: u64,
    /// What the index holds of it.
    entities: BTreeSet<Entity>,
    events: Vec<EventId>,
    /// Events that no other story counts.
    pub(crate) owned: BTreeSet<EventId>,
    /// Events that the next telling brings along.
    evidence: Vec<Arc<Event>>,
    telling: u32,
    told_at: Timestamp,
    news_at: Timestamp,
    is_dirty: bool,
    is_told: bool,
    /// When it asks after incidents elsewhere again, and how often it has.
    ask_at: Timestamp,
    asks: u32,
    /// What it has asked since it is quiet.
    parting: Option<Parting>,
}

impl Incident {
    fn begins_at(&self) -> Timestamp {
        self.findings.iter().map(Finding::begins_at).min().unwrap_or(self.opened_at)
    }

    fn ends_at(&self) -> Timestamp {
        self.findings.iter().map(Finding::ends_at).max().unwrap_or(self.opened_at)
    }

    /// Tells the incident once more; one that was not told yet opens, whatever has become of it.
    fn tell(&mut self, state: State, now: Timestamp, limits: &Limits) -> Option<Telling> {
        if self.is_told {
            self.telling += 1;
        }
        self.is_told = true;
        let story = narrate(self, state, self.telling, now, limits)?;
        Some(Telling { story: Box::new(story), evidence: std::mem::take(&mut self.evidence) })
    }

    /// Takes a finding in: as the amendment of one that shares evidence, or as a further one.
    /// Returns whether there was room to keep it.
    fn take(&mut self, finding: Finding, findings_max: usize) -> bool {
        self.findings.retain(|known| {
            known.id != finding.id
                || known
                    .evidence
                    .iter()
                    .all(|old| finding.evidence.iter().all(|new| new.event != old.event))
        });
        if self.findings.len() >= findings_max {
            self.further += 1;
            return false;
        }
        let key = |finding: &Finding| (finding.id.clone(), finding.begins_at());
        let at = self.findings.partition_point(|known| key(known) < key(&finding));
        self.findings.insert(at, finding);
        true
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
    /// Whether there are incidents elsewhere, which must be asked after before one is told.
    is_sharded: bool,
    questions: BTreeMap<StoryId, BTreeSet<Entity>>,
    changes: Changes,
    waiting: Waiting,
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
            is_sharded: false,
            questions: BTreeMap::new(),
            changes: Changes::default(),
            waiting: Waiting::default(),
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
    /// opens one; incidents that it joins to each other merge into the oldest. `own` are the events
    /// of its evidence that no finding cited before: they are the incident's, others refer to them.
    /// A change opens none: it waits for one that it may explain.
    pub fn admit(
        &mut self,
        finding: Finding,
        own: Vec<Arc<Event>>,
        now: Timestamp,
    ) -> Vec<Telling> {
        if is_candidate(&finding) {
            self.wait(finding, own, now);
            return Vec::new();
        }
        // It waits no longer: something was seen to follow in its own trace.
        self.waiting.forget(&finding.id, &mut self.changes);
        let related = self.candidates(&finding);
        let Some(oldest) = related.first().copied() else {
            let mut told = self.make_room(now);
            told.extend(self.open(finding, own, now));
            return told;
        };
        let mut told = Vec::new();
        for younger in related.into_iter().skip(1) {
            told.extend(self.merge(younger, oldest, now));
        }
        self.take(finding, own, oldest);
        if let Some(incident) = self.open.get_mut(&oldest) {
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

    fn open(&mut self, finding: Finding, own: Vec<Arc<Event>>, now: Timestamp) -> Option<Telling> {
        let id = StoryId::new(now, seed(&finding));
        let predecessor = self.predecessor(&finding, now);
        let incident = Incident {
            id,
            opened_at: now,
            predecessor,
            findings: Vec::new(),
            further: 0,
            entities: BTreeSet::new(),
            events: Vec::new(),
            owned: BTreeSet::new(),
            evidence: Vec::new(),
            telling: 0,
            told_at: now,
            news_at: now,
            is_dirty: false,
            is_told: false,
            ask_at: now.after(elsewhere::ASK_AGAIN),
            asks: 0,
            parting: None,
        };
        self.open.insert(id, incident);
        self.take(finding, own, id);
        let incident = self.open.get_mut(&id).filter(|_| !self.is_sharded)?;
        incident.is_dirty = false;
        incident.tell(State::Opened, now, self.rules.limits())
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

    /// Hands a finding to an open incident, and indexes what it brings.
    fn take(&mut self, finding: Finding, own: Vec<Arc<Event>>, id: StoryId) {
        // An incident without a finding is none, so the first one always has room.
        let findings_max = self.rules.limits().incident_findings_max.max(1);
        let Some(incident) = self.open.get_mut(&id) else { return };
        let (touches, waits) = (finding.touches.clone(), is_candidate(&finding));
        let events: Vec<_> = finding.evidence.iter().map(|evidence| evidence.event).collect();
        self.changes.note(id);
        if !incident.take(finding, findings_max) || waits {
            return;
        }
        incident.owned.extend(own.iter().map(|event| event.id));
        incident.evidence.extend(own);
        for entity in touches.iter().cloned() {
            self.by_entity.entry(entity.clone()).or_default().insert(id);
            if self.is_sharded && !incident.entities.contains(&entity) {
                self.questions.entry(id).or_default().insert(entity.clone());
            }
            incident.entities.insert(entity);
        }
        for event in events {
            if let Entry::Vacant(vacant) = self.by_event.entry(event) {
                vacant.insert(id);
                incident.events.push(event);
            }
        }
        self.bring_waiting(&touches, id);
    }

    fn unindex(&mut self, incident: &Incident) {
        for entity in &incident.entities {
            self.leave(entity, incident.id);
        }
        for event in &incident.events {
            self.by_event.remove(event);
        }
    }

    fn leave(&mut self, entity: &Entity, id: StoryId) {
        if let Some(ids) = self.by_entity.get_mut(entity) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_entity.remove(entity);
            }
        }
    }

    fn merge(&mut self, younger: StoryId, into: StoryId, now: Timestamp) -> Option<Telling> {
        let mut merged = self.end(younger)?;
        // Nobody has heard of one that waits for an answer: it goes without a word.
        let told = if merged.is_told || !self.is_sharded {
            merged.tell(State::Merged { into }, now, self.rules.limits())
        } else {
            None
        };
        for finding in merged.findings {
            self.take(finding, Vec::new(), into);
        }
        if let Some(incident) = self.open.get_mut(&into) {
            incident.owned.extend(merged.owned);
            incident.evidence.extend(merged.evidence);
            incident.further += merged.further;
            incident.predecessor = incident.predecessor.max(merged.predecessor);
        }
        told
    }

    /// Takes back a finding that a better one about the same thing replaces.
    pub fn retract(&mut self, id: &FindingId) {
        self.waiting.forget(id, &mut self.changes);
        // A finding touches its subject.
        let touching = self.by_entity.get(&id.subject).cloned().unwrap_or_default();
        for story in touching {
            let Some(incident) = self.open.get_mut(&story) else { continue };
            let others = incident.findings.iter().any(|it| it.id != *id && !is_candidate(it));
            let known = incident.findings.iter().any(|finding| finding.id == *id);
            if !known || !others {
                continue;
            }
            incident.findings.retain(|finding| finding.id != *id);
            incident.is_dirty = true;
            self.changes.note(story);
            // Its events stay the incident's: they were told in it.
            let held = incident.findings.iter().filter(|finding| !is_candidate(finding));
            let touches: BTreeSet<_> = held.flat_map(|it| &it.touches).cloned().collect();
            for entity in std::mem::replace(&mut incident.entities, touches.clone()) {
                if !touches.contains(&entity) {
                    self.leave(&entity, story);
                }
            }
        }
    }

    /// Lets time pass: tells amendments that are due, resolves what is quiet.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Telling> {
        let limits = self.rules.limits();
        let quiet = now.before(limits.quiet);
        let ended: Vec<_> =
            self.open.values().filter(|it| it.news_at <= quiet).map(|it| it.id).collect();
        let ended: Vec<_> = ended.into_iter().filter(|id| self.may_part(*id, now)).collect();
        let mut told: Vec<_> = ended.into_iter().filter_map(|id| self.resolve(id, now)).collect();
        let due = now.before(self.rules.limits().amend_every);
        told.extend(self.tell_unasked(now));
        self.ask_again(now);
        told.extend(self.amend(|incident| incident.told_at <= due, now));
        self.forget_resolved(now);
        told
    }

    /// Tells every amendment that waits for its time: nothing more will come.
    pub fn finish(&mut self, now: Timestamp) -> Vec<Telling> {
        self.amend(|_| true, now)
    }

    fn amend(&mut self, is_due: impl Fn(&Incident) -> bool, now: Timestamp) -> Vec<Telling> {
        let limits = self.rules.limits();
        let is_due = |it: &&mut Incident| it.is_told && it.is_dirty && is_due(it);
        let due = self.open.values_mut().filter(is_due);
        due.filter_map(|incident| {
            self.changes.note(incident.id);
            incident.is_dirty = false;
            incident.told_at = now;
            incident.tell(State::Amended, now, limits)
        })
        .collect()
    }

    /// Takes an incident out: what it was is the caller's.
    fn end(&mut self, id: StoryId) -> Option<Incident> {
        let incident = self.open.remove(&id)?;
        self.unindex(&incident);
        self.questions.remove(&id);
        self.changes.end(id);
        Some(incident)
    }

    fn resolve(&mut self, id: StoryId, now: Timestamp) -> Option<Telling> {
        let mut incident = self.end(id)?;
        let held = incident.findings.iter().filter(|finding| !is_candidate(finding));
        for entity in held.flat_map(|finding| &finding.touches) {
            self.resolved.insert(entity.clone(), Resolved { id, at: now });
        }
        self.changes.resolved();
        incident.tell(State::Resolved, now, self.rules.limits())
    }

    fn make_room(&mut self, now: Timestamp) -> Vec<Telling> {
        if self.open.len() < self.rules.limits().incidents_open_max {
            return Vec::new();
        }
        let quietest = self.open.values().min_by_key(|it| (it.news_at, it.id)).map(|it| it.id);
        quietest.and_then(|id| self.resolve(id, now)).into_iter().collect()
    }

    fn forget_resolved(&mut self, now: Timestamp) {
        let horizon = now.before(self.rules.limits().successor_horizon);
        self.waiting.forget_past(now, &mut self.changes);
        let before = self.resolved.len();
        self.resolved.retain(|_, resolved| resolved.at >= horizon);
        if self.resolved.len() != before {
            self.changes.resolved();
        }
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
