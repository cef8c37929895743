//! Scenes: short stories whose cause is known, which every pattern is asked about.
//!
//! Each pattern's file brings its own: one that it holds in, its look-alikes, one whose deciding
//! evidence is missing, and a healthy one. The confusion table in the docs is made of them.

use std::{collections::BTreeMap, sync::Arc};

use tapio_engine::{Limits, Patterns, Ring, Rules, Told};
use tapio_model::{Story, StoryId, Verdict};

use crate::{StoryError, fixture};

/// What is true of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// Nothing is wrong: no story.
    Healthy,
    /// This pattern is the cause: one story, decided.
    Cause(&'static str),
    /// The deciding evidence is missing: one story that names this pattern among its hypotheses.
    Unknown(&'static str),
}

/// A short story whose cause is known.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// What it shows, in a few words.
    pub name: &'static str,
    /// What is true of it.
    pub truth: Truth,
    /// The events, in the story language of [`fixture`].
    pub story: &'static str,
}

impl Scene {
    /// Makes a scene whose cause is the pattern `slug`.
    #[must_use]
    pub const fn cause(slug: &'static str, name: &'static str, story: &'static str) -> Self {
        Self { name, truth: Truth::Cause(slug), story }
    }

    /// Makes a scene that lacks what would decide for the pattern `slug`.
    #[must_use]
    pub const fn unknown(slug: &'static str, name: &'static str, story: &'static str) -> Self {
        Self { name, truth: Truth::Unknown(slug), story }
    }

    /// Makes a scene in which nothing is wrong.
    #[must_use]
    pub const fn healthy(name: &'static str, story: &'static str) -> Self {
        Self { name, truth: Truth::Healthy, story }
    }
}

/// What the engine told of a scene.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// No story.
    Silence,
    /// One story with this pattern as its cause.
    Cause(String),
    /// One story that names these candidates, best first.
    Unknown(Vec<String>),
    /// More than one story: their patterns.
    Several(Vec<String>),
}

impl Answer {
    /// Says whether the answer is the truth.
    #[must_use]
    pub fn is_right(&self, truth: Truth) -> bool {
        match (self, truth) {
            (Self::Silence, Truth::Healthy) => true,
            (Self::Cause(told), Truth::Cause(slug)) => told == slug,
            (Self::Unknown(candidates), Truth::Unknown(slug)) => {
                candidates.iter().any(|candidate| candidate == slug)
            }
            (Self::Silence | Self::Cause(_) | Self::Unknown(_) | Self::Several(_), _) => false,
        }
    }
}

/// Plays a scene to the whole engine with these patterns.
///
/// # Errors
/// [`StoryError`] names the first statement that cannot be read.
pub fn play(story: &str, patterns: &Patterns) -> Result<Answer, StoryError> {
    let limits = Limits::default();
    let mut events = fixture::events(story)?;
    events.sort_by_key(|event| event.order());
    let mut ring = Ring::new(&Arc::new(Rules::new(patterns, limits.clone())));
    for event in events {
        let now = event.time;
        ring.observe(Arc::new(event), now);
    }
    ring.finish(limits.window);
    let stories = ring.take_told().into_iter().filter_map(|told| match told {
        Told::Story(story) => Some(*story),
        Told::Evidence(_) | Told::Dead { .. } => None,
    });
    Ok(answer(stories))
}

/// Sums up the last telling of each story that did not merge into another.
fn answer(stories: impl Iterator<Item = Story>) -> Answer {
    let last: BTreeMap<StoryId, Story> = stories.map(|story| (story.id, story)).collect();
    let is_own = |story: &&Story| !matches!(story.state, tapio_model::State::Merged { .. });
    let own: Vec<&Story> = last.values().filter(is_own).collect();
    match own.as_slice() {
        [] => Answer::Silence,
        [story] => match &story.verdict {
            Verdict::Cause => Answer::Cause(story.pattern.to_string()),
            Verdict::Unknown { hypotheses, .. } => {
                Answer::Unknown(hypotheses.iter().map(|it| it.pattern.to_string()).collect())
            }
        },
        several => Answer::Several(several.iter().map(|it| it.pattern.to_string()).collect()),
    }
}
