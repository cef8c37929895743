//! Does the product keep its word to whoever types its commands?

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tapio_tests::{Tapio, root, run, tapio_binary, text};
use tempfile::TempDir;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("product::the_demo_tells_one_story", demo),
        Case::new("product::a_told_story_can_be_read_again", read_again),
        Case::new("product::the_same_recording_gives_the_same_bytes", same_bytes),
        Case::new("product::bad_lines_are_counted_and_lose_nothing_else", bad_lines),
        Case::new("product::exit_codes_say_whose_fault_it_is", exit_codes),
        Case::new("product::completion_scripts_are_complete", completion),
        Case::new("product::what_comes_in_is_learnt_from", learns),
        Case::new("product::what_comes_in_is_recorded", record),
    ]
}

fn home() -> Result<TempDir, String> {
    TempDir::new().map_err(|error| error.to_string())
}

fn stories(output: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(output);
    let values = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    values
        .filter(|value: &Value| {
            value.get("root_cause").is_some() && value.get("confidence").is_some()
        })
        .collect()
}

fn demo() -> Result<(), String> {
    let output = run(&home()?, &["demo", "-o", "json"])?;
    let stories = stories(&output.stdout);
    let [story] = stories.as_slice() else {
        return Err(format!("{} stories: {stories:#?}", stories.len()));
    };
    if text(story, "pattern") != "container_oom" {
        return Err(format!("not the cause: {story:#}"));
    }
    let cited = story.get("event_ids").and_then(Value::as_array).cloned().unwrap_or_default();
    let citations = story.get("citations").and_then(Value::as_array).cloned().unwrap_or_default();
    if citations.is_empty() {
        return Err("no sentence cites anything".into());
    }
    for citation in &citations {
        let events = citation.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
        if events.is_empty() || !events.iter().all(|event| cited.contains(event)) {
            return Err(format!("a sentence cites what the story does not hold: {citation}"));
        }
    }
    let decoys = ["bad_rollout", "cpu_throttling"];
    let root_cause = text(story, "root_cause");
    let decoyed = decoys.iter().find(|decoy| text(story, "pattern") == **decoy);
    decoyed.map_or(Ok(()), |decoy| Err(format!("fell for {decoy}: {root_cause}")))
}

fn read_again() -> Result<(), String> {
    let home = home()?;
    let told = stories(&run(&home, &["demo", "-o", "json"])?.stdout);
    let id = told.first().map(|story| text(story, "id").to_owned()).unwrap_or_default();
    let listed = stories(&run(&home, &["stories", "-o", "json"])?.stdout);
    if listed != told {
        return Err(format!("listed otherwise than told: {listed:#?}"));
    }
    let shown = stories(&run(&home, &["story", &id, "-o", "json"])?.stdout);
    if shown != told {
        return Err(format!("shown otherwise than told: {shown:#?}"));
    }
    let evidence = run(&home, &["story", &id, "--evidence", "-o", "json"])?;
    let lines = String::from_utf8_lossy(&evidence.stdout).lines().count();
    let cited = told.first().and_then(|it| it.get("event_ids")?.as_array().map(Vec::len));
    // The story itself, then every event it cites.
    if Some(lines) == cited.map(|cited| cited + 1) {
        Ok(())
    } else {
        Err(format!("{lines} lines of evidence for {cited:?} events"))
    }
}

/// What whoever learns says when the first telemetry comes.
const LEARNS: &str = "what is normal is learnt";

/// A request of one span, as OTLP over HTTP has it in JSON.
const SPAN: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET /cart","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000"}]}]}]}"#;

fn learns() -> Result<(), String> {
    const ARGUMENTS: [&str; 8] = [
        "--no-kmsg",
        "--no-journal",
        "--no-cgroup",
        "--no-usage",
        "--otlp-http",
        "127.0.0.1:0",
        "--log-level",
        "info",
    ];
    let within = Duration::from_secs(10);
    for (more, learns) in [(&[][..], true), (&["--no-baseline"], false)] {
        let arguments: Vec<_> = ARGUMENTS.iter().chain(more).copied().collect();
        let tapio = Tapio::up(&arguments)?;
        let notice = tapio.notice("otlp http", within)?;
        let address = notice.split_whitespace().last().unwrap_or_default().to_owned();
        send_span(&address)?;
        let patience = if learns { within } else { Duration::from_secs(2) };
        match (tapio.notice(LEARNS, patience), learns) {
            (Ok(_), true) | (Err(_), false) => drop(tapio.stop()?),
            (Err(said), true) => return Err(format!("nothing is learnt: {said}")),
            (Ok(said), false) => return Err(format!("it learns all the same: {said}")),
        }
    }
    Ok(())
}

/// Sends a span, and waits until it was handed on.
fn send_span(address: &str) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(said)?;
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        SPAN.len()
    );
    stream.write_all(format!("{head}{SPAN}").as_bytes()).map_err(said)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(said)?;
    let is_taken = answer.starts_with("HTTP/1.1 200");
    if is_taken { Ok(()) } else { Err(format!("the span is not taken: {answer}")) }
}

