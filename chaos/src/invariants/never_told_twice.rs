//! No incident is told twice: one opening, and one content for each telling of a story.
//!
//! A story that names its predecessor goes on with the same trouble after it was resolved. That is
//! no second telling, if it has events of its own and a fault held them up for so long.

use std::collections::BTreeMap;

use tapio_model::{EventId, StoryId};

use crate::record::{Record, Told, ToldStories};

pub(super) fn check(record: &Record) -> Vec<String> {
    let stories = record.stories();
    let mut violations: Vec<String> = Vec::new();
    for told in stories.by_id.values() {
        let repeats = told.repeats.iter().filter_map(|repeat| {
            let number = repeat.telling.story.telling;
            let first = told.tellings.get(&number)?;
            let id = told.id;
            (first.telling != repeat.telling)
                .then(|| format!("telling {number} of story {id} has two contents"))
        });
        violations.extend(repeats);
    }
    for alarm in record.alarms.iter().filter(|alarm| alarm.count > 0) {
        let (node, count) = (&alarm.node, alarm.count);
        violations.push(format!("{node} wanted to tell otherwise what was told, {count} times"));
    }
    let mut by_incident: BTreeMap<u32, Vec<StoryId>> = BTreeMap::new();
    for (heir, joined) in stories.joined() {
        let events = joined.iter().flat_map(|told| told.owned());
        let mut numbers: Vec<_> = events.filter_map(|id| record.expected.incident_of(id)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            by_incident.entry(number).or_default().push(heir);
        }
    }
    for (number, told) in by_incident.into_iter().filter(|(_, told)| told.len() > 1) {
        let is_continued = is_held_up(record, number) && is_chain(&stories, &told);
        if !is_continued {
            violations.push(format!("incident {number} was told in {told:?}"));
        }
    }
    violations
}

/// Says whether each of the stories but the oldest names an older one of them as its predecessor.
fn is_chain(stories: &ToldStories<'_>, told: &[StoryId]) -> bool {
    let follows = |id: &StoryId| {
        let last = stories.by_id.get(id).and_then(Told::last);
        let before = last.and_then(|story| story.predecessor).map(|before| stories.end_of(before));
        before.is_some_and(|before| before < *id && told.contains(&before))
    };
    told.iter().skip(1).all(follows)
}

/// Says whether a fault may have held events of an incident up.
fn is_held_up(record: &Record, number: u32) -> bool {
    let Some(incident) = record.expected.incidents.get(&number) else { return false };
    let sent = |id: &EventId| record.sent.get(id);
    let from = incident.citable.iter().filter_map(sent).map(|sending| sending.at).min();
    let to = incident.citable.iter().filter_map(sent).filter_map(|sending| sending.acked).max();
    from.zip(to).is_some_and(|(from, to)| record.is_disturbed(from, to))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tapio_model::State;

    use super::*;
    use crate::{
        fault::FaultKind,
        invariants::sample,
        record::{Alarm, FaultSeen},
    };

    #[test]
    fn two_openings_of_one_incident_are_told_twice() {
        let mut record = sample::good();
        sample::tell(&mut record, 2, 0, State::Opened, 0..1);
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn two_contents_of_one_telling_are_told_twice() {
        let mut record = sample::good();
        let mut again = record.tellings[0].clone();
        record.tellings.push(again.clone());
        assert_eq!(check(&record), [""; 0], "the same bytes again are the same telling");
        again.telling.story.title = "otherwise".into();
        record.tellings.push(again);
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn an_alarm_of_a_node_is_a_second_telling() {
        let alarm = Alarm { at: Duration::ZERO, node: "tapio-1".into(), count: 1 };
        let record = Record { alarms: vec![alarm], ..sample::good() };
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn a_successor_is_a_second_telling_unless_a_fault_held_it_up() {
        let mut record = sample::good();
        sample::tell(&mut record, 2, 0, State::Opened, 0..1);
        record.tellings.last_mut().unwrap().telling.story.predecessor = Some(sample::story_id(1));
        assert_eq!(check(&record).len(), 1);
        record.faults.push(FaultSeen {
            at: Duration::ZERO,
            ended: None,
            kind: FaultKind::KillNode,
            targets: Vec::new(),
        });
        assert_eq!(check(&record), [""; 0]);
        record.tellings.last_mut().unwrap().telling.story.predecessor = None;
        assert_eq!(check(&record).len(), 1);
    }
}
