//! The JSON of events and stories, and what its reader is told when it is wrong.

use tapio_model::{Binding, Class, Impact, Kind, Rule, Severity, Timestamp};
use tapio_wire::{
    JsonError, LINE_BYTES_MAX, StoryJson, event_schema, event_to_json, parse_event_line,
    story_schema,
};

use crate::sample;

const LEAST: &str = r#"{"time":1,"source":"app","kind":"log"}"#;

#[test]
fn an_event_reads_like_this() {
    insta::assert_json_snapshot!(event_to_json(&sample::event()));
}

#[test]
fn a_story_reads_like_this() {
    insta::assert_json_snapshot!(StoryJson::from(&sample::story()));
}

#[test]
fn a_merged_story_of_unknown_cause_names_its_candidates() {
    let story = StoryJson::from(&sample::merged_story());
    assert_eq!((story.state.as_str(), story.verdict.as_str()), ("merged", "unknown"));
    assert_eq!(story.merged_into.as_deref(), Some("00000001YG1040G2081040G208"));
    let hypotheses = story.hypotheses.unwrap();
    let confidences: Vec<_> = hypotheses.iter().map(|h| h.confidence.to_string()).collect();
    assert_eq!(confidences, ["0.55", "0.3333"]);
    assert!(story.check.is_some() && story.predecessor.is_none());
}

#[test]
fn every_sentence_of_a_story_cites_events() {
    let story = StoryJson::from(&sample::story());
    let told = |section: &str| {
        let citations = story.citations.iter().filter(|citation| citation.section == section);
        citations.map(|citation| citation.sentence.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(told("summary").join(" "), story.summary);
    assert_eq!(told("root_cause"), [story.root_cause.as_str()]);
    assert_eq!(told("recommendation"), story.recommendation);
    assert!(story.citations.iter().all(|citation| !citation.events.is_empty()));
}

#[test]
fn references_are_written_only_if_there_are_any() {
    let written = |story| serde_json::to_value(StoryJson::from(&story)).unwrap();
    assert_eq!(written(sample::story()).get("references"), None);
    let referring = written(sample::referring_story());
    let [reference] = referring["references"].as_array().unwrap().as_slice() else { panic!() };
    assert!(referring["event_ids"].as_array().unwrap().contains(reference));
    let read: StoryJson = serde_json::from_value(referring).unwrap();
    assert_eq!(read, StoryJson::from(&sample::referring_story()));
}

#[test]
fn a_story_reads_back_from_its_json() {
    let story = StoryJson::from(&sample::merged_story());
    let json = serde_json::to_string(&story).unwrap();
    assert_eq!(serde_json::from_str::<StoryJson>(&json).unwrap(), story);
}

#[test]
fn a_line_may_leave_out_all_but_time_source_and_kind() {
    let event = parse_event_line(LEAST.as_bytes()).unwrap();
    assert_eq!((event.id, event.trace), (None, None));
    assert_eq!((event.time, event.kind), (Timestamp::from_nanos(1), Kind::Log));
    assert_eq!((event.severity, event.class), (Severity::Info, Class::Other));
    assert!(event.impact == Impact::NONE && event.attributes.is_empty());
}

#[test]
fn unknown_fields_and_white_space_are_skipped() {
    let line = br#" {"time":1,"new":{"a":[1]},"source":"app","place":{"x":1},"kind":"log"} "#;
    assert_eq!(parse_event_line(line), parse_event_line(LEAST.as_bytes()));
}

#[test]
fn a_binding_is_explicit_unless_written() {
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (binding, want) in [
        (String::new(), Binding::Explicit),
        (r#","binding":"explicit""#.into(), Binding::Explicit),
        (r#","binding":"inferred(pod)""#.into(), Binding::Inferred(Rule::Pod)),
    ] {
        let trace = format!(r#","trace":{{"trace_id":"{id}"{binding}}}}}"#);
        let event = parse_event_line(LEAST.replace('}', &trace).as_bytes()).unwrap();
        let trace = event.trace.unwrap();
        assert_eq!((trace.trace_id.to_string().as_str(), trace.binding), (id, want));
    }
}

#[test]
fn a_refusal_has_a_reason_and_says_what_to_write() {
    let with = |field: &str| LEAST.replace('}', &format!(",{field}}}"));
    for (line, reason, cure) in [
        (String::new(), "malformed", "one JSON object a line"),
        ("[1]".into(), "malformed", "one JSON object a line"),
        (LEAST.replace('}', ""), "malformed", "one JSON object a line"),
        (format!("{LEAST}{LEAST}"), "malformed", "trailing characters"),
        (r#"{"time":1,"kind":"log"}"#.into(), "malformed", "`source`"),
        (with(r#""attributes":{"a":18446744073709551615}"#), "malformed", "write it as text"),
        (with(r#""attributes":{"a":null}"#), "malformed", "text, a number, true or false"),
        (LEAST.replace("log", "earthquake"), "unknown_kind", "oom_kill, "),
        (LEAST.replace("app", "rumour"), "unknown_source", "kernel, "),
        (with(r#""severity":"loud""#), "unknown_severity", "fatal"),
        (with(r#""class":"upper""#), "unknown_class", "memory, "),
        (LEAST.replace(":1", ":\"noon\""), "bad_time", "2026-11-21T04:00:00.123456789Z"),
        (with(r#""id":"xyz""#), "bad_id", "32 hexadecimal digits"),
        (with(r#""trace":{"trace_id":"ab"}"#), "bad_id", "bad trace_id \"ab\""),
        (with(r#""impact":70"#), "bad_impact", "from 0"),
    ] {
        let error = parse_event_line(line.as_bytes()).unwrap_err();
        assert_eq!(error.reason(), reason, "{line}");
        assert!(error.to_string().contains(cure), "{error}");
    }
}

#[test]
fn an_unknown_binding_lists_the_rules() {
    let trace = r#","trace":{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","binding":"guess"}}"#;
    let error = parse_event_line(LEAST.replace('}', trace).as_bytes()).unwrap_err();
    assert_eq!(error, JsonError::UnknownBinding { name: "guess".into() });
    assert!(error.to_string().contains("inferred(RULE) with RULE one of workload, "), "{error}");
}

#[test]
fn a_line_that_is_too_long_is_not_parsed() {
    let longest = format!("{LEAST}{}", " ".repeat(LINE_BYTES_MAX - LEAST.len()));
    assert!(parse_event_line(longest.as_bytes()).is_ok());
    let error = parse_event_line(format!("{longest} ").as_bytes()).unwrap_err();
    assert_eq!(error.reason(), "too_large");
}

#[test]
fn the_schemas_are_those_in_the_tree() {
    for (name, schema, kept) in [
        ("event", event_schema(), include_str!("../../schema/event.schema.json")),
        ("story", story_schema(), include_str!("../../schema/story.schema.json")),
    ] {
        assert!(
            format!("{schema:#}\n") == kept,
            "the schema of {name} changed; if it was meant to: cargo run -p tapio-wire --example \
             schema -- {name} > mesh/wire/schema/{name}.schema.json"
        );
    }
}
