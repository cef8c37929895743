//! A rule at work: a pattern like the built-in ones.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EventId, EvidenceClass, Place, Role, Source, Text};
use tapio_patterns::{Header, scene::Truth};

use crate::{
    Limits,
    event_text::said,
    scope::Scope,
    step::{Budget, Need, Step},
    template::{Seen, Template},
};

/// A failure pattern that came out of a file.
#[derive(Debug)]
pub struct Rule {
    pub(crate) file: PathBuf,
    pub(crate) spec: &'static Spec,
    pub(crate) header: Header,
    pub(crate) class: EvidenceClass,
    /// What a finding is about; without it, the narrowest thing that the first step names.
    pub(crate) about: Option<Scope>,
    /// The first is neither optional nor absent.
    pub(crate) steps: Vec<Step>,
    /// Which step the root is of.
    pub(crate) root: usize,
    pub(crate) tell: Tell,
    pub(crate) ruled_out: Vec<RuledOut>,
    pub(crate) doubt: Option<Doubt>,
    pub(crate) scenes: Vec<RuleScene>,
    pub(crate) failures: AtomicU64,
}

/// What the story says.
#[derive(Debug)]
pub(crate) struct Tell {
    pub(crate) title: Template,
    pub(crate) because: Template,
    pub(crate) advise: Vec<Template>,
}

/// An alternative that the rule dismisses; with a step, only if that step was seen.
#[derive(Debug)]
pub(crate) struct RuledOut {
    pub(crate) pattern: String,
    pub(crate) because: Template,
    pub(crate) step: Option<usize>,
}

/// An alternative that the rule cannot dismiss; with a step, only if that step was not seen.
#[derive(Debug)]
pub(crate) struct Doubt {
    pub(crate) pattern: &'static str,
    pub(crate) because: Template,
    pub(crate) check: Template,
    pub(crate) unless: Option<usize>,
}

/// A scene of a rule: a short story whose cause is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleScene {
    /// What it shows, in a few words.
    pub name: String,
    /// What is true of it.
    pub truth: Truth,
    /// The events, in the story language.
    pub story: String,
}

impl Pattern for Rule {
    fn spec(&self) -> &'static Spec {
        self.spec
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut budget = Budget::default();
        let drafts = self.look(view, &mut budget);
        if budget.failures > 0 {
            self.failures.fetch_add(budget.failures, Ordering::Relaxed);
        }
        drafts
    }
}

