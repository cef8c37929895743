//! Incidents of other shards: asking after them, joining them, being joined by them.
//!
//! A question only reads, and its answer may be out of date when it comes; what changes hands goes
//! through the outbox of a root, once. The older id wins, so two shards that ask each other agree.

use std::{collections::BTreeSet, time::Duration};

use tapio_model::{Entity, IncidentState, State, StoryId, Telling, Timestamp};

use super::{IncidentRef, Incidents, written::Changes};

/// How long an incident waits for the answer before it is told. A person waits for it, and what
/// turns out to belong elsewhere can still merge.
const ANSWER_WAIT: Duration = Duration::from_millis(250);

/// How long after it was opened an incident asks a second time; each further wait is twice as long.
/// An answer may be lost, and an incident elsewhere may have been opened in the same moment.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long a quiet incident waits at most until every shard has said that it knows nothing of it.
/// A shard may be between two owners for as long as a server's election takes.
const PART_WAIT: Duration = Duration::from_secs(10);

/// How long a quiet incident goes on asking at least. When a server is back that held findings up,
/// they come a moment after the time that made the incident quiet.
const PART_MIN: Duration = Duration::from_secs(2);

/// How an incident that is quiet takes its leave: what it belongs together with may have been opened
/// elsewhere while nobody owned one of the two shards, and once it is resolved they never meet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parting {
    since: Timestamp,
    asked_at: Timestamp,
    /// Whether every shard has answered a late enough question, and none knows what belongs to it.
    is_free: bool,
}

/// What an incident wants to know of other shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub story: StoryId,
    /// What it touches, as far as it has not asked after it before.
    pub entities: Vec<Entity>,
    /// Around which time.
    pub at: Timestamp,
}

/// An incident on its way into another shard's.
#[derive(Debug, Clone, PartialEq)]
pub struct Handed {
    /// What it was.
    pub incident: IncidentState,
    /// Where it goes.
    pub into: StoryId,
}

/// What follows from an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Joined {
    /// What is told.
    pub told: Vec<Telling>,
    /// The incident that leaves for another shard.
    pub handed: Option<Handed>,
    /// Younger incidents elsewhere that should come here: their shards are to be told.
    pub younger: Vec<StoryId>,
}

impl Incidents {
    /// Makes incidents of one shard among several: none is told before the others were asked.
    #[must_use]
    pub fn sharded(rules: std::sync::Arc<crate::Rules>) -> Self {
        Self { is_sharded: true, changes: Changes::followed(), ..Self::new(rules) }
    }

    /// Takes what the incidents want to know of other shards.
    pub fn take_questions(&mut self) -> Vec<Question> {
        let questions = std::mem::take(&mut self.questions);
        let asked = questions.into_iter().filter_map(|(story, entities)| {
            let incident = self.open.get(&story)?;
            let entities = entities.into_iter().collect();
            Some(Question { story, entities, at: incident.ends_at() })
        });
        asked.collect()
    }

    /// Takes the answer in: what open incidents elsewhere touch what `story` touches, and whether
    /// every shard has answered.
    pub fn answer(
        &mut self,
        story: StoryId,
        (related, is_complete): (&[IncidentRef], bool),
        now: Timestamp,
    ) -> Joined {
        let mut joined = Joined::default();
        let Some(incident) = self.open.get_mut(&story) else { return joined };
        if let Some(parting) = &mut incident.parting {
            let is_late = parting.asked_at >= parting.since.after(PART_MIN);
            parting.is_free |= is_complete && related.is_empty() && is_late;
        }
        let elsewhere: BTreeSet<_> = related.iter().map(|incident| incident.id).collect();
        match elsewhere.first().copied().filter(|oldest| *oldest < story) {
            Some(oldest) => {
                let (told, handed) = self.hand_over(story, oldest, now);
                joined.told.extend(told);
                joined.handed = handed;
            }
            None => {
                joined.told.extend(self.tell_first(story, now));
                joined.younger = elsewhere.into_iter().filter(|id| *id > story).collect();
            }
        }
        joined
    }

