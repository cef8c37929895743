//! Changes of late that wait for an incident in which somebody fails at what was changed.

use std::{collections::BTreeMap, sync::Arc};

use tapio_model::{Entity, Event, Finding, FindingId, StoryId, Timestamp, WaitingState};

use super::{Incidents, written::Changes};
use crate::candidate::{concerns_any, is_candidate};

/// Changes that wait. Each is written down by itself: they may be many, and one more must not have
/// all of them written again.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    changes: BTreeMap<FindingId, WaitingState>,
    /// The highest number that one of them has or had.
    last: u64,
}

impl Waiting {
    /// Returns the number of a change: the one it has, or the next one.
    fn number(&self, id: &FindingId) -> u64 {
        self.changes.get(id).map_or(self.last + 1, |known| known.number)
    }

    /// Keeps a change; of too many the one goes that has waited longest. One that is told again as
    /// it is known goes on waiting as it did, and is not written again.
    fn keep(&mut self, change: WaitingState, changes_max: usize, cut: &mut Changes) {
        let id = change.finding.id.clone();
        if self.changes.get(&id).is_some_and(|known| is_told_by(&change, known)) {
            return;
        }
        cut.waits(&id);
        self.put(id, change);
        while self.changes.len() > changes_max {
            let longest = self.changes.iter().min_by_key(|(id, it)| (it.until, *id));
            let Some(longest) = longest.map(|(id, _)| id.clone()) else { return };
            self.forget(&longest, cut);
        }
    }

    fn put(&mut self, id: FindingId, change: WaitingState) {
        self.last = self.last.max(change.number);
        self.changes.insert(id, change);
    }

    pub(super) fn forget(&mut self, id: &FindingId, cut: &mut Changes) {
        if let Some(change) = self.changes.remove(id) {
            cut.waited(change.number);
        }
    }

    pub(super) fn forget_past(&mut self, now: Timestamp, cut: &mut Changes) {
        self.changes.retain(|_, change| {
            let waits = change.until > now;
            if !waits {
                cut.waited(change.number);
            }
            waits
        });
    }

    /// Returns what is written down of a change, if it still waits.
    pub(super) fn state(&self, id: &FindingId) -> Option<WaitingState> {
        self.changes.get(id).cloned()
    }

    /// Reads a change that was written down.
    pub(super) fn restore(&mut self, change: WaitingState) {
        self.put(change.finding.id.clone(), change);
    }
}

/// Says whether a change tells nothing that is not known. An incident that was handed over brings
/// its changes along without their events.
fn is_told_by(change: &WaitingState, known: &WaitingState) -> bool {
    change.finding == known.finding && change.events.len() <= known.events.len()
}

impl Incidents {
    /// Lets a change wait, and brings it into the incidents that touch what was changed.
    pub(super) fn wait(&mut self, finding: Finding, events: Vec<Arc<Event>>, now: Timestamp) {
        let (number, limits) = (self.waiting.number(&finding.id), self.rules.limits());
        let (until, changes_max) = (now.after(limits.quiet * 2), limits.incidents_open_max);
        let change = WaitingState { number, finding, events, until };
        for id in self.candidates(&change.finding) {
            self.bring(&change, id);
        }
        self.waiting.keep(change, changes_max, &mut self.changes);
    }

    /// Brings the changes into an incident that touch what one of its findings touches.
    pub(super) fn bring_waiting(&mut self, touched: &[Entity], id: StoryId) {
        let shares = |change: &&WaitingState| {
            change.finding.touches.iter().any(|thing| touched.contains(thing))
        };
        let known: Vec<_> = self.waiting.changes.values().filter(shares).cloned().collect();
        for change in known {
            self.bring(&change, id);
        }
    }

    /// Brings a change into an incident. What it touches joins nothing else: a change is no trouble
    /// of its own.
    fn bring(&mut self, change: &WaitingState, id: StoryId) {
        let findings_max = self.rules.limits().incident_findings_max;
        let Some(incident) = self.open.get_mut(&id) else { return };
        let WaitingState { finding, events, .. } = change;
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
