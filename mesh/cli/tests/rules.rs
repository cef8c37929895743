//! Rules of users at the commands that take them.

#![expect(clippy::expect_used, reason = "a binary that cannot be run is a broken test")]

use std::{fs, process::Command};

use tempfile::TempDir;

/// What no built-in pattern tells of.
const RULE: &str = r#"slug: orders_behind
title: Orders fall behind
what: The queue of orders is not worked off.
evidence: Two warnings within half a minute that say how far behind it is.
root: The first of them.
not_this: container_oom (the consumer was killed).
first_look: kubectl logs deployment/orders | grep behind
class: log_template
about: pod
match:
  - name: behind
    kind: log
    when: severity >= WARN && message.contains("orders behind")
    at_least: 2
    within: 30s
tell:
  title: "{place} falls behind with its orders"
  because: "the queue is not worked off: {message}"
  advise: ["kubectl scale deployment/{workload} --replicas=3 -n {namespace}"]
scenes:
  - name: it falls behind
    truth: cause
    story: |
      0s  shop/orders-1/orders@n1%orders  Log  sev=warn msg="12000 orders behind"
      5s  shop/orders-1/orders@n1%orders  Log  sev=warn msg="14000 orders behind"
  - name: it was killed
    truth: container_oom
    story: |
      0s  shop/orders-1/orders@n1%orders  OomKill  constraint=memcg pid=7 proc=java
      1s  shop/orders-1/orders@n1%orders  ContainerTerminated  exit=137 reason=OOMKilled
  - name: it catches up
    truth: healthy
    story: |
      0s  shop/orders-1/orders@n1%orders  Log  sev=warn msg="12000 orders behind"
"#;

/// A directory with one rule, and a recording beside it.
struct World {
    home: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { home: TempDir::new().expect("a temporary directory") };
        fs::create_dir(world.path("rules")).expect("a directory");
        world.write("rules/orders.yaml", RULE);
        let line = |second: u8, behind: u16| {
            format!(
                r#"{{"time":"2026-11-20T02:47:{second:02}Z","source":"app","kind":"log","place":{{"namespace":"shop","pod":"orders-1","pod_uid":"u-1","container":"orders","workload":{{"kind":"Deployment","name":"orders"}}}},"severity":"warn","impact":0.3,"class":"application","attributes":{{"message":"{behind} orders behind"}}}}"#
            )
        };
        let lines = [r#"{"tapio_recording":1}"#.to_owned(), line(1, 12_000), line(6, 14_000)];
        world.write("orders.jsonl", &lines.join("\n"));
        world
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a temporary file");
    }

    /// Runs the binary, with the variable set only if it is not empty; the home of this run is nobody
    /// else's and shown as `HOME`.
    fn tapio(&self, variable: &str, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_tapio"))
            .args(arguments)
            .env_clear()
            .env("TAPIO_STORE", self.path("stories.db"))
            .env("TAPIO_SOCKET", self.path("tapio.sock"))
            .env("COLUMNS", "100")
            .envs((!variable.is_empty()).then_some(("TAPIO_RULES", variable)))
            .output()
            .expect("the binary runs");
        let code = output.status.code().unwrap_or_default();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        let text = format!("$ tapio {}\n{text}= {code}\n", arguments.join(" "));
        text.replace(&*self.home.path().to_string_lossy(), "HOME")
    }
}

#[test]
fn a_rule_tells_of_a_recording_what_no_built_in_pattern_does() {
    let world = World::new();
    let (recording, rules) = (world.path("orders.jsonl"), world.path("rules"));
    let replay = ["replay", &recording, "--no-store", "-o", "json"];
    let is_told = |said: &str| said.contains("\"root_cause\":");
    let without = world.tapio("", &replay);
    assert!(without.contains("\"events\":2") && !is_told(&without), "{without}");
    let flags = [&replay[..], &["--rules", &rules]].concat();
    for said in [world.tapio("", &flags), world.tapio(&rules, &replay)] {
        assert!(is_told(&said) && said.contains("\"pattern\":\"orders_behind\""), "{said}");
    }
}

#[test]
fn a_rule_is_listed_and_explained_beside_the_built_in_patterns() {
    let world = World::new();
    let rules = world.path("rules");
    insta::assert_snapshot!(world.tapio("", &["explain", "orders_behind", "--rules", &rules]));
    let last = |said: String| said.lines().rev().nth(1).unwrap_or_default().to_owned();
    for command in [&["explain"][..], &["pattern", "list"]] {
        let said = last(world.tapio(&rules, command));
        assert!(said.contains("orders_behind") && said.contains("Orders fall behind"), "{said}");
    }
    let said = world.tapio(&rules, &["explain", "container_oom"]);
    assert!(said.ends_with("= 0\n"), "{said}");
}

#[test]
fn what_is_wrong_with_a_rule_is_said_before_anything_starts() {
    let world = World::new();
    world.write("rules/late.yaml", &RULE.replace("kind: log", "kind: lag"));
    let (recording, rules) = (world.path("orders.jsonl"), world.path("rules"));
    let nowhere = world.path("nowhere");
    let commands = [
        &["up", "--rules", &rules][..],
        &["node", "--rules", &rules],
        &["replay", &recording, "--rules", &rules],
        &["eval", &recording, "--rules", &rules],
        &["explain", "--rules", &rules],
        &["pattern", "list", "--rules", &nowhere],
    ];
    let said = commands.map(|arguments| world.tapio("", arguments));
    insta::assert_snapshot!(said.join("\n"));
}
