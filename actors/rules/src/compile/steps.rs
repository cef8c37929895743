//! The steps of a rule.

use std::time::Duration;

use tapio_model::{Kind, Role};

use super::{
    Check,
    names::{duration, kind, name, role},
};
use crate::{
    Limits,
    condition::Condition,
    problem::Fault,
    raw::RawStep,
    scope::{SCOPES, Scope},
    step::{Need, Step},
};

/// Words that placeholders begin with, so no step can be called so.
const TAKEN: [&str; 5] = ["attributes", "place", "message", "kind", "count"];

/// Where a step stands, for errors.
struct At(usize);

impl At {
    fn field(&self, field: &str) -> String {
        format!("match.{}.{field}", self.0 + 1)
    }
}

impl Check<'_> {
    /// Checks the steps; returns them with the number of the one that the root is of.
    pub(super) fn steps(&mut self) -> Option<(Vec<Step>, usize)> {
        let raw = &self.parsed.raw.steps;
        if raw.is_empty() {
            self.fault("match", "has no step", "write at least one: a name and a kind of event");
        }
        if raw.len() > Limits::STEPS_MAX {
            let what = format!("has more than {} steps", Limits::STEPS_MAX);
            self.fault("match", &what, "tell two stories in two rules");
            return None;
        }
        let mut steps = Vec::with_capacity(raw.len());
        for (number, step) in raw.iter().enumerate() {
            steps.extend(self.step(&At(number), step));
        }
        let root = self.root(raw);
        (steps.len() == raw.len() && !steps.is_empty()).then_some((steps, root))
    }

    fn step(&mut self, at: &At, raw: &RawStep) -> Option<Step> {
        self.step_name(at, &raw.name);
        let kinds = self.kinds(at, &raw.kind.0);
        let when =
            raw.when.as_ref().map(|when| self.take(at.field("when"), Condition::compile(when)));
        let names: Vec<&str> = self.parsed.raw.steps.iter().map(|step| &*step.name).collect();
        let says = raw.says.as_ref().map(|says| self.text(at.field("says"), says, &names));
        let role = raw.role.as_ref().map(|name| self.take(at.field("role"), role(name)));
        let need = self.need(at, raw);
        let step = Step {
            kinds: kinds?,
            at_least: self.at_least(at, raw.at_least),
            within: raw.within.as_ref().and_then(|within| self.within(at, within, &need)),
            after: raw.after.as_ref().and_then(|after| self.after(at, after)),
            same: raw.same.as_ref().map(|same| self.same(at, same)).unwrap_or_default(),
            need,
            role: role.unwrap_or(Some(Role::Step))?,
            when: when.map_or(Some(None), |when| when.map(Some))?,
            says: says.map_or(Some(None), |says| says.map(Some))?,
        };
        Some(step)
    }

    fn step_name(&mut self, at: &At, own: &str) {
        self.take(at.field("name"), name(own));
        if TAKEN.contains(&own) || crate::condition::place_field(own).is_some() {
            self.fault(at.field("name"), "is a word of placeholders", "choose another name");
        }
        let before = self.parsed.raw.steps.iter().take(at.0);
        if before.into_iter().any(|step| step.name == own) {
            self.fault(at.field("name"), "is the name of another step", "choose another name");
        }
    }

    fn kinds(&mut self, at: &At, names: &[String]) -> Option<Vec<Kind>> {
        if names.is_empty() {
            self.fault(at.field("kind"), "names no kind of event", "write one, such as: log");
        }
        let mut kinds = Vec::with_capacity(names.len());
        for name in names {
            kinds.push(self.take(at.field("kind"), kind(name))?);
        }
        kinds.sort_unstable();
        kinds.dedup();
        (!kinds.is_empty()).then_some(kinds)
    }

    fn need(&mut self, at: &At, raw: &RawStep) -> Need {
        if raw.missing.is_some() && !raw.optional {
            self.fault(
                at.field("missing"),
                "is of a step that must be there",
                "add: optional: true",
            );
        }
        match (raw.optional, raw.absent) {
            (true, true) => {
                let cure = "keep one: optional weakens a story, absent ends it";
                self.fault(at.field("absent"), "is both optional and absent", cure);
                Need::Absent
            }
            (_, true) => Need::Absent,
            (true, false) => {
                let kinds = raw.kind.0.join(" or ").replace('_', " ");
                let missing = raw.missing.clone();
                Need::Optional(missing.unwrap_or_else(|| format!("{} ({kinds})", raw.name)))
            }
            (false, false) => Need::Required,
        }
    }

    fn at_least(&mut self, at: &At, number: Option<u32>) -> u64 {
        let number = number.unwrap_or(1);
        if number == 0 || number > Limits::AT_LEAST_MAX {
            let what = format!("is not between 1 and {}", Limits::AT_LEAST_MAX);
            self.fault(at.field("at_least"), &what, "for none at all write: absent: true");
        }
        u64::from(number)
    }

    fn within(&mut self, at: &At, text: &str, need: &Need) -> Option<Duration> {
        let within = self.take(at.field("within"), duration(text))?;
        let window = tapio_engine::Limits::default().window;
        // What nothing cites is gone after the window: a longer wait would never end well.
        if *need == Need::Required && within > window {
            let what = format!("is longer than the {} s that events are kept", window.as_secs());
            self.fault(at.field("within"), &what, "shorten it, or add: optional: true");
        }
        if within > Limits::WITHIN_MAX {
            let what = format!("is longer than {} s", Limits::WITHIN_MAX.as_secs());
            self.fault(at.field("within"), &what, "shorten it");
        }
        Some(within)
    }

    fn after(&mut self, at: &At, name: &str) -> Option<usize> {
        let before = self.parsed.raw.steps.iter().take(at.0);
        let number = before.into_iter().position(|step| step.name == name);
        let unknown =
            || Fault::new(format!("no earlier step is called `{name}`"), "name one above");
        self.take(at.field("after"), number.ok_or_else(unknown))
    }

    fn same(&mut self, at: &At, name: &str) -> Scope {
        if at.0 == 0 {
            let cure = "what the rule is about is said by `about`";
            self.fault(at.field("same"), "compares the first step with itself", cure);
        }
        let found = SCOPES.into_iter().find_map(|(known, scope)| (known == name).then_some(scope));
        let unknown = || Fault::unknown("thing", name, SCOPES.map(|(known, _)| known));
        self.take(at.field("same"), found.ok_or_else(unknown)).unwrap_or_default()
    }

    /// Finds the step that the root is of: the first unless one says so.
    fn root(&mut self, raw: &[RawStep]) -> usize {
        let mut roots =
            raw.iter().enumerate().filter(|(_, step)| step.role.as_deref() == Some("root"));
        let root = roots.next().map_or(0, |(number, _)| number);
        if let Some((second, _)) = roots.next() {
            self.fault(At(second).field("role"), "is a second root", "a story has one root");
        }
        if raw.get(root).is_some_and(|step| step.optional || step.absent) {
            let field = At(root).field(if root == 0 { "name" } else { "role" });
            self.fault(field, "the root may be missing", "let it be a step that must be there");
        }
        if raw.first().is_some_and(|step| step.optional || step.absent) && root != 0 {
            let what = "the first step may be missing";
            self.fault(At(0).field("name"), what, "put one first that must be there");
        }
        root
    }
}
