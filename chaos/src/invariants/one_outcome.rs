//! Every event has exactly one outcome; each repeat of it may have one of its own.

use std::collections::BTreeMap;

use tapio_model::{EventId, Outcome};

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let mut outcomes: BTreeMap<EventId, Vec<Outcome>> = BTreeMap::new();
    for (event, outcome) in record.audits.iter().flat_map(|audit| &audit.outcomes) {
        outcomes.entry(*event).or_default().push(*outcome);
    }
    let violations = outcomes.into_iter().filter_map(|(event, outcomes)| {
        let Some(sending) = record.sent.get(&event) else {
            return Some(format!("event {event} has an outcome and was never sent"));
        };
        // A repeat that comes after its trace has closed is late: nobody knows it any more.
        let is_first = |outcome: &&Outcome| !matches!(outcome, Outcome::Duplicate | Outcome::Late);
        let firsts = outcomes.iter().filter(is_first).count();
        let copies = usize::try_from(sending.copies).unwrap_or(usize::MAX);
        let is_wrong = firsts > 1 || outcomes.len() > copies;
        is_wrong.then(|| {
            let copies = sending.copies;
            format!("event {event}, sent {copies} times, became {outcomes:?}")
        })
    });
    violations.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::sample;

    #[test]
    fn two_outcomes_are_one_too_many() {
        let mut record = sample::good();
        let (event, _) = record.audits[0].outcomes[0];
        record.audits[0].outcomes.push((event, Outcome::Expired));
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn repeats_have_outcomes_of_their_own_and_no_more() {
        for outcome in [Outcome::Duplicate, Outcome::Late] {
            let mut record = sample::good();
            let (event, _) = record.audits[0].outcomes[0];
            record.audits[0].outcomes.push((event, outcome));
            assert_eq!(check(&record).len(), 1, "{outcome:?}");
            record.sent.get_mut(&event).unwrap().copies = 2;
            assert_eq!(check(&record), [""; 0], "{outcome:?}");
        }
    }

    #[test]
    fn an_event_that_nobody_sent_has_no_outcome() {
        let mut record = sample::good();
        let foreign = EventId::from_bytes([9; 16]);
        record.audits[0].outcomes.push((foreign, Outcome::Expired));
        assert_eq!(check(&record).len(), 1);
    }
}
