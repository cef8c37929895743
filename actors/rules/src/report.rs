//! What came of playing scenes.

use std::fmt;

use tapio_engine::Patterns;
use tapio_patterns::{
    Scene, all, patterns,
    scene::{Answer, Truth, play},
};

use crate::Library;

/// What came of playing the scenes of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Each rule's scenes, in the order of the library.
    pub rules: Vec<RuleReport>,
    /// Scenes of built-in patterns that are told right without the rules, and wrong with them.
    pub disturbed: Vec<Played>,
    /// How many scenes of built-in patterns were played.
    pub built_in: usize,
}

/// What came of playing the scenes of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleReport {
    /// The rule.
    pub slug: String,
    /// Its scenes, in the order of its file.
    pub scenes: Vec<Played>,
    /// How often a condition of it failed in the scenes of this report and was taken for false.
    pub failures: u64,
}

/// A scene that was played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// The pattern whose scene it is.
    pub pattern: String,
    /// What it shows.
    pub name: String,
    /// What is true of it.
    pub truth: Truth,
    /// What was told.
    pub answer: Answer,
}

impl Played {
    /// Says whether what was told is true.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.answer.is_right(self.truth)
    }

    /// Returns what may be the reason of a wrong answer, if one is likely.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match (&self.answer, self.truth) {
            (Answer::Silence, Truth::Cause(_) | Truth::Unknown(_)) => Some(
                "nothing woke the rule, or a step found too few events: a log line, span or metric \
                 below a warning wakes nothing, and one event alone only if it is critical",
            ),
            (Answer::Several(_), _) => Some(
                "two patterns tell of one fault: name the effect in leads_to, or rule one out with \
                 a step that is absent",
            ),
            (Answer::Unknown(_), Truth::Cause(_)) => {
                Some("the doubt of `or` stayed: name in `unless` the step that decides")
            }
            (Answer::Silence | Answer::Cause(_) | Answer::Unknown(_), _) => None,
        }
    }
}

/// Returns the scenes that are told right without the rules and wrong with them.
fn disturbed(
    scenes: &[(&'static str, &Scene)],
    without: &Patterns,
    with: &Patterns,
) -> Vec<Played> {
    let mut disturbed = Vec::new();
    for (pattern, scene) in scenes {
        let played = |patterns| Played {
            pattern: (*pattern).to_owned(),
            name: scene.name.to_owned(),
            truth: scene.truth,
            answer: play(scene.story, patterns).unwrap_or(Answer::Silence),
        };
        let now = played(with);
        if !now.is_right() && played(without).is_right() {
            disturbed.push(now);
        }
    }
    disturbed
}

impl Report {
    pub(crate) fn of(library: &Library) -> Self {
        let with = library.patterns();
        let told = |story: &str| play(story, &with).unwrap_or(Answer::Silence);
        let mut rules = Vec::with_capacity(library.rules().len());
        for rule in library.rules() {
            let slug = rule.spec.slug.to_owned();
            let before = rule.failures();
            let scenes = rule.scenes().iter().map(|scene| Played {
                pattern: slug.clone(),
                name: scene.name.clone(),
                truth: scene.truth,
                answer: told(&scene.story),
            });
            let scenes = scenes.collect();
            rules.push(RuleReport { slug, scenes, failures: rule.failures() - before });
        }
        let entries = all();
        let scenes = entries.iter().flat_map(|it| it.scenes.iter().map(|scene| (it.slug, scene)));
        let scenes: Vec<_> = scenes.collect();
        let disturbed = disturbed(&scenes, &patterns(), &with);
        let built_in = scenes.len();
        Self { rules, disturbed, built_in }
    }

    /// Says whether every scene is told right.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.wrong().next().is_none()
    }

    /// Returns the scenes that are told wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &Played> {
        let own = self.rules.iter().flat_map(|rule| &rule.scenes).filter(|scene| !scene.is_right());
        own.chain(&self.disturbed)
    }
}

