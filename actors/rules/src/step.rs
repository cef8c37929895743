//! A step of a rule: which events it takes.

use std::time::Duration;

use tapio_engine::View;
use tapio_model::{Event, Kind, Role};

use crate::{
    Limits,
    condition::{Condition, Judgement},
    event_text::{count, times},
    scope::Scope,
    template::Template,
};

/// How far two witnesses of one moment may differ: Kubernetes writes whole seconds.
const SKEW: Duration = Duration::from_secs(2);

/// A step of a rule.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) when: Option<Condition>,
    pub(crate) at_least: u64,
    pub(crate) within: Option<Duration>,
    /// Which step it comes after.
    pub(crate) after: Option<usize>,
    pub(crate) same: Scope,
    pub(crate) need: Need,
    pub(crate) role: Role,
    pub(crate) says: Option<Template>,
}

/// What a step is to its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// The rule does not hold without it.
    Required,
    /// The rule holds without it, and says what it did not see.
    Optional(String),
    /// The rule does not hold with it.
    Absent,
}

/// What one look at a trace may still cost, and what went wrong in it.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
    pub(crate) failures: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Limits::LOOK_COST_MAX, failures: 0 }
    }
}

impl Budget {
    fn holds(&mut self, when: &Condition, event: &Event) -> bool {
        let judgement = match self.left.checked_sub(when.cost()) {
            Some(left) => {
                self.left = left;
                when.judge(event)
            }
            None => Judgement::Failed,
        };
        self.failures += u64::from(judgement == Judgement::Failed);
        judgement == Judgement::Holds
    }
}

impl Step {
    /// Returns the events of a trace that the step is about, wherever and whenever they were.
    pub(crate) fn candidates<'a>(&self, view: &View<'a>, budget: &mut Budget) -> Vec<&'a Event> {
        let of_kind = view.all().filter(|event| self.kinds.contains(&event.kind));
        match &self.when {
            Some(when) => of_kind.filter(|event| budget.holds(when, event)).collect(),
            None => of_kind.collect(),
        }
    }

    /// Returns the first of the events that are enough within the step's time, and all after it.
    pub(crate) fn run<'a, 'b>(&self, events: &'b [&'a Event]) -> Option<&'b [&'a Event]> {
        let (mut begins, mut sum) = (0, 0_u64);
        for event in events {
            sum = sum.saturating_add(times(event));
            let earliest = self.within.map(|within| event.time.before(within));
            while let Some(first) = events.get(begins)
                && earliest.is_some_and(|earliest| first.time < earliest)
            {
                sum = sum.saturating_sub(times(first));
                begins += 1;
            }
            if sum >= self.at_least {
                return events.get(begins..);
            }
        }
        None
    }

    /// Returns those of the events that belong to a run of the first step, if they are enough.
    pub(crate) fn beside<'a>(
        &self,
        events: &[&'a Event],
        run: &[&Event],
        after: Option<&Event>,
    ) -> Vec<&'a Event> {
        let Some((first, last)) = run.first().zip(run.last()) else { return Vec::new() };
        let is_near = |event: &Event| {
            let early = first.time.since(event.time);
            let late = event.time.since(last.time);
            self.within.is_none_or(|within| early <= within && late <= within)
        };
        let comes_after =
            |event: &Event| after.is_none_or(|other| event.time.after(SKEW) >= other.time);
        let mut taken: Vec<&Event> = Vec::new();
        for event in events {
            if self.same.is_shared(first, event) && is_near(event) && comes_after(event) {
                taken.push(event);
            }
        }
        if self.is_enough(&taken) { taken } else { Vec::new() }
    }

    fn is_enough(&self, events: &[&Event]) -> bool {
        !events.is_empty() && count(events) >= self.at_least
    }
}
