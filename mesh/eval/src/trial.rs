//! Labelled verdicts without outside data: every scene, and every recording of a fault, under what
//! production does to it.

mod hardship;
mod recorded;

use std::{collections::BTreeMap, sync::Arc};

use tapio_engine::{Limits, Patterns, Points, Ring, Rules, Told, Weight};
use tapio_model::{Event, State, Story, StoryId, Verdict};
use tapio_patterns::{Entry, StoryError, fixture, scene::Truth};

use self::hardship::{Course, courses, is_guest};
pub use self::{
    hardship::Hardship,
    recorded::{Recorded, recorded},
};
use crate::dice::Dice;

/// Where the lots are drawn from: the same scenes have the same trials.
const SEED: u64 = 0x7461_7069_6f21;

/// The group of recordings in which nothing was wrong.
const HEALTHY: &str = "healthy";

/// How far two figures may be apart that were reckoned in two ways.
const EQUAL: f64 = 1e-6;

/// Where a scene comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Whoever wrote the patterns wrote it.
    Written,
    /// A fault was done, and this was seen.
    Recorded,
}

/// What is true of a story, and what it said.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The scene it speaks of, counted from the first of the first pattern.
    pub scene: usize,
    /// The pattern whose scenes are learnt from, or judged, together.
    pub group: &'static str,
    /// Where the scene comes from.
    pub origin: Origin,
    /// What was done to the scene.
    pub hardship: Hardship,
    /// Whether it says that it knows; else it is a guess.
    pub is_decided: bool,
    /// Whether what it says is the scene's truth.
    pub is_right: bool,
    /// How sure it was.
    pub confidence: f64,
    /// The pattern it tells, or guesses first.
    pub told: String,
    /// What speaks for it, as far as the story shows.
    pub weight: Weight,
    /// Whether its pattern has computed how sure it is, by other means than its weight.
    pub is_computed: bool,
}

/// What came of all scenes under all hardships.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trials {
    /// Stories that have a label.
    pub trials: Vec<Trial>,
    /// Scenes there are, recordings among them.
    pub scenes: usize,
    /// Recordings there are.
    pub recordings: usize,
    /// How often one was played.
    pub plays: usize,
    /// Stories that said that they do not know, right or wrong to do so.
    pub abstentions: usize,
    /// Plays of a scene with a cause of which nothing was told.
    pub silences: usize,
}

/// What is known of all scenes.
struct Stage {
    scenes: Vec<Known>,
    /// How many patterns are known to cause each.
    causes: BTreeMap<&'static str, usize>,
}

/// What is known of a scene.
#[derive(Debug, Clone, Copy)]
struct Known {
    truth: Truth,
    /// The pattern with whose scenes it goes.
    group: &'static str,
    origin: Origin,
}

/// Plays every scene of every entry, and every recording, under every hardship to all patterns at
/// once.
///
/// # Errors
/// [`StoryError`] names the first statement of a scene that cannot be read.
pub fn trials(entries: &[Entry], recordings: &[Recorded]) -> Result<Trials, StoryError> {
    let patterns: Patterns = entries.iter().map(|entry| Arc::clone(&entry.pattern)).collect();
    let mut stage = Stage { scenes: Vec::new(), causes: BTreeMap::new() };
    let mut scenes = Vec::new();
    for entry in entries {
        for effect in entry.pattern.spec().leads_to {
            *stage.causes.entry(effect).or_default() += 1;
        }
        for scene in entry.scenes {
            stage.scenes.push(Known::of(scene.truth, entry.slug, Origin::Written));
            let mut events = fixture::events(scene.story)?;
            events.sort_by_key(|event| event.order());
            scenes.push(events);
        }
    }
    for recording in recordings {
        stage.scenes.push(Known::of(recording.truth, HEALTHY, Origin::Recorded));
        scenes.push(recording.events.clone());
    }
    let rules = Arc::new(Rules::new(&patterns, Limits::default()));
    let mut all =
        Trials { scenes: scenes.len(), recordings: recordings.len(), ..Trials::default() };
    for (own, events) in scenes.iter().enumerate() {
        // Each scene has lots of its own: one more changes who is whose guest, and no other lot.
        for course in courses(own, &scenes, &mut Dice(seed(events))) {
            let stories = play(&course, &rules, &patterns);
            all.judge(own, &course, &stage, &stories);
        }
    }
    Ok(all)
}

fn seed(events: &[Event]) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3::with_seed(SEED);
    for event in events {
        hash.update(&event.time.as_nanos().to_le_bytes());
        hash.update(event.kind.name().as_bytes());
        hash.update(event.place.label().as_bytes());
    }
    hash.digest()
}