fn record() -> Result<(), String> {
    let home = home()?;
    let recording = home.path().join("seen.jsonl");
    let path = recording.to_string_lossy();
    let senses =
        ["--no-kmsg", "--no-journal", "--no-cgroup", "--no-usage", "--no-probes", "--no-pod-logs"];
    let others = ["--no-kubernetes", "--otlp-http", "127.0.0.1:0", "--record", &*path];
    let arguments = [&senses[..], &others].concat();
    let tapio = Tapio::up(&arguments)?;
    let notice = tapio.notice("otlp http", Duration::from_secs(10))?;
    send_span(notice.split_whitespace().last().unwrap_or_default())?;
    drop(tapio.stop()?);
    let told = run(&home, &["replay", "--no-store", "-o", "json", &*path])?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let summary: Value =
        serde_json::from_str(told.trim()).map_err(|error| format!("{error}: {told}"))?;
    let count =
        |field: &str| summary.pointer(&format!("/replayed/{field}")).and_then(Value::as_u64);
    if (count("events"), count("rejected")) != (Some(1), Some(0)) {
        return Err(format!("one span was seen, and is recorded as: {summary}"));
    }
    let twice = run(&home, &[&["up"][..], &arguments].concat())?;
    let complaint = String::from_utf8_lossy(&twice.stderr).into_owned();
    let names_the_cure = complaint.contains("name a new file with --record");
    if twice.status.success() || !names_the_cure {
        return Err(format!("a recording is written over: {complaint}"));
    }
    Ok(())
}

fn replay(input: &str) -> Result<std::process::Output, String> {
    let mut child = Command::new(tapio_binary()?)
        .args(["replay", "-", "--no-store", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(|error| error.to_string())?;
    }
    child.wait_with_output().map_err(|error| error.to_string())
}

fn recording() -> Result<String, String> {
    let path = root().join("mesh/cli/src/cmd/demo/checkout.jsonl");
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn same_bytes() -> Result<(), String> {
    let recording = recording()?;
    let tell = || {
        let output = replay(&recording)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // The last line is about this run's time and memory.
        Ok::<_, String>(text.lines().filter(|line| !line.contains("replayed")).collect::<String>())
    };
    let (first, second) = (tell()?, tell()?);
    if first.is_empty() || first != second {
        return Err(format!("{first}\n---\n{second}"));
    }
    Ok(())
}

fn bad_lines() -> Result<(), String> {
    let recording = recording()?;
    let count = |input: &str| {
        let output = replay(input)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().unwrap_or_default().to_owned();
        let value: Value =
            serde_json::from_str(&last).map_err(|error| format!("{error}: {last}"))?;
        let figure =
            |name: &str| value.pointer(&format!("/replayed/{name}")).and_then(Value::as_u64);
        Ok::<_, String>((figure("events"), figure("rejected"), stories(&output.stdout).len()))
    };
    let (events, rejected, stories) = count(&recording)?;
    if rejected != Some(0) {
        return Err(format!("our own recording has {rejected:?} bad lines"));
    }
    let huge = format!("{{\"time\":1,\"attributes\":{{\"a\":\"{}\"}}}}\n", "x".repeat(2 << 20));
    let bad =
        ["not json\n", "{\"time\":\"yesterday\"}\n", "{}\n", "[1,2]\n", "\u{0}\u{1}\n", &huge];
    let mut poisoned = String::new();
    for (number, line) in recording.lines().enumerate() {
        poisoned.push_str(line);
        poisoned.push('\n');
        if let Some(bad) = number.checked_sub(20).and_then(|at| bad.get(at)) {
            poisoned.push_str(bad);
        }
    }
    let after = count(&poisoned)?;
    let expected = (events, Some(bad.len() as u64), stories);
    if after == expected { Ok(()) } else { Err(format!("{after:?}, not {expected:?}")) }
}

fn exit_codes() -> Result<(), String> {
    let cases: [(&[&str], i32); 7] = [
        (&["--version"], 0),
        (&["up", "--window", "soon"], 64),
        (&["explain"], 0),
        (&["explain", "earthquake"], 64),
        (&["replay", "/nowhere.jsonl"], 69),
        (&["story", "00000000000000000000000000"], 69),
        (&["replay", "-", "--format", "pcap"], 64),
    ];
    for (arguments, code) in cases {
        let output = run(&home()?, arguments)?;
        if output.status.code() != Some(code) {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{arguments:?} ended with {:?}: {text}", output.status.code()));
        }
        if code != 0 && output.stderr.is_empty() {
            return Err(format!("{arguments:?} failed without a word"));
        }
    }
    Ok(())
}

fn completion() -> Result<(), String> {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&home()?, &["completion", shell])?;
        let script = String::from_utf8_lossy(&output.stdout);
        for command in ["replay", "stories", "explain"] {
            if !script.contains(command) {
                return Err(format!("the {shell} script lacks {command}"));
            }
        }
    }
    Ok(())
}
