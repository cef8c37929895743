//! What a failure pattern is to the engine: a name, the kinds that wake it, and `detect`.

use std::{fmt, sync::Arc};

use tapio_model::{
    Entity, Event, EventId, Evidence, EvidenceClass, Kind, Place, Role, RuledOut, Text, Timestamp,
};

use crate::View;

/// What a pattern says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its name: file, metric label, docs anchor, `tapio explain` argument.
    pub slug: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Kinds of events without which it cannot hold; any one of them wakes it.
    pub wakes_on: &'static [Kind],
    /// Patterns whose findings this one causes: known edges from cause to effect.
    pub leads_to: &'static [&'static str],
}

impl Spec {
    /// Returns the set of kinds that wake the pattern.
    #[must_use]
    pub fn wake_set(&self) -> u64 {
        self.wakes_on.iter().fold(0, |set, kind| set | kind.bit())
    }
}

/// A failure pattern.
///
/// `detect` is a pure function of the view: the same events give the same drafts, whatever the
/// order they came in.
pub trait Pattern: Send + Sync + fmt::Debug {
    /// Returns what the pattern says of itself.
    fn spec(&self) -> &'static Spec;

    /// Looks for the pattern in one trace; one draft for each subject it holds for.
    fn detect(&self, view: &View<'_>) -> Vec<Draft>;
}

/// The patterns an engine runs, in the order of their list.
pub type Patterns = Arc<[Arc<dyn Pattern>]>;

/// Why a draft is not a verdict: the deciding evidence is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The look-alike that would explain it as well.
    pub alternative: &'static str,
    /// The look-alike in words.
    pub text: Text,
    /// What to look at to tell them apart.
    pub check: Text,
}

/// What a pattern found, before the engine weighs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub(crate) subject: Entity,
    pub(crate) root: EventId,
    pub(crate) class: EvidenceClass,
    /// How sure its evidence makes it, where that can be computed.
    pub(crate) sure: Option<f64>,
    /// How many patterns in force are known to cause it.
    pub(crate) causes: usize,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) touches: Vec<Entity>,
    pub(crate) title: Text,
    pub(crate) root_cause: Text,
    pub(crate) recommendation: Vec<Text>,
    pub(crate) ruled_out: Vec<RuledOut>,
    pub(crate) missing: Vec<Text>,
    pub(crate) doubt: Option<Doubt>,
    /// Of a change from which nothing was seen to follow: what it would explain.
    pub(crate) effects: Option<&'static [&'static str]>,
}

impl Draft {
    /// Events one draft cites at most; what is cited beyond is left out. Nobody reads more, and with
    /// the findings an incident keeps it bounds what a story cites to what the wire lets through.
    pub const EVIDENCE_MAX: usize = 256;

    /// Begins a draft about `subject`, rooted in `root`, which shows `text`.
    ///
    /// `class` is the class of the strongest evidence. The subject is touched; call
    /// [`Draft::touching`] for the rest of the place.
    #[must_use]
    pub fn new(subject: Entity, class: EvidenceClass, root: &Event, text: impl Into<Text>) -> Self {
        Self {
            touches: vec![subject.clone()],
            subject,
            root: root.id,
            class,
            sure: None,
            causes: 0,
            evidence: vec![evidence(root, Role::Root, text.into())],
            title: Text::default(),
            root_cause: Text::default(),
            recommendation: Vec::new(),
            ruled_out: Vec::new(),
            missing: Vec::new(),
            doubt: None,
            effects: None,
        }
    }

    /// Says how sure the evidence makes it, for a pattern that computes it; else the class of the
    /// evidence says.
    #[must_use]
    pub const fn sure(mut self, share: f64) -> Self {
        self.sure = Some(share);
        self
    }

    /// Says what happened, in one line.
    #[must_use]
    pub fn title(mut self, text: impl Into<Text>) -> Self {
        self.title = text.into();
        self
    }

    /// Says why it happened, in one sentence.
    #[must_use]
    pub fn because(mut self, text: impl Into<Text>) -> Self {
        self.root_cause = text.into();
        self
    }

    /// Adds a step of what to do.
    #[must_use]
    pub fn advise(mut self, text: impl Into<Text>) -> Self {
        self.recommendation.push(text.into());
        self
    }

    /// Adds a step between root and symptom, or another witness of the root.
    #[must_use]
    pub fn step(self, event: &Event, text: impl Into<Text>) -> Self {
        self.cite(event, Role::Step, text.into())
    }

