use tapio_model::Kind;
use tapio_patterns::fixture::{detect, events};

use super::*;
use crate::fixture::rule;

fn told(lines: &str, story: &str) -> Vec<Draft> {
    detect(&*rule(lines), story).unwrap()
}

fn one(lines: &str, story: &str) -> Option<Draft> {
    let mut drafts = told(lines, story);
    assert!(drafts.len() < 2, "{drafts:?}");
    drafts.pop()
}

#[test]
fn a_step_counts_what_its_sources_saw_within_its_time() {
    let three = "match: [{ name: a, kind: log, at_least: 3, within: 10s }]";
    let cases = [
        ("0s a/b/c Log; 1s a/b/c Log", false),
        ("0s a/b/c Log; 1s a/b/c Log; 10s a/b/c Log", true),
        ("0s a/b/c Log; 1s a/b/c Log; 11s a/b/c Log", false),
        ("0s a/b/c Log count=2; 9s a/b/c Log", true),
        ("0s a/b/c Log; 20s a/b/c Log; 25s a/b/c Log count=2", true),
        ("0s a/b/c Log; 0s a/b/d Log; 1s a/b/c Log", false),
        ("", false),
    ];
    for (story, holds) in cases {
        assert_eq!(one(three, story).is_some(), holds, "{story}");
    }
    let late = one(three, "0s a/b/c Log; 20s a/b/c Log; 25s a/b/c Log count=2; 28s a/b/c Log");
    assert_eq!(late.unwrap().evidence().len(), 3, "what came before the run is not of it");
}

#[test]
fn steps_are_bound_by_what_they_share_and_when_they_were() {
    let cases = [
        ("same: container", "1s a/b/c@n1 IoError", true),
        ("same: container", "1s a/b/d@n1 IoError", false),
        ("same: node", "1s node:n1 IoError", true),
        ("same: node", "1s node:n2 IoError", false),
        ("same: trace", "1s node:n2 IoError", true),
        ("within: 5s", "9s a/b/c@n1 IoError", true),
        ("within: 5s", "10s a/b/c@n1 IoError", false),
        ("after: first", "1s node:n1 IoError", true),
        ("at_least: 2", "1s node:n1 IoError", false),
        ("when: 'attributes.device == \"sdb\"'", "1s node:n1 IoError device=sdb", true),
        ("when: 'attributes.device == \"sdb\"'", "1s node:n1 IoError device=sdc", false),
    ];
    for (what, event, holds) in cases {
        let lines = format!(
            "match: [{{ name: first, kind: log }}, {{ name: next, kind: io_error, {what} }}]"
        );
        let story = format!("2s a/b/c@n1 Log; 4s a/b/c@n1 Log; {event}");
        assert_eq!(one(&lines, &story).is_some(), holds, "{what}: {event}");
    }
    let order = "match: [{ name: first, kind: log }, { name: next, kind: span, after: first }]";
    for (time, holds) in [("7s", false), ("8s", true), ("30s", true)] {
        let story = format!("10s a/b/c Log; {time} a/b/c Span");
        assert_eq!(one(order, &story).is_some(), holds, "{time}: clocks differ by two seconds");
    }
}

#[test]
fn a_sample_is_seen_by_the_rule_that_asks_for_it() {
    let lines = "match: [{ name: a, kind: memory_limit_reached }, \
        { name: b, kind: metric, when: 'attributes.memory_share > 0.9' }]";
    for (share, holds) in [("0.95", true), ("0.85", false)] {
        let story = format!("0s a/b/c MemoryLimitReached; 1s a/b Metric memory_share={share}");
        assert_eq!(one(lines, &story).is_some(), holds, "{share}");
    }
}

#[test]
fn one_event_is_not_the_evidence_of_two_steps() {
    let lines = "match: [{ name: a, kind: log }, { name: b, kind: [log, span] }]";
    assert!(one(lines, "0s a/b/c Log; 1s a/b/c Log").is_none());
    assert_eq!(one(lines, "0s a/b/c Log; 1s a/b/c Span").unwrap().evidence().len(), 2);
}