    /// Gives an incident away to an older one elsewhere, if it is still here.
    pub fn hand_over(
        &mut self,
        story: StoryId,
        into: StoryId,
        now: Timestamp,
    ) -> (Option<Telling>, Option<Handed>) {
        if into >= story || self.open.contains_key(&into) {
            return (None, None);
        }
        let Some(mut incident) = self.end(story) else { return (None, None) };
        // Nobody has heard of one that was never told: it goes without a word.
        let told = incident
            .is_told
            .then(|| incident.tell(State::Merged { into }, now, self.rules.limits()));
        (told.flatten(), Some(Handed { incident: incident.to_state(), into }))
    }

    /// Takes an incident over that another shard gave away. If the one it was meant for is over,
    /// its findings join or open another.
    pub fn take_over(&mut self, handed: Handed, now: Timestamp) -> Vec<Telling> {
        let Handed { incident, into } = handed;
        let IncidentState { findings, owned, evidence, further, .. } = incident;
        let mut told = Vec::new();
        let mut owner = None;
        for finding in findings {
            let touched = finding.touches.clone();
            let cited: Vec<_> = finding.evidence.iter().map(|evidence| evidence.event).collect();
            if self.open.contains_key(&into) {
                self.take(finding, Vec::new(), into);
            } else {
                told.extend(self.admit(finding, Vec::new(), now));
            }
            // Which incident took it in, its events say; touching the same is not joining.
            let mut joined = cited.iter().filter_map(|event| self.by_event.get(event));
            let mut known = touched.iter().filter_map(|entity| self.by_entity.get(entity));
            owner = owner.or_else(|| joined.next().copied());
            owner = owner.or_else(|| known.find_map(|ids| ids.first().copied()));
        }
        let owner = if self.open.contains_key(&into) { Some(into) } else { owner };
        if let Some((owner, incident)) =
            owner.and_then(|id| self.open.get_mut(&id).map(|incident| (id, incident)))
        {
            self.changes.note(owner);
            incident.owned.extend(owned);
            incident.evidence.extend(evidence);
            incident.further += further;
            incident.is_dirty = true;
            incident.news_at = now;
        }
        told
    }

    /// Lets every open incident ask again whose time has come.
    pub(super) fn ask_again(&mut self, now: Timestamp) {
        if !self.is_sharded {
            return;
        }
        for incident in self.open.values_mut().filter(|incident| incident.ask_at <= now) {
            incident.asks += 1;
            incident.ask_at = now.after(ASK_AGAIN.saturating_mul(1 << incident.asks.min(6)));
            self.questions.entry(incident.id).or_default().extend(incident.entities.clone());
        }
    }

    /// Says whether a quiet incident may be resolved. One among several shards goes on asking them for
    /// a while, and until all have answered.
    pub(super) fn may_part(&mut self, story: StoryId, now: Timestamp) -> bool {
        let Some(incident) = self.open.get_mut(&story).filter(|_| self.is_sharded) else {
            return true;
        };
        // What came since begins it anew.
        let parting = incident.parting.filter(|parting| parting.since >= incident.news_at);
        if parting.is_some_and(|it| it.is_free || it.since <= now.before(PART_WAIT)) {
            return true;
        }
        if parting.is_none_or(|it| it.asked_at <= now.before(ASK_AGAIN)) {
            let since = parting.map_or(now, |parting| parting.since);
            incident.parting = Some(Parting { since, asked_at: now, is_free: false });
            self.questions.entry(story).or_default().extend(incident.entities.clone());
        }
        false
    }

    /// Tells an incident for the first time, if it is still to be told.
    fn tell_first(&mut self, story: StoryId, now: Timestamp) -> Option<Telling> {
        let incident = self.open.get_mut(&story).filter(|incident| !incident.is_told)?;
        self.changes.note(story);
        incident.is_dirty = false;
        incident.told_at = now;
        incident.tell(State::Opened, now, self.rules.limits())
    }

    /// Tells incidents whose question nobody has answered in time.
    pub(super) fn tell_unasked(&mut self, now: Timestamp) -> Vec<Telling> {
        let begin = now.before(ANSWER_WAIT);
        let waiting = self.open.values().filter(|it| !it.is_told && it.opened_at <= begin);
        let waiting: Vec<_> = waiting.map(|incident| incident.id).collect();
        waiting.into_iter().filter_map(|story| self.tell_first(story, now)).collect()
    }
}
