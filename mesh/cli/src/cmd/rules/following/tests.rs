use std::{fs, path::Path};

use tapio_engine::{Limits, Shard};
use tapio_patterns::{fixture::events, patterns};
use tempfile::TempDir;

use super::*;

/// A rule that holds for every two lines of a log, and whose condition fails on a text.
const RULE: &str = r#"
slug: talk
title: Talk
what: a
evidence: b
root: c
not_this: d
first_look: e
class: log_template
match: [{ name: line, kind: log, when: attributes.reason > 3, at_least: 2 }]
tell: { title: "{place}", because: "{message}", advise: [listen] }
scenes:
- { name: x, truth: cause, story: 0s a/b Log }
- { name: y, truth: container_oom, story: 0s a/b Log }
- { name: z, truth: healthy, story: 0s a/b Log }
"#;

const LINES: &str = "0s a/b/c Log sev=error reason=4; 1s a/b/c Log sev=error reason=5;\
                     2s a/b/c Log sev=error reason=text";

/// Writes a file as editors and ConfigMaps do: another file takes its place.
fn write(home: &TempDir, name: &str, text: &str) {
    let new = home.path().join(".new");
    fs::write(&new, text).unwrap();
    fs::rename(new, home.path().join(name)).unwrap();
}

fn follower(directory: &Path) -> Follower {
    let reload = Reload::open(directory).unwrap();
    let rules = Arc::new(Rules::new(&patterns(), Limits::default()));
    Follower { rules, figures: Arc::new(Figures::of(Some(&reload))), reload }
}

/// Looks as often as a change takes, and returns the last news.
fn settle(follower: &mut Follower) -> Change {
    let told = [follower.look(), follower.look()];
    told.into_iter().rfind(|change| *change != Change::None).unwrap_or(Change::None)
}

/// Returns how much is found in the same lines under the rules in force.
fn found(follower: &Follower) -> usize {
    let mut shard = Shard::new(Arc::clone(&follower.rules));
    let events = events(LINES).unwrap();
    let now = events.last().unwrap().time;
    for event in events {
        shard.observe(Arc::new(event), now);
    }
    shard.advance(now.after(Duration::from_secs(20)));
    shard.take_outputs().len()
}

fn figures(follower: &Follower) -> [u64; 3] {
    let meters = Meters::new();
    let following = Following { figures: Arc::clone(&follower.figures), task: None };
    following.observe(&meters);
    let page = meters.prometheus();
    let figure = |metric: Metric| {
        let line = page.lines().find_map(|line| line.strip_prefix(metric.name()));
        line.unwrap().trim().parse().unwrap()
    };
    [Metric::RulesInForce, Metric::RulesRefused, Metric::RuleFailures].map(figure)
}

#[test]
fn a_new_rule_is_in_force_after_two_looks_and_a_bad_one_changes_nothing() {
    let home = TempDir::new().unwrap();
    let mut follower = follower(home.path());
    assert_eq!((settle(&mut follower), found(&follower)), (Change::None, 0));
    write(&home, "talk.yaml", RULE);
    assert!(matches!(settle(&mut follower), Change::Taken { .. }));
    assert_eq!(found(&follower), 1);
    write(&home, "more.yaml", "slug: half");
    assert!(matches!(settle(&mut follower), Change::Refused(_)));
    assert_eq!(found(&follower), 1);
    fs::remove_file(home.path().join("more.yaml")).unwrap();
    fs::remove_file(home.path().join("talk.yaml")).unwrap();
    assert!(matches!(settle(&mut follower), Change::Taken { .. }));
    assert_eq!(found(&follower), 0);
}

#[test]
fn the_figures_say_what_is_in_force_what_was_refused_and_what_failed() {
    let home = TempDir::new().unwrap();
    write(&home, "talk.yaml", RULE);
    let mut follower = follower(home.path());
    follower.rules.swap(&follower.reload.library().patterns());
    assert_eq!(figures(&follower), [1, 0, 0]);
    found(&follower);
    assert_eq!(figures(&follower), [1, 0, 1], "a text is not above 3");
    write(&home, "half.yaml", "slug: half");
    settle(&mut follower);
    assert_eq!(figures(&follower), [1, 1, 1]);
    write(&home, "half.yaml", &RULE.replace("slug: talk", "slug: more_talk"));
    settle(&mut follower);
    assert_eq!(figures(&follower), [2, 0, 1], "what the old rules counted stays");
}

#[tokio::test]
async fn the_status_names_the_rules_and_why_a_change_was_refused() {
    let home = TempDir::new().unwrap();
    let status: StatusSource = Arc::new(|| json!({ "pump": 1 }));
    let rules = Arc::new(Rules::new(&patterns(), Limits::default()));
    let nobody = Following::start(None, &rules).beside(Arc::clone(&status));
    assert_eq!(nobody(), json!({ "pump": 1 }));
    write(&home, "talk.yaml", RULE);
    let mut follower = follower(home.path());
    write(&home, "talk.yaml", "");
    settle(&mut follower);
    let following = Following {
        figures: Arc::clone(&follower.figures),
        task: Some(spawn_named("idle", std::future::pending())),
    };
    let told = following.beside(status)();
    assert_eq!(told["rules"]["failures"], json!({ "talk": 0 }));
    assert!(told["rules"]["refused"][0].as_str().unwrap().contains("talk.yaml"), "{told}");
}