impl Rule {
    /// Returns the file it came out of.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns its name.
    #[must_use]
    pub const fn slug(&self) -> &'static str {
        self.spec.slug
    }

    /// Returns its name for people.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.spec.title
    }

    /// Returns what its file says of itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the scenes its file brings.
    #[must_use]
    pub fn scenes(&self) -> &[RuleScene] {
        &self.scenes
    }

    /// Returns how often one of its conditions could not be worked out, or came after the budget of a
    /// look was spent, and was taken for false. The same event counts each time it is looked at.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn look(&self, view: &View<'_>, budget: &mut Budget) -> Vec<Draft> {
        let mut candidates = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let events = step.candidates(view, budget);
            if events.is_empty() && step.need == Need::Required {
                return Vec::new();
            }
            candidates.push(events);
        }
        let firsts = candidates.first().map(Vec::as_slice).unwrap_or_default();
        let subjects = self.subjects(firsts);
        subjects.iter().filter_map(|events| self.draft(events, &candidates)).collect()
    }

    /// Sorts events by what they are about, in order of the first.
    fn subjects<'a>(&self, events: &[&'a Event]) -> Vec<Vec<&'a Event>> {
        let scope = self.about.unwrap_or(Scope::Container);
        let mut subjects: Vec<Vec<&Event>> = Vec::new();
        for event in events {
            let is_home = |group: &Vec<&Event>| {
                group.first().is_some_and(|first| {
                    scope.is_shared(first, event) || self.subject(first) == self.subject(event)
                })
            };
            if let Some(group) =
                subjects.iter().position(is_home).and_then(|at| subjects.get_mut(at))
            {
                group.push(event);
            } else if subjects.len() < Limits::SUBJECTS_MAX {
                subjects.push(vec![event]);
            }
        }
        subjects
    }

    fn subject(&self, event: &Event) -> Option<Entity> {
        let narrowest = || Entity::narrowest(&event.place);
        self.about.and_then(|scope| scope.entity(event)).or_else(narrowest)
    }

    fn draft(&self, about: &[&Event], candidates: &[Vec<&Event>]) -> Option<Draft> {
        let seen = self.seen(about, candidates)?;
        let root = *seen.get(self.root)?.first()?;
        let subject = self.subject(seen.first()?.first()?)?;
        let words = |of: usize, event: &Event| self.words(of, &seen, event);
        let mut draft = Draft::new(subject, self.class(&seen), root, words(self.root, root));
        for (number, (step, events)) in self.steps.iter().zip(&seen).enumerate() {
            for event in cited(events) {
                let text = words(number, event);
                draft = match step.role {
                    Role::Symptom => draft.symptom(event, text),
                    Role::Root | Role::Step => draft.step(event, text),
                };
            }
            if let (Need::Optional(what), true) = (&step.need, events.is_empty()) {
                draft = draft.missing(what.as_str());
            }
        }
        let places: BTreeSet<&Place> =
            seen.iter().flat_map(|events| cited(events)).map(|event| &*event.place).collect();
        let draft = places.into_iter().fold(draft, |draft, place| draft.touching(place));
        Some(self.told(draft, &seen))
    }

    /// Returns the events of each step for one subject, if the rule holds for it.
    fn seen<'a>(
        &self,
        about: &[&'a Event],
        candidates: &[Vec<&'a Event>],
    ) -> Option<Vec<Vec<&'a Event>>> {
        let (first, others) = self.steps.split_first()?;
        let run = first.run(about)?;
        let mut seen: Vec<Vec<&Event>> = vec![run.to_vec()];
        // One event is not the evidence of two steps.
        let mut taken: BTreeSet<EventId> = run.iter().map(|event| event.id).collect();
        for (step, events) in others.iter().zip(candidates.iter().skip(1)) {
            let after = step.after.and_then(|number| seen.get(number)?.first().copied());
            let is_free = |event: &&Event| step.need == Need::Absent || !taken.contains(&event.id);
            let free: Vec<&Event> = events.iter().copied().filter(is_free).collect();
            let events = step.beside(&free, run, after);
            match (&step.need, events.is_empty()) {
                (Need::Required, true) | (Need::Absent, false) => return None,
                (Need::Required, false) | (Need::Optional(_), _) | (Need::Absent, true) => {}
            }
            taken.extend(events.iter().map(|event| event.id));
            seen.push(events);
        }
        Some(seen)
    }

    fn words(&self, number: usize, seen: &Seen<'_>, event: &Event) -> Text {
        let says = self.steps.get(number).and_then(|step| step.says.as_ref());
        says.map_or_else(|| said(event).into(), |says| says.fill(seen, number, Some(event)))
    }

    /// Returns the class that the file claims, if the evidence bears it: proof is of the kernel.
    fn class(&self, seen: &Seen<'_>) -> EvidenceClass {
        let is_kernel = |event: &&Event| {
            matches!(event.source, Source::Kernel | Source::Cgroup | Source::Network)
        };
        if self.class == EvidenceClass::KernelProof && !seen.iter().flatten().any(is_kernel) {
            return EvidenceClass::ObjectStatus;
        }
        self.class
    }

    fn told(&self, draft: Draft, seen: &Seen<'_>) -> Draft {
        let fill = |text: &Template| text.fill(seen, self.root, None);
        let was_seen = |step: usize| seen.get(step).is_some_and(|events| !events.is_empty());
        let mut draft = draft.title(fill(&self.tell.title)).because(fill(&self.tell.because));
        for advice in &self.tell.advise {
            draft = draft.advise(fill(advice));
        }
        for out in self.ruled_out.iter().filter(|out| out.step.is_none_or(was_seen)) {
            let events = out.step.and_then(|step| seen.get(step)).map(|events| cited(events));
            draft = draft.rule_out(&out.pattern, fill(&out.because), events.unwrap_or_default());
        }
        match &self.doubt {
            Some(doubt) if !doubt.unless.is_some_and(was_seen) => {
                draft.or(doubt.pattern, fill(&doubt.because), fill(&doubt.check))
            }
            Some(_) | None => draft,
        }
    }
}

/// Returns the events of a step that a finding cites.
fn cited<'a, 'b>(events: &'b [&'a Event]) -> &'b [&'a Event] {
    events.get(..Limits::CITED_MAX).unwrap_or(events)
}

#[cfg(test)]
mod tests;
