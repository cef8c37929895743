//! An event belongs to one story. Others refer to it; what a merged story had is its heir's.

use std::collections::{BTreeMap, BTreeSet};

use tapio_model::{EventId, StoryId};

use crate::record::Record;

pub(super) fn check(record: &Record) -> Vec<String> {
    let mut owners: BTreeMap<EventId, BTreeSet<StoryId>> = BTreeMap::new();
    for (heir, stories) in record.stories().joined() {
        for event in stories.iter().flat_map(|told| told.owned()) {
            owners.entry(event).or_default().insert(heir);
        }
    }
    let shared = owners.into_iter().filter(|(_, stories)| stories.len() > 1);
    shared.map(|(event, stories)| format!("event {event} is in {stories:?}")).collect()
}

#[cfg(test)]
mod tests {
    use tapio_model::State;

    use super::*;
    use crate::invariants::sample;

    #[test]
    fn one_event_in_two_stories_is_seen() {
        let mut record = sample::good();
        sample::tell(&mut record, 2, 0, State::Opened, 0..1);
        assert_eq!(check(&record).len(), 1);
    }

    #[test]
    fn a_reference_is_no_second_story() {
        let mut record = sample::good();
        sample::tell(&mut record, 2, 0, State::Opened, 0..1);
        let story = &mut record.tellings.last_mut().unwrap().telling.story;
        story.references = story.event_ids.clone();
        assert_eq!(check(&record), [""; 0]);
    }

    #[test]
    fn events_of_a_merged_story_are_its_heirs() {
        let mut record = sample::good();
        let into = sample::story_id(1);
        sample::tell(&mut record, 2, 0, State::Opened, 0..1);
        sample::tell(&mut record, 2, 1, State::Merged { into }, 0..1);
        assert_eq!(check(&record), [""; 0]);
    }
}