#[test]
fn what_is_optional_is_missed_and_what_is_absent_decides() {
    let lines = "match:\n- { name: a, kind: log }\n\
        - { name: b, kind: span, optional: true, missing: the call }\n\
        - { name: c, kind: oom_kill, optional: true }\n\
        - { name: d, kind: io_error, absent: true, same: node }\n";
    let draft = one(lines, "0s a/b/c@n1 Log").unwrap();
    assert_eq!(draft.gaps(), ["the call", "c (oom kill)"]);
    let draft = one(lines, "0s a/b/c@n1 Log; 1s a/b/c Span; 1s node:n2 IoError").unwrap();
    assert_eq!(draft.gaps(), ["c (oom kill)"]);
    assert!(one(lines, "0s a/b/c@n1 Log; 1s node:n1 IoError").is_none());
}

#[test]
fn the_root_may_be_another_step_than_the_first() {
    let lines = "match:\n- { name: a, kind: log, role: symptom, says: \"line: {message}\" }\n\
        - { name: b, kind: rollout_started, role: root, says: \"{place} is rolled out; {a.message}\" }\n\
        rule_out:\n- { pattern: node_oom, because: \"{count} rollout, {a.count} lines\", step: b }\n\
        - { pattern: disk_full, because: no disk speaks }\n";
    let story = "0s a/b@n1%b RolloutStarted; 1s a/b/c@n1%b Log msg=one; 2s a/b/c@n1%b Log msg=two";
    let draft = one(lines, story).unwrap();
    let said: Vec<_> = draft.evidence().iter().map(|it| (it.role, it.text.as_str())).collect();
    assert_eq!(
        said,
        [
            (Role::Root, "a/b is rolled out; one"),
            (Role::Symptom, "line: one"),
            (Role::Symptom, "line: two")
        ]
    );
    assert_eq!(draft.subject().kind(), "container", "it is about what the first step names");
    assert_eq!(draft.headline(), "a/b");
    assert_eq!(draft.root_cause(), "rollout started");
    assert!(draft.touches().iter().any(|entity| entity.kind() == "workload"));
    let out: Vec<_> = draft.ruled_out().iter().map(|it| (&*it.because, it.events.len())).collect();
    assert_eq!(out, [("1 rollout, 2 lines", 1), ("no disk speaks", 0)]);
}

#[test]
fn a_doubt_stays_unless_what_decides_was_seen() {
    let lines = |unless: &str| {
        format!(
            "match: [{{ name: a, kind: log }}, {{ name: b, kind: span, optional: true }}]\n\
             or: {{ pattern: node_oom, because: x, check: \"ask {{place}}\"{unless} }}\n"
        )
    };
    let doubt = |lines: &str, story: &str| one(lines, story).unwrap().doubt().cloned();
    let (always, unless) = (lines(""), lines(", unless: b"));
    assert_eq!(doubt(&unless, "0s a/b/c Log").unwrap().check, "ask a/b/c");
    assert_eq!(doubt(&unless, "0s a/b/c Log; 0s a/b/c Span"), None);
    assert!(doubt(&always, "0s a/b/c Log; 0s a/b/c Span").is_some());
}

#[test]
fn each_thing_is_a_subject_of_its_own() {
    let lines = "match: [{ name: a, kind: log }]\n";
    let story = "0s a/b/c@n1%w Log svc=s; 0s a/b/c@n1%w Log cid=restarted svc=s; \
                 0s a/b/d@n1%w Log svc=s; 0s a/e/c@n2%w Log svc=s; 1s node:n1 Log; 2s node:n1 Log";
    for (about, subjects) in [
        ("", "container container container node"),
        ("about: container", "container container container node"),
        ("about: pod", "pod pod node"),
        ("about: workload", "workload node"),
        ("about: service", "service node"),
        ("about: node", "node node"),
    ] {
        let drafts = told(&format!("{lines}{about}"), story);
        let kinds: Vec<_> = drafts.iter().map(|draft| draft.subject().kind()).collect();
        assert_eq!(kinds.join(" "), subjects, "{about}");
    }
    let many: String = (0..100).map(|number| format!("0s a/b{number}/c Log;")).collect();
    assert_eq!(told(lines, &many).len(), Limits::SUBJECTS_MAX);
}

