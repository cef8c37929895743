//! What people read, word for word.

#![expect(clippy::expect_used, reason = "a binary that cannot be run is a broken test")]

use std::process::Command;

use tempfile::TempDir;

fn tapio(home: &TempDir, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tapio"))
        .args(arguments)
        .env("TAPIO_STORE", home.path().join("stories.db"))
        .env("TAPIO_SOCKET", home.path().join("tapio.sock"))
        .env("COLUMNS", "100")
        .env_remove("NO_COLOR")
        .output()
        .expect("the binary runs");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

fn home() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

/// Replaces the one figure that is this run's own.
fn timeless(text: &str) -> String {
    let (before, after) = text.split_once("told in ").unwrap_or((text, ""));
    let after = after.split_once(" ms").map_or(after, |(_, rest)| rest);
    format!("{before}told in N ms{after}")
}

#[test]
fn help() {
    insta::assert_snapshot!(tapio(&home(), &["--help"]));
}

#[test]
fn help_of_up() {
    insta::assert_snapshot!(tapio(&home(), &["up", "--help"]));
}

#[test]
fn help_of_replay() {
    insta::assert_snapshot!(tapio(&home(), &["replay", "--help"]));
}

#[test]
fn the_demo() {
    insta::assert_snapshot!(timeless(&tapio(&home(), &["demo"])));
}

#[test]
fn a_list_of_stories() {
    let home = home();
    tapio(&home, &["demo"]);
    insta::assert_snapshot!(tapio(&home, &["stories"]));
}

#[test]
fn a_pattern_explained() {
    insta::assert_snapshot!(tapio(&home(), &["explain", "container_oom"]));
}

#[test]
fn all_patterns() {
    insta::assert_snapshot!(tapio(&home(), &["explain"]));
}

#[test]
fn a_refusal_names_the_cure() {
    let home = home();
    let refusals = [
        &["explain", "earthquake"][..],
        &["story", "0123"],
        &["status"],
        &["replay", "-", "--format", "pcap"],
        &["replay", "-", "--speed", "0"],
        &["up", "--window", "soon"],
    ];
    let said = refusals
        .map(|arguments| format!("$ tapio {}\n{}", arguments.join(" "), tapio(&home, arguments)));
    // The home of this run is nobody else's.
    let said = said.join("\n").replace(&*home.path().to_string_lossy(), "HOME");
    insta::assert_snapshot!(said);
}

#[test]
fn color_is_given_only_when_asked_for() {
    let home = home();
    assert!(!tapio(&home, &["demo"]).contains('\u{1b}'), "a pipe gets no colour");
    assert!(tapio(&home, &["demo", "--color", "always"]).contains('\u{1b}'));
}
