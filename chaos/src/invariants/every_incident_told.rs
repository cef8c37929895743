//! Every incident is told with all its evidence, and nothing else is told.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::EventId;

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let stories = record.stories();
    let mut told: BTreeMap<u32, BTreeSet<EventId>> = BTreeMap::new();
    let mut violations = Vec::new();
    for (heir, joined) in stories.joined() {
        let cited: BTreeSet<EventId> = joined.iter().flat_map(|told| told.cited()).collect();
        let mut incidents = BTreeSet::new();
        for event in cited {
            let number = record.expected.incident_of(event);
            let incident =
                number.and_then(|number| Some((number, record.expected.incidents.get(&number)?)));
            match incident {
                Some((number, incident)) if incident.citable.contains(&event) => {
                    incidents.insert(number);
                    told.entry(number).or_default().insert(event);
                }
                Some(_) | None => {
                    violations.push(format!("story {heir} cites {event}, which is no evidence"));
                }
            }
        }
        if incidents.len() > 1 {
            violations.push(format!("story {heir} is of the incidents {incidents:?}"));
        }
    }
    let is_acked = |id: &EventId| record.sent.get(id).is_some_and(|sent| sent.acked.is_some());
    for (number, incident) in &record.expected.incidents {
        let told = told.remove(number).unwrap_or_default();
        let untold = incident.citable.iter().filter(|id| is_acked(id) && !told.contains(id));
        let untold = untold.count();
        if untold > 0 {
            let shape = incident.shape.name();
            violations.push(format!("incident {number} ({shape}): {untold} events are not told"));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use tapio_model::State;

    use super::*;
    use crate::invariants::sample;

    #[test]
    fn an_incident_without_story_is_seen() {
        let mut record = sample::good();
        record.tellings.clear();
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn an_incident_that_was_never_acknowledged_need_not_be_told() {
        let mut record = sample::good();
        record.tellings.clear();
        record.sent.values_mut().for_each(|sending| sending.acked = None);
        assert_eq!(check(&record), [""; 0]);
    }

    #[test]
    fn a_story_of_nothing_is_seen() {
        let mut record = sample::good();
        let hum = sample::EVIDENCE..sample::EVIDENCE + 1;
        sample::tell(&mut record, 2, 0, State::Opened, hum);
        assert_eq!(check(&record).len(), 1);
    }
}