/// Returns the last telling of each story that did not merge into another.
fn play(course: &Course, rules: &Arc<Rules>, patterns: &Patterns) -> Vec<Story> {
    let crowded = course.trace_events_max.map(|trace_events_max| {
        let limits = Limits { trace_events_max, ..Limits::default() };
        Arc::new(Rules::new(patterns, limits))
    });
    let rules = crowded.as_ref().unwrap_or(rules);
    let mut arrivals = course.arrivals.clone();
    arrivals.sort_by_key(|arrival| (arrival.at, arrival.event.order()));
    let mut ring = Ring::new(rules);
    for arrival in arrivals {
        ring.observe(Arc::new(arrival.event), arrival.at);
    }
    ring.finish(rules.limits().window);
    let stories = ring.take_told().into_iter().filter_map(|told| match told {
        Told::Story(story) => Some(*story),
        Told::Evidence(_) | Told::Dead { .. } => None,
    });
    let last: BTreeMap<StoryId, Story> = stories.map(|story| (story.id, story)).collect();
    let is_own = |story: &Story| !matches!(story.state, State::Merged { .. });
    last.into_values().filter(is_own).collect()
}

impl Trials {
    fn judge(&mut self, own: usize, course: &Course, stage: &Stage, stories: &[Story]) {
        self.plays += 1;
        let is_caused = |it: &Known| matches!(it.truth, Truth::Cause(_));
        let has_cause = stage.scenes.get(own).is_some_and(is_caused);
        self.silences += usize::from(stories.is_empty() && has_cause);
        for story in stories {
            // A story is about the scene that its root comes from.
            let is_guest = is_guest(story.root_cause_event);
            let scene = course.beside.filter(|_| is_guest).unwrap_or(own);
            self.abstentions += usize::from(matches!(story.verdict, Verdict::Unknown { .. }));
            self.trials.extend(stage.trial(scene, course.hardship, story));
        }
    }
}

impl Known {
    const fn of(truth: Truth, healthy: &'static str, origin: Origin) -> Self {
        let group = match truth {
            Truth::Cause(slug) | Truth::Unknown(slug) => slug,
            Truth::Healthy => healthy,
        };
        Self { truth, group, origin }
    }
}

impl Stage {
    /// Holds a story against its scene's truth. A guess about a scene that nobody could know has
    /// no label.
    fn trial(&self, scene: usize, hardship: Hardship, story: &Story) -> Option<Trial> {
        let Known { truth, group, origin } = *self.scenes.get(scene)?;
        let (is_decided, told) = match &story.verdict {
            Verdict::Cause => (true, &story.pattern),
            Verdict::Unknown { hypotheses, .. } => (false, &hypotheses.first()?.pattern),
        };
        let is_right = match (truth, is_decided) {
            (Truth::Cause(slug), _) => told.as_str() == slug,
            (Truth::Healthy, _) | (Truth::Unknown(_), true) => false,
            (Truth::Unknown(_), false) => return None,
        };
        let weight = self.weight(story);
        let confidence = story.confidence.get();
        let by_weight = Points::FITTED.confidence(&weight).get();
        Some(Trial {
            scene,
            group,
            origin,
            hardship,
            is_decided,
            is_right,
            confidence,
            told: told.to_string(),
            weight,
            is_computed: (by_weight - confidence).abs() > EQUAL,
        })
    }

    /// Reads off a story what its confidence was made of.
    fn weight(&self, story: &Story) -> Weight {
        let tells_of_another =
            |text: &str| text.contains(" later followed: ") || text.contains(" later was seen: ");
        let others = story.summary.iter().filter(|sentence| tells_of_another(&sentence.text));
        Weight {
            class: story.class,
            events: story.root_cause.events.len(),
            causes: self.causes.get(story.pattern.as_str()).copied().unwrap_or_default(),
            consequences: others.count(),
            missing: story.missing.len(),
            is_lossy: story.lost > 0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        collections::BTreeSet,
        path::{Path, PathBuf},
        sync::LazyLock,
    };

    use tapio_patterns::all;

    use super::*;

    /// Where the project's own recordings are.
    fn recordings() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/cluster")
    }

    /// Seconds of playing, which the tests of one process share.
    pub(crate) static ALL: LazyLock<Trials> = LazyLock::new(|| {
        let entries = all();
        let recordings = recorded(&recordings(), &entries).unwrap();
        trials(&entries, &recordings).unwrap()
    });

    #[test]
    fn what_a_story_shows_is_what_its_confidence_is_made_of() {
        let entries = all();
        let computes = |slug: &str| {
            let mut entries = entries.iter();
            entries.any(|entry| entry.slug == slug && entry.source.contains(".sure("))
        };
        let decided = ALL.trials.iter().filter(|trial| trial.is_decided);
        let strange: Vec<_> =
            decided.filter(|trial| trial.is_computed && !computes(&trial.told)).take(5).collect();
        assert!(strange.is_empty(), "{strange:#?}");
    }

    #[test]
    fn every_hardship_is_met_and_the_same_again() {
        let entries: Vec<_> = all().into_iter().take(3).collect();
        let told = trials(&entries, &[]).unwrap();
        let met: BTreeSet<_> = told.trials.iter().map(|trial| trial.hardship).collect();
        assert_eq!(met.len(), Hardship::ALL.len(), "{met:?}");
        assert_eq!(trials(&entries, &[]).unwrap(), told);
    }

    #[test]
    fn a_written_scene_without_hardship_is_told_right() {
        let wrong = |trial: &&Trial| {
            let is_plain = (trial.origin, trial.hardship) == (Origin::Written, Hardship::None);
            is_plain && trial.is_decided && !trial.is_right
        };
        assert_eq!(ALL.trials.iter().find(wrong), None);
    }
}
