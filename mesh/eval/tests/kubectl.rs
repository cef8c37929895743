//! Recordings of kubectl, written by hand as clusters print them, are told by what a person would
//! answer: see `docs/kubectl.md`. A case is one transcript, whose first line is that answer, or a
//! directory with what each command printed, and the answer in its `test_case.yaml`. Neither is read.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot be read or played fails its test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    sync::Arc,
};

use tapio_collect::{Binder, Home};
use tapio_engine::{Limits, Ring, Rules, Told};
use tapio_eval::{Input, open_recording};
use tapio_model::{Sentence, Verdict};

#[path = "kubectl/cases.rs"]
mod cases;

use cases::{CASES, HEALTHY, NOT_YET};

/// What is told of a recording: the pattern, whether it is a cause, and the words.
#[derive(Debug)]
struct Story {
    pattern: String,
    is_cause: bool,
    words: String,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl")
}

/// Writes each output of a transcript into a file of its own, below what recorders of tools write.
fn record(transcript: &str, directory: &Path) {
    let mut outputs: Vec<(&str, String)> = Vec::new();
    for line in transcript.lines().skip(1) {
        match (line.strip_prefix("$ "), outputs.last_mut()) {
            (Some(command), _) => outputs.push((command, String::new())),
            (None, Some((_, output))) => writeln!(output, "{line}").unwrap(),
            (None, None) => panic!("no command above {line:?}"),
        }
    }
    for (at, (command, output)) in outputs.iter().enumerate() {
        let words: Vec<_> = command.split_whitespace().collect();
        let tool = match words.as_slice() {
            ["kubectl", verb, ..] => format!("kubectl_{verb}"),
            [other, verb, ..] => format!("{other}_{verb}"),
            _ => panic!("{command}"),
        };
        let called = format!(
            r#"{{"toolset_name":"kubernetes/core","tool_name":"{tool}","match_params":{{}}}}"#
        );
        let invocation = command.replace('\\', "\\\\").replace('"', "\\\"");
        let ended =
            format!(r#"{{"status": "success", "return_code": 0, "invocation": "{invocation}"}}"#);
        let text = format!("{called}\n{ended}\n{output}");
        fs::write(directory.join(format!("{at:02}_{tool}.txt")), text).unwrap();
    }
}

/// Plays a case, as one transcript or as files of a recorder; what is files stays files.
fn stories(name: &str, is_recorded: bool) -> Vec<Story> {
    let files = folder().join(name);
    if files.is_dir() {
        return play(&files);
    }
    let file = folder().join(format!("{name}.txt"));
    let transcript = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let directory = tempfile::tempdir().unwrap();
    if is_recorded {
        record(&transcript, directory.path());
    } else {
        let below = transcript.split_once('\n').unwrap().1;
        fs::write(directory.path().join("all.txt"), below).unwrap();
    }
    play(directory.path())
}

fn play(directory: &Path) -> Vec<Story> {
    let binder = Arc::new(Binder::new(Home::default()));
    let input = Input::Path(directory.to_path_buf());
    let mut recording = open_recording(Some("kubectl"), input, binder).unwrap();
    let mut events = Vec::new();
    while recording.next_chunk(&mut events).unwrap() {}
    let limits = Limits::default();
    let mut ring = Ring::new(&Arc::new(Rules::new(&tapio_patterns::patterns(), limits.clone())));
    for event in events {
        let time = event.time;
        ring.observe(event, time);
    }
    ring.finish(limits.window);
    let mut last = BTreeMap::new();
    for told in ring.take_told() {
        if let Told::Story(story) = told {
            last.insert(story.id, story);
        }
    }
    let said = |sentences: &[Sentence]| -> String {
        sentences.iter().map(|sentence| format!("{} ", sentence.text)).collect()
    };
    let story = |story: Box<tapio_model::Story>| Story {
        pattern: story.pattern.to_string(),
        is_cause: matches!(story.verdict, Verdict::Cause),
        words: format!("{} {}{}", story.title, said(&story.summary), story.root_cause.text)
            .to_lowercase(),
    };
    last.into_values().map(story).collect()
}

/// Says whether one story is told, of this pattern and in such words.
fn is_right(stories: &[Story], pattern: &str, words: &str) -> bool {
    let [story] = stories else { return false };
    let is_named =
        |word: &str| word.split('|').any(|word| story.words.contains(&*word.to_lowercase()));
    story.is_cause && story.pattern == pattern && words.split(" & ").all(is_named)
}

#[test]
fn every_case_is_told_by_its_cause() {
    let mut wrong = Vec::new();
    for (name, pattern, words) in CASES {
        for is_recorded in [true, false] {
            let told = stories(name, is_recorded);
            if !is_right(&told, pattern, words) {
                wrong.push(format!("{name} (recorded: {is_recorded}): {told:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_told_where_nothing_is_wrong() {
    for name in HEALTHY {
        for is_recorded in [true, false] {
            let told = stories(name, is_recorded);
            assert!(told.is_empty(), "{name}: {told:?}");
        }
    }
}

#[test]
fn what_is_not_told_right_yet_is_known() {
    for (name, pattern, words) in NOT_YET {
        let told = stories(name, true);
        assert!(!is_right(&told, pattern, words), "{name} is told right: move it to CASES");
    }
}

#[test]
fn every_case_is_in_the_table() {
    let files = fs::read_dir(folder()).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if folder().join(&name).is_dir() {
            return Some(name);
        }
        name.strip_suffix(".txt").map(str::to_owned)
    });
    let known = CASES.iter().chain(NOT_YET).map(|(name, ..)| *name).chain(HEALTHY.iter().copied());
    let (files, known): (BTreeSet<_>, BTreeSet<_>) =
        (files.collect(), known.map(str::to_owned).collect());
    assert_eq!(files, known);
}