    /// Adds what somebody notices.
    #[must_use]
    pub fn symptom(self, event: &Event, text: impl Into<Text>) -> Self {
        self.cite(event, Role::Symptom, text.into())
    }

    fn cite(mut self, event: &Event, role: Role, text: Text) -> Self {
        self.add(evidence(event, role, text));
        self
    }

    /// Adds evidence, while there is room. The first use of an event stays: the root is never
    /// demoted to a symptom of itself.
    pub(crate) fn add(&mut self, evidence: Evidence) {
        // The limit first: a trace of thousands must not be compared with itself.
        if self.evidence.len() < Self::EVIDENCE_MAX
            && self.evidence.iter().all(|known| known.event != evidence.event)
        {
            self.evidence.push(evidence);
        }
    }

    /// Touches the container, pod, workload and service of a place.
    #[must_use]
    pub fn touching(mut self, place: &Place) -> Self {
        self.touches.extend(Entity::of(place));
        self
    }

    /// Touches one more thing.
    #[must_use]
    pub fn touch(mut self, entity: Entity) -> Self {
        self.touches.push(entity);
        self
    }

    /// Names an alternative that was considered and what speaks against it; no events means that
    /// their absence does.
    #[must_use]
    pub fn rule_out(mut self, pattern: &str, because: impl Into<Text>, events: &[&Event]) -> Self {
        let events = events.iter().map(|event| event.id).collect();
        self.ruled_out.push(RuledOut { pattern: pattern.into(), because: because.into(), events });
        self
    }

    /// Names evidence that was expected and not seen.
    #[must_use]
    pub fn missing(mut self, what: impl Into<Text>) -> Self {
        self.missing.push(what.into());
        self
    }

    /// Says that the deciding evidence is missing: it may as well be `alternative`.
    #[must_use]
    pub fn or(
        mut self,
        alternative: &'static str,
        text: impl Into<Text>,
        check: impl Into<Text>,
    ) -> Self {
        self.doubt = Some(Doubt { alternative, text: text.into(), check: check.into() });
        self
    }

    /// Says that it is a change from which nothing is seen to follow here: it waits, and is told only
    /// as the root of a finding of one of these patterns about whoever calls what was changed.
    ///
    /// The finding must begin after the root of the change, go on after the last of its evidence, and
    /// not rule the change's pattern out.
    #[must_use]
    pub const fn candidate(mut self, effects: &'static [&'static str]) -> Self {
        self.effects = Some(effects);
        self
    }

    /// Says whether it is a change that waits for what follows from it.
    #[must_use]
    pub const fn is_candidate(&self) -> bool {
        self.effects.is_some()
    }

    /// Returns what the draft is about.
    #[must_use]
    pub const fn subject(&self) -> &Entity {
        &self.subject
    }

    /// Returns what happened, in one line.
    #[must_use]
    pub fn headline(&self) -> &str {
        &self.title
    }

    /// Returns why it happened, in one sentence.
    #[must_use]
    pub fn root_cause(&self) -> &str {
        &self.root_cause
    }

    /// Returns the event it is rooted in.
    #[must_use]
    pub const fn root(&self) -> EventId {
        self.root
    }

    /// Returns the class of its strongest evidence.
    #[must_use]
    pub const fn class(&self) -> EvidenceClass {
        self.class
    }

    /// Returns the events it uses, the root first.
    #[must_use]
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// Returns the things it touches.
    #[must_use]
    pub fn touches(&self) -> &[Entity] {
        &self.touches
    }

    /// Returns what to do, one step an entry.
    #[must_use]
    pub fn recommendation(&self) -> &[Text] {
        &self.recommendation
    }

    /// Returns the alternatives it ruled out.
    #[must_use]
    pub fn ruled_out(&self) -> &[RuledOut] {
        &self.ruled_out
    }

    /// Returns the evidence it expected and did not see.
    #[must_use]
    pub fn gaps(&self) -> &[Text] {
        &self.missing
    }

    /// Returns why it is not a verdict, if it is not one.
    #[must_use]
    pub const fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    /// Returns when its root happened.
    #[must_use]
    pub fn root_time(&self) -> Timestamp {
        self.evidence.first().map_or(Timestamp::ZERO, |root| root.time)
    }
}

fn evidence(event: &Event, role: Role, text: Text) -> Evidence {
    Evidence {
        time: event.time,
        event: event.id,
        role,
        source: event.source,
        kind: event.kind,
        place: event.place.label().into(),
        text,
    }
}
