//! Every answer is complete, or says which shards it lacks; and it comes in time.
//!
//! A refusal names its reason. No answer at all is allowed only while a fault lasts.

use crate::record::{QueryAnswer, QuerySeen, Record};

pub(super) fn check(record: &Record) -> Vec<String> {
    record.queries.iter().filter_map(|query| check_query(record, query)).collect()
}

fn check_query(record: &Record, query: &QuerySeen) -> Option<String> {
    let (at, took, needed) = (query.at, query.took, query.shards_needed);
    let is_disturbed = record.is_disturbed(at, at.saturating_add(took));
    match &query.answer {
        QueryAnswer::Answered { is_complete, answered, stale, missing } => {
            let named = answered + stale + missing;
            if named < needed {
                Some(format!("an answer at {at:?} names {named} of {needed} shards"))
            } else if *is_complete && (*stale > 0 || *missing > 0) {
                Some(format!("an answer at {at:?} says complete with {missing} shards missing"))
            } else if took > record.bounds.answer_max && !is_disturbed {
                Some(format!("an answer at {at:?} took {took:?}"))
            } else {
                None
            }
        }
        QueryAnswer::Refused(_) | QueryAnswer::Nothing if is_disturbed => None,
        QueryAnswer::Refused(reason) => Some(format!("a question at {at:?} was refused: {reason}")),
        QueryAnswer::Nothing => Some(format!("a question at {at:?} got no answer")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{fault::FaultKind, invariants::sample, record::FaultSeen};

    fn asked(answer: QueryAnswer) -> Record {
        let mut record = sample::good();
        let took = Duration::from_millis(3);
        record.queries.push(QuerySeen {
            at: Duration::from_secs(1),
            took,
            shards_needed: 16,
            answer,
        });
        record
    }

    const fn answered(is_complete: bool, answered: usize, missing: usize) -> QueryAnswer {
        QueryAnswer::Answered { is_complete, answered, stale: 0, missing }
    }

    #[test]
    fn silently_partial_answers_are_seen() {
        let cases = [
            (answered(true, 16, 0), 0),
            (answered(false, 11, 5), 0),
            (answered(true, 11, 5), 1),
            (answered(true, 11, 0), 1),
            (answered(false, 11, 0), 1),
            (QueryAnswer::Nothing, 1),
            (QueryAnswer::Refused("busy".into()), 1),
        ];
        for (answer, violations) in cases {
            assert_eq!(check(&asked(answer.clone())).len(), violations, "{answer:?}");
        }
    }

    #[test]
    fn silence_is_allowed_while_a_fault_lasts() {
        let mut record = asked(QueryAnswer::Nothing);
        record.faults.push(FaultSeen {
            at: Duration::ZERO,
            ended: None,
            kind: FaultKind::KillAllServers,
            targets: Vec::new(),
        });
        assert_eq!(check(&record), [""; 0]);
    }

    #[test]
    fn a_late_answer_is_seen() {
        let mut record = asked(answered(true, 16, 0));
        record.bounds.answer_max = Duration::from_millis(1);
        assert_eq!(check(&record).len(), 1);
    }
}
