//! From a file to a rule: everything in it is checked, and everything wrong is told at once.

mod names;
mod scenes;
mod steps;

use std::{collections::BTreeSet, sync::atomic::AtomicU64};

use tapio_model::{EvidenceClass, Kind};
use tapio_patterns::Header;

use self::names::{class, header_text, pattern, slug};
use crate::{
    Rule, RuleError, RuleScene, kept,
    problem::Fault,
    rule::{Doubt, RuledOut, Tell},
    scope::{SCOPES, Scope},
    source::Parsed,
    step::{Need, Step},
    template::Template,
};

/// The slugs that a rule may name.
#[derive(Debug)]
pub(crate) struct Known {
    /// Those that have a pattern, built in or of this library.
    pub(crate) patterns: BTreeSet<String>,
}

/// Compiles a file.
pub(crate) fn compile(parsed: &Parsed, known: &Known) -> Result<Rule, Vec<RuleError>> {
    let mut check = Check { parsed, known, errors: Vec::new() };
    let rule = check.rule();
    match rule {
        Some(rule) if check.errors.is_empty() => Ok(rule),
        Some(_) | None => Err(check.errors),
    }
}

/// A file being checked.
struct Check<'a> {
    parsed: &'a Parsed,
    known: &'a Known,
    errors: Vec<RuleError>,
}

impl Check<'_> {
    /// Notes what is wrong with a field; `None` goes on without it.
    fn take<T>(&mut self, field: impl Into<String>, value: Result<T, Fault>) -> Option<T> {
        value.map_err(|fault| self.errors.push(self.parsed.error(field, fault))).ok()
    }

    fn fault(&mut self, field: impl Into<String>, what: &str, cure: &str) {
        self.errors.push(self.parsed.error(field, Fault::new(what, cure)));
    }

    fn rule(&mut self) -> Option<Rule> {
        let raw = &self.parsed.raw;
        self.take("slug", slug(&raw.slug));
        let header = self.header();
        self.take("title", header_text(&raw.title));
        for (number, effect) in (1..).zip(&raw.leads_to) {
            self.named(format!("leads_to.{number}"), effect);
        }
        let class = self.take("class", class(&raw.class));
        let about = raw.about.as_ref().map(|about| self.about(about));
        let steps = self.steps();
        let names: Vec<&str> = raw.steps.iter().map(|step| step.name.as_str()).collect();
        let tell = self.tell(&names);
        let ruled_out = self.ruled_out(&names);
        let doubt = raw.doubt.as_ref().map(|_| self.doubt(&names));
        let scenes = self.scenes();
        let (steps, root) = steps?;
        let spec = kept::spec(&raw.slug, raw.title.trim(), wakes_on(&steps), &raw.leads_to);
        let spec = self.take("slug", spec)?;
        Some(Rule {
            file: self.parsed.path.clone(),
            spec,
            header,
            class: class?,
            about: about.unwrap_or_default(),
            steps,
            root,
            tell: tell?,
            ruled_out,
            doubt: doubt.unwrap_or_default(),
            scenes,
            failures: AtomicU64::new(0),
        })
    }

    /// Checks the five parts that every pattern's file has.
    fn header(&mut self) -> Header {
        let raw = &self.parsed.raw;
        let mut part = |field: &str, text: &str| {
            self.take(field, header_text(text));
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Header {
            what: part("what", &raw.what),
            evidence: part("evidence", &raw.evidence),
            root: part("root", &raw.root),
            not_this: part("not_this", &raw.not_this),
            first_look: part("first_look", &raw.first_look),
        }
    }

    fn about(&mut self, name: &str) -> Option<Scope> {
        let scopes = SCOPES.into_iter().filter(|(_, scope)| *scope != Scope::Trace);
        let found = scopes.clone().find_map(|(known, scope)| (known == name).then_some(scope));
        let unknown = || Fault::unknown("thing", name, scopes.map(|(known, _)| known));
        self.take("about", found.ok_or_else(unknown))
    }

    /// Checks that a slug is one that exists and is another.
    fn named(&mut self, field: impl Into<String>, name: &str) {
        self.take(field, pattern(name, &self.parsed.raw.slug, self.known));
    }

    fn text(&mut self, field: impl Into<String>, text: &str, steps: &[&str]) -> Option<Template> {
        let template = Template::parse(text, steps).and_then(|template| {
            let empty = || Fault::new("says nothing", "write a sentence");
            if template.is_empty() { Err(empty()) } else { Ok(template) }
        });
        self.take(field, template)
    }

    fn tell(&mut self, steps: &[&str]) -> Option<Tell> {
        let raw = &self.parsed.raw.tell;
        let title = self.text("tell.title", &raw.title, steps);
        let because = self.text("tell.because", &raw.because, steps);
        if raw.advise.is_empty() {
            self.fault("tell.advise", "advises nothing", "write at least one thing to do");
        }
        let mut advise = Vec::with_capacity(raw.advise.len());
        for (number, text) in (1..).zip(&raw.advise) {
            advise.extend(self.text(format!("tell.advise.{number}"), text, steps));
        }
        Some(Tell { title: title?, because: because?, advise })
    }

    fn ruled_out(&mut self, steps: &[&str]) -> Vec<RuledOut> {
        let mut all = Vec::new();
        for (number, raw) in (1..).zip(&self.parsed.raw.rule_out) {
            let at = |field: &str| format!("rule_out.{number}.{field}");
            self.named(at("pattern"), &raw.pattern);
            let because = self.text(at("because"), &raw.because, steps);
            let step = raw.step.as_ref().map(|step| self.step_named(at("step"), step, steps));
            let (Some(because), step) = (because, step.flatten()) else { continue };
            all.push(RuledOut { pattern: raw.pattern.clone(), because, step });
        }
        all
    }

    fn doubt(&mut self, steps: &[&str]) -> Option<Doubt> {
        let raw = self.parsed.raw.doubt.as_ref()?;
        self.named("or.pattern", &raw.pattern);
        let because = self.text("or.because", &raw.because, steps);
        let check = self.text("or.check", &raw.check, steps);
        let unless = raw.unless.as_ref().map(|step| self.step_named("or.unless", step, steps));
        let pattern = self.take("or.pattern", kept::text(&raw.pattern))?;
        Some(Doubt { pattern, because: because?, check: check?, unless: unless.flatten() })
    }

    /// Returns the number of the step that a field names.
    fn step_named(
        &mut self,
        field: impl Into<String>,
        name: &str,
        steps: &[&str],
    ) -> Option<usize> {
        let number = steps.iter().position(|known| *known == name);
        let unknown = || Fault::unknown("step", name, steps.iter().copied());
        self.take(field, number.ok_or_else(unknown))
    }

    fn scenes(&mut self) -> Vec<RuleScene> {
        let (scenes, faults) = scenes::check(&self.parsed.raw, self.known);
        for (field, fault) in faults {
            self.errors.push(self.parsed.error(field, fault));
        }
        scenes
    }
}

/// Chooses what wakes the rule: the kinds of one step that it cannot do without, best of one that is
/// not everyday hum, so that healthy traffic does not wake it.
fn wakes_on(steps: &[Step]) -> Vec<Kind> {
    let required = || steps.iter().filter(|step| step.need == Need::Required);
    let rare = required().find(|step| !step.kinds.iter().any(|kind| kind.is_ambient()));
    rare.or_else(|| required().next()).map(|step| step.kinds.clone()).unwrap_or_default()
}

/// Names of the classes of evidence.
fn classes() -> impl Iterator<Item = &'static str> {
    EvidenceClass::ALL.iter().map(|class| class.name())
}

#[cfg(test)]
mod tests;
