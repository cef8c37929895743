//! What people read of the mesh's commands where no server is needed, word for word.

#![expect(clippy::expect_used, reason = "a binary that cannot be run is a broken test")]

use std::process::Command;

/// Runs the binary with no variable set but these.
fn tapio(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tapio"))
        .args(arguments)
        .env_clear()
        .env("COLUMNS", "100")
        .output()
        .expect("the binary runs");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().unwrap_or_default();
    format!("$ tapio {}\n{text}= {code}\n", arguments.join(" "))
}

#[test]
fn help_of_publish() {
    insta::assert_snapshot!(tapio(&["publish", "--help"]));
}

#[test]
fn help_of_dead_letters() {
    let pages = [&["dlq", "--help"][..], &["dlq", "replay", "--help"]];
    insta::assert_snapshot!(pages.map(tapio).join("\n"));
}

#[test]
fn a_refusal_names_the_cure() {
    let refusals = [
        &["dlq", "list", "--reason", "earthquake"][..],
        &["dlq", "list", "--nats-user", "u", "--nats-token", "t"],
        &["dlq", "list", "--nats-context", "staging"],
        &["dlq", "list", "--subject-prefix", "a.b"],
        &["dlq", "replay"],
        &["dlq", "replay", "1", "--all"],
        &["dlq", "replay", "1", "--reason", "poison"],
        &["dlq", "show", "first"],
        &["publish", "/no/such/file"],
        &["publish", "-", "--rate", "0"],
        &["publish", "-", "--replicas", "2"],
        &["publish", "-", "--events-max-bytes", "4GB"],
        &["publish", "-", "--shards", "0"],
        &["dlq", "list", "--nats", "nats://127.0.0.1:1", "--nats-wait", "1s", "--log-level", "off"],
    ];
    insta::assert_snapshot!(refusals.map(tapio).join("\n"));
}
