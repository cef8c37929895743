//! Every event that the log has taken has an outcome, and what a story is said to cite is cited.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::{EventId, Outcome};

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let mut outcomes: BTreeMap<EventId, Outcome> = BTreeMap::new();
    for (event, outcome) in record.audits.iter().flat_map(|audit| &audit.outcomes) {
        // A repeat says nothing of what became of the event it repeats.
        if *outcome != Outcome::Duplicate && outcomes.get(event) != Some(&Outcome::Story) {
            outcomes.insert(*event, *outcome);
        }
    }
    let stories = record.stories();
    let cited: BTreeSet<EventId> = stories.by_id.values().flat_map(|told| told.cited()).collect();
    let lost = record.acked().filter_map(|(event, sending)| {
        let shard = sending.shard;
        match outcomes.get(&event) {
            None => Some(format!("event {event} of shard {shard} has no outcome")),
            Some(Outcome::Open) => Some(format!("event {event} of shard {shard} is still open")),
            Some(Outcome::Story) if !cited.contains(&event) => {
                Some(format!("event {event} of shard {shard} is in a story that was not told"))
            }
            Some(
                Outcome::Story
                | Outcome::Expired
                | Outcome::Duplicate
                | Outcome::Late
                | Outcome::DeadLetter
                | Outcome::Shed(_),
            ) => None,
        }
    });
    lost.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::sample;

    #[test]
    fn an_event_without_outcome_is_lost() {
        let mut record = sample::good();
        let (event, _) = record.audits[0].outcomes.pop().unwrap();
        assert!(check(&record)[0].contains(&event.to_string()));
    }

    #[test]
    fn a_repeat_alone_is_no_outcome() {
        let mut record = sample::good();
        record.audits[0].outcomes[0].1 = Outcome::Duplicate;
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn evidence_of_a_story_nobody_told_is_lost() {
        let mut record = sample::good();
        record.tellings.clear();
        assert_eq!(check(&record).len(), sample::EVIDENCE);
    }

    #[test]
    fn what_was_not_acknowledged_may_be_lost() {
        let mut record = sample::good();
        let (event, _) = record.audits[0].outcomes.pop().unwrap();
        record.sent.get_mut(&event).unwrap().acked = None;
        assert_eq!(check(&record), [""; 0]);
    }
}
