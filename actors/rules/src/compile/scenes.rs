//! The scenes of a rule.

use tapio_patterns::{fixture, scene::Truth};

use super::{Known, names::TRUTHS};
use crate::{
    Limits, RuleScene, kept,
    problem::Fault,
    raw::{RawRule, RawScene},
};

/// What is wrong, with its field.
type Faults = Vec<(String, Fault)>;

/// Checks the scenes: each can be read, and together they are what every pattern brings.
pub(super) fn check(raw: &RawRule, known: &Known) -> (Vec<RuleScene>, Faults) {
    let mut faults = Vec::new();
    let mut scenes = Vec::with_capacity(raw.scenes.len());
    for (number, scene) in (1..).zip(&raw.scenes) {
        let at = |field: &str| format!("scenes.{number}.{field}");
        if scene.name.trim().is_empty() {
            let what = Fault::new("is empty", "say in a few words what the scene shows");
            faults.push((at("name"), what));
        }
        if let Err(why) = fixture::events(&scene.story) {
            let cure = "write TIME PLACE KIND KEY=VALUE, as docs/rules.md shows";
            faults.push((at("story"), Fault::new(format!("cannot be read: {why}"), cure)));
        }
        match truth(scene, &raw.slug, known) {
            Ok(truth) => scenes.push(RuleScene {
                name: scene.name.trim().to_owned(),
                truth,
                story: scene.story.clone(),
            }),
            Err(fault) => faults.push((at("truth"), fault)),
        }
    }
    if raw.scenes.len() > Limits::SCENES_MAX {
        let what = format!("are more than {}", Limits::SCENES_MAX);
        faults.push(("scenes".to_owned(), Fault::new(what, "keep those that decide something")));
    }
    if faults.is_empty() {
        faults.extend(lacking(&scenes, &raw.slug).into_iter().map(|it| ("scenes".to_owned(), it)));
    }
    (scenes, faults)
}

fn truth(scene: &RawScene, own: &str, known: &Known) -> Result<Truth, Fault> {
    match scene.truth.as_str() {
        "healthy" => Ok(Truth::Healthy),
        "cause" => Ok(Truth::Cause(kept::text(own)?)),
        "unknown" => Ok(Truth::Unknown(kept::text(own)?)),
        slug if known.patterns.contains(slug) => Ok(Truth::Cause(kept::text(slug)?)),
        other => {
            let slugs = known.patterns.iter().map(String::as_str);
            Err(Fault::unknown("truth", other, TRUTHS.into_iter().chain(slugs)))
        }
    }
}

/// Returns the scenes that a rule lacks: what it holds in, what it is not, and a good day.
fn lacking(scenes: &[RuleScene], own: &str) -> Vec<Fault> {
    let has = |wants: &dyn Fn(Truth) -> bool| scenes.iter().any(|scene| wants(scene.truth));
    let is_own = |truth| matches!(truth, Truth::Cause(slug) if slug == own);
    let is_other = |truth| matches!(truth, Truth::Cause(slug) if slug != own);
    let wanted = [
        (has(&is_own), "none that the rule holds in", "truth: cause"),
        (has(&is_other), "no look-alike that another pattern tells", "truth: SLUG of that pattern"),
        (has(&|truth| truth == Truth::Healthy), "none of a good day", "truth: healthy"),
    ];
    let lacking = wanted.into_iter().filter(|(there, ..)| !there);
    let fault =
        |(_, what, cure)| Fault::new(format!("have {what}"), format!("add one with {cure}"));
    lacking.map(fault).collect()
}
