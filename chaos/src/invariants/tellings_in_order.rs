//! The tellings of a story are numbered from 0 without a gap, come from one shard, end once, and
//! what ended is not told again.

use crate::record::{Record, Told};

pub(super) fn check(record: &Record) -> Vec<String> {
    let stories = record.stories();
    stories.by_id.values().flat_map(|told| check_story(record, told)).collect()
}

fn check_story(record: &Record, told: &Told<'_>) -> Vec<String> {
    let id = told.id;
    let mut violations = Vec::new();
    let is_gapless = (0..).zip(told.tellings.keys()).all(|(want, number)| want == *number);
    if !is_gapless {
        let numbers: Vec<_> = told.tellings.keys().collect();
        violations.push(format!("story {id} has the tellings {numbers:?}"));
    }
    let shards: std::collections::BTreeSet<_> =
        told.tellings.values().map(|heard| heard.shard).collect();
    if shards.len() > 1 {
        violations.push(format!("story {id} was told by the shards {shards:?}"));
    }
    let mut open = told.tellings.values().map(|heard| heard.telling.story.state.is_open());
    let is_ended = open.next_back().is_some_and(|is_open| !is_open);
    if open.any(|is_open| !is_open) {
        violations.push(format!("story {id} was told again after its end"));
    }
    if record.is_settled && !is_ended {
        violations.push(format!("story {id} has no end"));
    }
    violations
}

#[cfg(test)]
mod tests {
    use tapio_model::{ShardId, State};

    use super::*;
    use crate::invariants::sample;

    #[test]
    fn a_gap_a_second_end_and_no_end_are_seen() {
        let mut gap = sample::good();
        gap.tellings.remove(0);
        let mut after = sample::good();
        sample::tell(&mut after, 1, 2, State::Resolved, 0..1);
        let mut open = sample::good();
        open.tellings.pop();
        let mut moved = sample::good();
        moved.tellings[0].shard = ShardId::new(15);
        for (what, record) in [("gap", gap), ("after", after), ("open", open), ("moved", moved)] {
            assert_eq!(check(&record).len(), 1, "{what}");
        }
    }

    #[test]
    fn a_story_may_be_open_while_the_run_goes_on() {
        let mut record = sample::good();
        record.tellings.pop();
        record.is_settled = false;
        assert_eq!(check(&record), [""; 0]);
    }
}
