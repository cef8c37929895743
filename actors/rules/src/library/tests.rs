use std::fs;

use tapio_patterns::scene::Truth;
use tempfile::TempDir;

use super::*;

/// The page that describes the format.
const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md"));

/// Returns the rule of the page.
fn example() -> &'static str {
    let (_, rest) = PAGE.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn renamed(slug: &str) -> String {
    example().replace("license_expired", slug)
}

#[test]
fn the_example_of_the_page_is_told_right() {
    let home = directory(&[("license.yaml", example()), ("notes.txt", "{"), (".x.yaml", "{")]);
    let library = Library::load(home.path()).unwrap();
    let [rule] = library.rules() else { panic!("{library:?}") };
    assert!(rule.header().is_complete());
    assert_eq!(rule.header().root, "The line that names the license.");
    let report = library.test();
    assert!(report.is_good(), "{:#?}", report.wrong().collect::<Vec<_>>());
    let truths: Vec<_> = report.rules[0].scenes.iter().map(|scene| scene.truth).collect();
    let own = "license_expired";
    let want =
        [Truth::Cause(own), Truth::Unknown(own), Truth::Cause("container_oom"), Truth::Healthy];
    assert_eq!(truths, want);
    assert_eq!(library.patterns().len(), patterns().len() + 1);
}

#[test]
fn files_come_in_the_order_of_their_names() {
    let (a, b) = (renamed("alpha"), renamed("beta").replace("title: L", "title: M"));
    let home = directory(&[("2.yaml", &a), ("1.yaml", &b)]);
    let slugs = |library: &Library| -> Vec<_> {
        library.rules().iter().map(|rule| rule.spec().slug).collect()
    };
    let library = Library::load(home.path()).unwrap();
    assert_eq!(slugs(&library), ["beta", "alpha"]);
    let paths = [home.path().join("2.yaml"), home.path().join("1.yaml")];
    assert_eq!(slugs(&Library::load_all(&paths).unwrap()), ["alpha", "beta"]);
    assert!(Library::load_all(&[]).unwrap().rules().is_empty());
}

#[test]
fn a_slug_has_one_owner() {
    let stolen = renamed("container_oom");
    let home = directory(&[("a.yaml", example()), ("b.yaml", example()), ("c.yaml", &stolen)]);
    let errors = Library::load(home.path()).unwrap_err();
    let slugs: Vec<_> = errors.iter().filter(|error| error.field == "slug").collect();
    let [twice, stolen] = slugs.as_slice() else { panic!("{errors:#?}") };
    assert!(twice.file.ends_with("b.yaml") && twice.what.contains("a.yaml"), "{twice}");
    assert!(stolen.file.ends_with("c.yaml") && stolen.what.contains("Tapio itself"), "{stolen}");
    assert_eq!(twice.line, Some(1));
}

#[test]
fn rules_may_name_each_other() {
    let a = renamed("alpha").replace("leads_to: [cannot_start", "leads_to: [beta, cannot_start");
    let home = directory(&[("a.yaml", &a), ("b.yaml", &renamed("beta"))]);
    assert_eq!(Library::load(home.path()).unwrap().rules().len(), 2);
    fs::remove_file(home.path().join("b.yaml")).unwrap();
    let errors = Library::load(home.path()).unwrap_err();
    assert_eq!(errors[0].field, "leads_to.1", "{errors:#?}");
}

#[test]
fn what_is_too_large_or_unreadable_is_refused_by_name() {
    let long = format!("{}\n# {}", example(), "x".repeat(64 << 10));
    let home = directory(&[("a.yaml", &long), ("b.yaml", "# nothing\n---\n")]);
    fs::write(home.path().join("c.yaml"), [0xff, 0xfe]).unwrap();
    let errors = Library::load(home.path()).unwrap_err();
    let said: Vec<_> = errors.iter().map(|error| error.what.as_str()).collect();
    let [long, empty, bytes] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((*long, *empty), ("longer than 64 KiB", "is empty"));
    assert!(bytes.starts_with("is not text"), "{bytes}");
    let gone = Library::load(&home.path().join("gone")).unwrap_err();
    assert_eq!(gone[0].cure, "create it, or name another");
    let gone = Library::load_all(&[home.path().join("gone.yaml")]).unwrap_err();
    assert!(gone[0].to_string().contains("gone.yaml: cannot be read"), "{}", gone[0]);
}

#[test]
fn a_directory_has_a_last_rule() {
    let sources: Vec<_> = (0..=Limits::RULES_MAX)
        .map(|number| Source { path: format!("{number}.yaml").into(), bytes: Vec::new() })
        .collect();
    let errors = Library::of(&sources).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].what, "is one rule more than 256");
}

#[test]
fn a_rule_that_doubles_a_built_in_pattern_is_told_wrong() {
    // It calls every kill for want of memory its own, and says of none that it is an effect.
    let greedy = r#"
slug: greedy
title: Greedy
what: a
evidence: b
root: c
not_this: d
first_look: e
class: event_text
match: [{ name: kill, kind: oom_kill }]
tell: { title: "{place}", because: it is, advise: [nothing] }
scenes:
  - { name: a kill, truth: cause, story: "0s a/b/c Log; 1s a/b/c OomKill constraint=memcg pid=7" }
  - { name: hang, truth: container_oom, story: "0s a/b/c OomKill constraint=memcg pid=7; 1s a/b/c ContainerTerminated reason=OOMKilled exit=137" }
  - { name: calm, truth: healthy, story: "0s a/b/c Log" }
"#;
    let home = directory(&[("greedy.yaml", greedy)]);
    let report = Library::load(home.path()).unwrap().test();
    assert!(!report.is_good());
    let wrong: Vec<_> = report.wrong().map(|scene| scene.name.as_str()).collect();
    assert_eq!(wrong.first(), Some(&"a kill"), "{report:#?}");
    // And it disturbs the stories of built-in patterns, which are named.
    assert!(wrong.len() > 1, "{report:#?}");
}
