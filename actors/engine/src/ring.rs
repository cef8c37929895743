//! One shard and its incidents in one thread: the fast mode, replay and simulation.

use std::{sync::Arc, time::Duration};

use tapio_baseline::Watch;
use tapio_model::{Event, Outcome, Story, Telling, Timestamp, TraceId};

use crate::{Found, Incidents, Output, Rules, Shard};

/// What an engine tells the world, in order: evidence always before the story that cites it.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Events that stories cite.
    Evidence(Vec<Arc<Event>>),
    /// A telling of a story.
    Story(Box<Story>),
    /// A trace panicked too often: its events, to be kept with the reason.
    Dead {
        /// The trace.
        trace: TraceId,
        /// Its events.
        events: Vec<Arc<Event>>,
    },
}

impl Told {
    /// Takes a telling apart: its evidence first, if it brings any.
    pub fn of(telling: Telling) -> impl Iterator<Item = Self> {
        let Telling { story, evidence } = telling;
        let evidence = (!evidence.is_empty()).then_some(Self::Evidence(evidence));
        evidence.into_iter().chain([Self::Story(story)])
    }
}

/// How often incidents look whether something is due.
const TICK: Duration = Duration::from_millis(50);

/// One shard and its incidents in one thread.
///
/// The same brain as the actors', without mailboxes: events in, stories out. The same events at the
/// same times give the same tellings, byte for byte.
#[derive(Debug)]
pub struct Ring {
    shard: Shard,
    incidents: Incidents,
    watch: Option<Watch>,
    now: Timestamp,
    tick_at: Timestamp,
    told: Vec<Told>,
}

impl Ring {
    /// Makes an empty ring.
    #[must_use]
    pub fn new(rules: &Arc<Rules>) -> Self {
        Self {
            shard: Shard::new(Arc::clone(rules)),
            incidents: Incidents::new(Arc::clone(rules)),
            watch: None,
            now: Timestamp::MIN,
            tick_at: Timestamp::MIN,
            told: Vec::new(),
        }
    }

    /// Lets a watch learn from telemetry; what it finds unlike is taken in as events.
    #[must_use]
    pub fn watched(self, watch: Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Returns the shard, for its figures.
    #[must_use]
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// Returns the incidents.
    #[must_use]
    pub const fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// Takes an event in at the engine's time `now`, which never goes back.
    pub fn observe(&mut self, event: Arc<Event>, now: Timestamp) -> Outcome {
        while let Some(next) = self.next_step(now).filter(|next| *next < now) {
            self.step(next);
        }
        self.now = self.now.max(now);
        if let Some(watch) = &mut self.watch {
            watch.observe(&event, self.now);
        }
        let outcome = self.shard.observe(event, self.now);
        self.hand_on();
        outcome
    }

    /// Lets time pass.
    pub fn advance(&mut self, now: Timestamp) {
        // Step by step, so that a story that grows quiet in between resolves then and not later.
        while let Some(next) = self.next_step(now) {
            self.step(next);
        }
    }

    fn step(&mut self, next: Timestamp) {
        self.now = next;
        self.shard.advance(next);
        for anomaly in self.watch.iter_mut().flat_map(|watch| watch.advance(next)) {
            self.shard.observe(anomaly, next);
        }
        self.hand_on();
    }

    fn next_step(&self, end: Timestamp) -> Option<Timestamp> {
        if self.now >= end {
            return None;
        }
        let shard = self.shard.next_deadline().unwrap_or(end);
        let incidents = if self.incidents.open_incidents() > 0 { self.tick_at } else { end };
        let watch = self.watch.as_ref().and_then(Watch::next_deadline).unwrap_or(end);
        Some(shard.min(incidents).min(watch).clamp(self.now.after(Duration::from_nanos(1)), end))
    }

    /// Ends the input: every trace matures, and what waits to be told is told. Stories stay open:
    /// whether they would have resolved, the input does not say.
    pub fn finish(&mut self, window: Duration) {
        // A trace looks twice a window whether it is mature.
        let end = self.now.after(window + window / 2 + TICK);
        let anomalies: Vec<_> =
            self.watch.iter_mut().flat_map(|watch| watch.advance(end)).collect();
        for anomaly in anomalies {
            self.shard.observe(anomaly, self.now);
        }
        self.shard.advance(end);
        self.hand_on();
        let stories = self.incidents.finish(self.now);
        self.tell(stories);
    }

    /// Takes what was told since the last call.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    fn hand_on(&mut self) {
        for output in self.shard.take_outputs() {
            match output {
                Output::Found(found) => {
                    let Found { finding, events } = *found;
                    let stories = self.incidents.admit(finding, events, self.now);
                    self.tell(stories);
                }
                Output::Retracted(id, _anchor) => self.incidents.retract(&id),
                Output::Dead { trace, events } => self.told.push(Told::Dead { trace, events }),
            }
        }
        if self.now >= self.tick_at {
            self.tick_at = self.now.after(TICK);
            let stories = self.incidents.advance(self.now);
            self.tell(stories);
        }
    }

    fn tell(&mut self, tellings: Vec<Telling>) {
        self.told.extend(tellings.into_iter().flat_map(Told::of));
    }
}
