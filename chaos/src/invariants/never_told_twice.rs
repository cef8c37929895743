//! No incident is told twice: one opening, and one content for each telling of a story.
//!
//! A story that names its predecessor goes on with the same trouble after it was resolved. That is
//! no second telling, if it has events of its own and a fault held them up for so long. Nor is a
//! story that begins after the other has ended, if the log itself took the parts of the incident
//! further apart than a story stays open. Both are counted as continued.

use std::{collections::BTreeMap, time::Duration};

use tapio_model::{EventId, StoryId};

use crate::record::{Record, Told, ToldStories};

/// Shards have clocks of their own, which differ by what they have last heard of the log.
const ASKING: Duration = Duration::from_millis(500);

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
    let apart = told_apart(record, &stories).into_iter().filter(|apart| !apart.is_continued);
    violations.extend(apart.map(|Apart { number, told, .. }| {
        let (sent, told) = (sending(record, number), told_when(&stories, &told));
        format!("incident {number} ({sent}) was told in {told}")
    }));
    violations
}

/// Returns how many incidents were told in more than one story, and rightly so.
pub(super) fn continued(record: &Record) -> usize {
    let apart = told_apart(record, &record.stories()).into_iter();
    apart.filter(|apart| apart.is_continued).count()
}

/// An incident that more than one story tells of.
struct Apart {
    number: u32,
    told: Vec<StoryId>,
    is_continued: bool,
}

fn told_apart(record: &Record, stories: &ToldStories<'_>) -> Vec<Apart> {
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
    let apart = by_incident.into_iter().filter(|(_, told)| told.len() > 1);
    let apart = apart.map(|(number, told)| {
        let is_continued = is_held_up(record, number) && is_chain(stories, &told)
            || is_torn(record, number) && is_one_after_the_other(stories, &told);
        Apart { number, told, is_continued }
    });
    apart.collect()
}

/// Says whether the log took the parts of an incident further apart than a story stays open.
fn is_torn(record: &Record, number: u32) -> bool {
    let Some(incident) = record.expected.incidents.get(&number) else { return false };
    let sent = incident.citable.iter().filter_map(|id| record.sent.get(id));
    let mut acked: Vec<_> = sent.filter_map(|sending| sending.acked).collect();
    acked.sort_unstable();
    let mut gaps = acked.iter().zip(acked.iter().skip(1));
    gaps.any(|(one, next)| next.saturating_sub(*one) >= record.bounds.quiet)
}

/// Says whether each story begins once the one before it has ended.
fn is_one_after_the_other(stories: &ToldStories<'_>, told: &[StoryId]) -> bool {
    let last = |id: &StoryId| stories.by_id.get(id).and_then(Told::last);
    told.iter().zip(told.iter().skip(1)).all(|(one, next)| {
        last(one).zip(last(next)).is_some_and(|(one, next)| {
            !one.state.is_open() && one.told_at <= next.opened_at.after(ASKING)
        })
    })
}

/// Says what an incident looks like and when its events were sent and acknowledged.
fn sending(record: &Record, number: u32) -> String {
    let Some(incident) = record.expected.incidents.get(&number) else { return String::new() };
    let sent = || incident.citable.iter().filter_map(|id| record.sent.get(id));
    let first = sent().map(|sending| sending.at).min().unwrap_or_default();
    let mut acked: Vec<_> = sent().filter_map(|sending| sending.acked).collect();
    acked.dedup();
    format!("{}, sent at {first:.1?}, acknowledged at {acked:.1?}", incident.shape.name())
}

/// Says who told stories from when to when.
fn told_when(stories: &ToldStories<'_>, told: &[StoryId]) -> String {
    let say = |id: &StoryId| {
        let tellings = &stories.by_id.get(id)?.tellings;
        let (first, last) = (tellings.values().next()?, tellings.values().next_back()?);
        let (from, to, state) = (first.at, last.at, last.telling.story.state.name());
        Some(format!("{id} by shard {} from {from:.1?}, {state} at {to:.1?}", first.shard))
    };
    told.iter().filter_map(say).collect::<Vec<_>>().join(" and ")
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

    #[test]
    fn a_torn_incident_may_be_told_in_two_stories_one_after_the_other() {
        let mut record = sample::good();
        sample::tell(&mut record, 2, 0, State::Opened, 0..1);
        let later = record.bounds.quiet + Duration::from_secs(1);
        record.tellings.last_mut().unwrap().telling.story.opened_at =
            tapio_model::Timestamp::ZERO.after(later);
        assert_eq!(check(&record).len(), 1, "its parts came together");
        let torn = *record.expected.incidents[&0].citable.first().unwrap();
        record.sent.get_mut(&torn).unwrap().acked = Some(later);
        assert_eq!((check(&record), continued(&record)), (Vec::new(), 1));
        record.tellings.last_mut().unwrap().telling.story.opened_at = tapio_model::Timestamp::MIN;
        assert_eq!(check(&record).len(), 1, "the stories overlap");
    }
}
