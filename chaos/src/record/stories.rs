//! Tellings gathered into stories, and stories that merged into what they are one of.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use tapio_model::{EventId, State, Story, StoryId};

use super::{HeardTelling, Record};

/// One story with all that was told of it.
#[derive(Debug, Clone)]
pub struct Told<'a> {
    /// The story.
    pub id: StoryId,
    /// Its tellings, in order of their numbers.
    pub tellings: BTreeMap<u32, &'a HeardTelling>,
    /// Further tellings of a number that was told already.
    pub repeats: Vec<&'a HeardTelling>,
}

impl Told<'_> {
    /// Returns the last telling.
    #[must_use]
    pub fn last(&self) -> Option<&Story> {
        self.tellings.values().next_back().map(|heard| &*heard.telling.story)
    }

    /// Returns the story it merged into, if it did.
    #[must_use]
    pub fn merged_into(&self) -> Option<StoryId> {
        match self.last()?.state {
            State::Merged { into } => Some(into),
            State::Opened | State::Amended | State::Resolved => None,
        }
    }

    /// Returns the events that any telling of it cites.
    #[must_use]
    pub fn cited(&self) -> BTreeSet<EventId> {
        let stories = self.tellings.values().map(|heard| &heard.telling.story);
        stories.flat_map(|story| story.event_ids.iter().copied()).collect()
    }

    /// Returns the events that are its own: cited by a telling, and not by reference.
    #[must_use]
    pub fn owned(&self) -> BTreeSet<EventId> {
        let stories = self.tellings.values().map(|heard| &heard.telling.story);
        let owned = stories.flat_map(|story| {
            let is_own = |id: &&EventId| !story.references.contains(id);
            story.event_ids.iter().filter(is_own).copied()
        });
        owned.collect()
    }
}

/// All stories of a run.
#[derive(Debug, Clone)]
pub struct ToldStories<'a> {
    /// The stories.
    pub by_id: BTreeMap<StoryId, Told<'a>>,
}

impl<'a> ToldStories<'a> {
    /// Returns the story in which `id` ended up through merges.
    #[must_use]
    pub fn end_of(&self, id: StoryId) -> StoryId {
        let mut end = id;
        // A merge goes to an older story, so the walk ends; a broken record must not hang it.
        for _ in 0..self.by_id.len() {
            match self.by_id.get(&end).and_then(Told::merged_into) {
                Some(into) if into != end => end = into,
                Some(_) | None => break,
            }
        }
        end
    }

    /// Returns the stories that ended up in one, by that one.
    #[must_use]
    pub fn joined(&self) -> BTreeMap<StoryId, Vec<&Told<'a>>> {
        let mut joined: BTreeMap<StoryId, Vec<&Told<'a>>> = BTreeMap::new();
        for (id, told) in &self.by_id {
            joined.entry(self.end_of(*id)).or_default().push(told);
        }
        joined
    }
}

impl Record {
    /// Gathers the tellings into stories.
    #[must_use]
    pub fn stories(&self) -> ToldStories<'_> {
        let mut by_id: BTreeMap<StoryId, Told<'_>> = BTreeMap::new();
        for heard in &self.tellings {
            let story = &heard.telling.story;
            let new = || Told { id: story.id, tellings: BTreeMap::new(), repeats: Vec::new() };
            let told = by_id.entry(story.id).or_insert_with(new);
            match told.tellings.entry(story.telling) {
                Entry::Vacant(vacant) => {
                    vacant.insert(heard);
                }
                Entry::Occupied(_) => told.repeats.push(heard),
            }
        }
        ToldStories { by_id }
    }
}