impl fmt::Display for Report {
    /// Writes what came of each scene, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.rules {
            writeln!(f, "{}", rule.slug)?;
            rule.scenes.iter().try_for_each(|scene| write!(f, "{scene}"))?;
            if rule.failures > 0 {
                let failures = rule.failures;
                writeln!(f, "  a condition failed {failures} times and was taken for false")?;
            }
        }
        if !self.disturbed.is_empty() {
            writeln!(f, "built-in patterns that the rules disturb")?;
            self.disturbed.iter().try_for_each(|scene| write!(f, "{scene}"))?;
        }
        let own = self.rules.iter().map(|rule| rule.scenes.len()).sum::<usize>();
        let (rules, wrong) = (self.rules.len(), self.wrong().count());
        writeln!(
            f,
            "rules: {rules}; scenes: {own}, and {} of built-in patterns; told wrong: {wrong}",
            self.built_in
        )
    }
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_right() {
            return writeln!(f, "  right  {}", self.name);
        }
        let truth = match self.truth {
            Truth::Healthy => "nothing is wrong".to_owned(),
            Truth::Cause(slug) => format!("the cause is {slug}"),
            Truth::Unknown(slug) => format!("unknown, perhaps {slug}"),
        };
        let told = match &self.answer {
            Answer::Silence => "nothing".to_owned(),
            Answer::Cause(slug) => slug.clone(),
            Answer::Unknown(slugs) => format!("unknown, perhaps {}", slugs.join(" or ")),
            Answer::Several(slugs) => format!("several stories: {}", slugs.join(", ")),
        };
        writeln!(f, "  WRONG  {} ({})", self.name, self.pattern)?;
        writeln!(f, "         true: {truth}")?;
        writeln!(f, "         told: {told}")?;
        self.hint().map_or(Ok(()), |hint| writeln!(f, "         hint: {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: &str = "0s a/b/c%c OomKill constraint=memcg pid=7; \
                        1s a/b/c%c ContainerTerminated reason=OOMKilled exit=137";

    #[test]
    fn a_scene_that_was_wrong_before_is_not_disturbed_by_rules() {
        let scenes = [
            Scene::cause("container_oom", "a kill", KILL),
            Scene::cause("disk_full", "a kill by another name", KILL),
            Scene::healthy("nothing", "0s a/b/c%c Log"),
        ];
        let scenes = scenes.each_ref().map(|scene| ("container_oom", scene));
        let nobody: Patterns = Vec::new().into();
        let names = |without: &Patterns, with: &Patterns| -> Vec<_> {
            disturbed(&scenes, without, with).into_iter().map(|played| played.name).collect()
        };
        assert_eq!(names(&patterns(), &nobody), ["a kill"]);
        assert!(names(&nobody, &nobody).is_empty());
        assert!(names(&patterns(), &patterns()).is_empty());
    }

    #[test]
    fn a_wrong_answer_has_a_hint() {
        let played = |truth, answer| Played {
            pattern: "x".to_owned(),
            name: "scene".to_owned(),
            truth,
            answer,
        };
        let several = Answer::Several(vec!["a".to_owned(), "b".to_owned()]);
        let cases = [
            (played(Truth::Cause("x"), Answer::Silence), Some("woke")),
            (played(Truth::Cause("x"), several), Some("leads_to")),
            (played(Truth::Cause("x"), Answer::Unknown(Vec::new())), Some("unless")),
            (played(Truth::Healthy, Answer::Cause("x".to_owned())), None),
            (played(Truth::Healthy, Answer::Silence), None),
        ];
        for (played, word) in cases {
            let is_hint = |hint: &str| word.is_some_and(|word| hint.contains(word));
            assert_eq!(played.hint().is_some(), word.is_some(), "{played:?}");
            assert!(played.hint().is_none_or(is_hint), "{played:?}");
        }
    }

    #[test]
    fn a_report_says_what_is_wrong_and_why() {
        let played = |name: &str, answer| Played {
            pattern: "x".to_owned(),
            name: name.to_owned(),
            truth: Truth::Cause("x"),
            answer,
        };
        let scenes =
            vec![played("good", Answer::Cause("x".to_owned())), played("bad", Answer::Silence)];
        let disturbed = vec![played("other", Answer::Cause("y".to_owned()))];
        let rules = vec![RuleReport { slug: "x".to_owned(), scenes, failures: 2 }];
        let report = Report { rules, disturbed, built_in: 9 };
        assert!(!report.is_good());
        let text = report.to_string();
        let lines: Vec<_> = text.lines().filter(|line| !line.contains("hint: ")).collect();
        assert_eq!(
            lines,
            [
                "x",
                "  right  good",
                "  WRONG  bad (x)",
                "         true: the cause is x",
                "         told: nothing",
                "  a condition failed 2 times and was taken for false",
                "built-in patterns that the rules disturb",
                "  WRONG  other (x)",
                "         true: the cause is x",
                "         told: y",
                "rules: 1; scenes: 2, and 9 of built-in patterns; told wrong: 2",
            ]
        );
        assert!(text.contains("hint: nothing woke the rule"), "{text}");
    }
}