#[test]
fn proof_of_the_kernel_needs_the_kernel() {
    let lines = "match: [{ name: a, kind: [log, oom_kill] }]";
    assert_eq!(one(lines, "0s a/b/c Log").unwrap().class(), EvidenceClass::ObjectStatus);
    assert_eq!(one(lines, "0s a/b/c OomKill").unwrap().class(), EvidenceClass::KernelProof);
}

#[test]
fn a_condition_that_fails_is_false_and_counted() {
    let rule = rule("match: [{ name: a, kind: log, when: attributes.reason > 3 }]");
    let story = "0s a/b/c Log reason=text; 0s a/b/c Log; 1s a/b/c Log reason=4";
    let drafts = detect(&*rule, story).unwrap();
    assert_eq!(drafts.len(), 1);
    assert_eq!(drafts[0].evidence()[0].time, events(story).unwrap()[2].time);
    assert_eq!(rule.failures(), 1);
}

#[test]
fn a_look_costs_no_more_than_its_budget() {
    let words = vec!["1"; 60].join(", ");
    let rule = rule(&format!(
        "match: [{{ name: a, kind: log, when: '[{words}].all(n, n == 1)', at_least: 2 }}]"
    ));
    let story = "0s a/b/c Log;".repeat(2_000);
    assert_eq!(detect(&*rule, &story).unwrap()[0].evidence().len(), Limits::CITED_MAX);
    let failed = usize::try_from(rule.failures()).unwrap();
    assert!(failed > 500 && failed < 2_000, "what is too much is not looked at: {failed}");
}

#[test]
fn a_step_that_goes_on_leaves_room_for_the_others() {
    let lines = "match: [{ name: a, kind: log }, { name: b, kind: span, role: symptom }]\n\
                 rule_out: [{ pattern: node_oom, because: \"{a.count} lines\", step: a }]";
    let story = format!("{}1s a/b/c Span", "0s a/b/c Log;".repeat(1_000));
    let draft = one(lines, &story).unwrap();
    let symptoms = draft.evidence().iter().filter(|it| it.role == Role::Symptom).count();
    assert_eq!((draft.evidence().len(), symptoms), (Limits::CITED_MAX + 1, 1));
    let out = &draft.ruled_out()[0];
    assert_eq!((&*out.because, out.events.len()), ("1000 lines", Limits::CITED_MAX));
}

#[test]
fn a_rule_wakes_on_what_is_rare() {
    let cases: [(&str, &[Kind]); 4] = [
        ("{ name: a, kind: [span, log] }", &[Kind::Log, Kind::Span]),
        ("{ name: a, kind: log }, { name: b, kind: io_error }", &[Kind::IoError]),
        ("{ name: a, kind: log }, { name: b, kind: io_error, absent: true }", &[Kind::Log]),
        ("{ name: a, kind: log }, { name: b, kind: io_error, optional: true }", &[Kind::Log]),
    ];
    for (steps, kinds) in cases {
        let rule = rule(&format!("match: [{steps}]\nleads_to: [node_oom]"));
        assert_eq!(rule.spec().wakes_on, kinds, "{steps}");
        assert_eq!((rule.spec().slug, rule.spec().leads_to), ("sample", ["node_oom"].as_slice()));
    }
}

#[test]
fn the_order_of_arrival_does_not_change_the_finding() {
    let lines = "match: [{ name: a, kind: log, at_least: 2, within: 5s }, { name: b, kind: span }]";
    let statements = ["0s a/b/c Log", "1s a/b/c Log", "2s a/b/c Span", "9s a/b/c Log"];
    let shape = |story: String| {
        let draft = one(lines, &story).unwrap();
        draft.evidence().iter().map(|it| (it.time, it.role, it.kind)).collect::<Vec<_>>()
    };
    let forwards = shape(statements.join(";"));
    let backwards = shape(statements.iter().rev().copied().collect::<Vec<_>>().join(";"));
    assert_eq!(forwards, backwards);
    assert_eq!(forwards.len(), 4);
}
