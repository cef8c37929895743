//! Changes of late that wait for an incident in which somebody fails at what was changed.

use std::{collections::BTreeMap, sync::Arc};

use tapio_model::{Entity, Event, Finding, FindingId, StoryId, Timestamp};

use super::Incidents;
use crate::candidate::{concerns_any, is_candidate};

/// Changes that wait. They are not written down: who owns the shard next tells an incident of its
/// first minute by what is seen of it, without them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    changes: BTreeMap<FindingId, Change>,
}

/// A change, the events it rests on, and how long it waits.
#[derive(Debug, Clone)]
struct Change {
    finding: Finding,
    events: Vec<Arc<Event>>,
    until: Timestamp,
}

impl Waiting {
    /// Keeps a change; of too many the one goes that has waited longest.
    fn keep(&mut self, change: Change, changes_max: usize) {
        self.changes.insert(change.finding.id.clone(), change);
        while self.changes.len() > changes_max {
            let longest = self.changes.iter().min_by_key(|(id, it)| (it.until, *id));
            let Some(longest) = longest.map(|(id, _)| id.clone()) else { return };
            self.changes.remove(&longest);
        }
    }

    pub(super) fn forget(&mut self, id: &FindingId) {
        self.changes.remove(id);
    }

    pub(super) fn forget_past(&mut self, now: Timestamp) {
        self.changes.retain(|_, change| change.until > now);
    }
}

impl Incidents {
    /// Lets a change wait, and brings it into the incidents that touch what was changed.
    pub(super) fn wait(&mut self, finding: Finding, events: Vec<Arc<Event>>, now: Timestamp) {
        let change = Change { finding, events, until: now.after(self.rules.limits().quiet * 2) };
        for id in self.candidates(&change.finding) {
            self.bring(&change, id);
        }
        let changes_max = self.rules.limits().incidents_open_max;
        self.waiting.keep(change, changes_max);
    }

    /// Brings the changes into an incident that touch what one of its findings touches.
    pub(super) fn bring_waiting(&mut self, touched: &[Entity], id: StoryId) {
        let shares =
            |change: &&Change| change.finding.touches.iter().any(|thing| touched.contains(thing));
        let known: Vec<_> = self.waiting.changes.values().filter(shares).cloned().collect();
        for change in known {
            self.bring(&change, id);
        }
    }

    /// Brings a change into an incident. What it touches joins nothing else: a change is no trouble
    /// of its own.
    fn bring(&mut self, change: &Change, id: StoryId) {
        let findings_max = self.rules.limits().incident_findings_max;
        let Some(incident) = self.open.get_mut(&id) else { return };
        let Change { finding, events, .. } = change;
        // What was decided of it stays.
        let is_known =
            |known: &Finding| known == finding || (known.id == finding.id && !is_candidate(known));
        if incident.findings.iter().any(is_known) || incident.findings.len() >= findings_max {
            return;
        }
        if incident.take(finding.clone(), findings_max) {
            incident.evidence.extend(events.iter().cloned());
            incident.is_dirty |= concerns_any(finding, &incident.findings);
            self.changes.note(id);
        }
    }
}
