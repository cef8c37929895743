use crate::fixture::{errors, rule, yaml};

/// A rule that is good.
const GOOD: &str = "match:\n- name: a\n  kind: log\n- name: b\n  kind: span\n  optional: true\n";

/// Returns the one error of a text, as people read it.
fn said(text: &str) -> String {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors[0].to_string()
}

#[test]
fn a_good_rule_is_good() {
    assert_eq!(rule(GOOD).steps.len(), 2);
}

/// What to replace in a good rule, by what, and what is then said.
const BAD: &[(&str, &str, &str)] = &[
    ("slug: sample", "slug: Sample", "1: slug: `Sample` is not a name; write a to z"),
    ("slug: sample", "slug: cause", "1: slug: `cause` is a word of the format; choose"),
    ("slug: sample", "slugs: sample", "1: slugs: there is no such field; did you mean `slug`?"),
    ("title: Sample", "title: ' '", "2: title: is empty; whoever"),
    ("what: a\n", "", "what: is missing; write it"),
    ("root: c", "root: []", "root: "),
    ("class: kernel_proof", "class: proof", "8: class: there is no class of evidence `proof`"),
    ("advise: [look]", "advise: []", "9: tell.advise: advises nothing; write"),
    ("\"{place}\"", "\"{placex}\"", "9: tell.title: there is no placeholder `placex`; did you"),
    ("\"{message}\"", "' '", "9: tell.because: says nothing; write a sentence"),
    ("name: x,", "name: '',", "11: scenes.1.name: is empty; say in a few words"),
    ("truth: cause", "truth: right", "11: scenes.1.truth: there is no truth `right`"),
    ("truth: cause", "truth: healthy", "10: scenes: have none that the rule holds in; add"),
    ("truth: healthy", "truth: cause", "10: scenes: have none of a good day; add one with"),
    ("truth: container_oom", "truth: unknown", "10: scenes: have no look-alike that another"),
    (
        "truth: cause, story: 0s a/b Log",
        "truth: cause, story: 0s a/b Quake",
        "11: scenes.1.story: cannot be read: statement 1: \"Quake\" is not a kind; write TIME",
    ),
    (
        "  kind: span",
        "  kind: spam",
        "18: match.2.kind: there is no kind `spam`; did you mean `span`?",
    ),
    ("  kind: span", "  kind: []", "18: match.2.kind: names no kind of event; write one"),
    ("  kind: span", "  kind: 7", "18: match.2.kind: "),
    (
        "  kind: span",
        "  kinds: span",
        "18: match.2.kinds: there is no such field; did you mean `kind`?",
    ),
    ("- name: b", "- name: a", "17: match.2.name: is the name of another step; choose"),
    ("- name: b", "- name: place", "17: match.2.name: is a word of placeholders; choose"),
    ("- name: b", "- name: B", "17: match.2.name: `B` is not a name; write"),
    ("  optional: true", "  optional: maybe", "19: match.2.optional: "),
    (
        "  optional: true",
        "  absent: true\n  optional: true",
        "19: match.2.absent: is both optional and absent; keep",
    ),
    (
        "  optional: true",
        "  missing: x",
        "19: match.2.missing: is of a step that must be there; add",
    ),
    ("  optional: true", "  within: soon", "19: match.2.within: `soon` is not a time; write"),
    (
        "  optional: true",
        "  within: 31s",
        "19: match.2.within: is longer than the 30 s that events are kept",
    ),
    (
        "  optional: true",
        "  optional: true\n  within: 2h",
        "20: match.2.within: is longer than 3600 s",
    ),
    (
        "  optional: true",
        "  at_least: 0",
        "19: match.2.at_least: is not between 1 and 4096; for none",
    ),
    ("  optional: true", "  at_least: -1", "19: match.2.at_least: "),
    (
        "  optional: true",
        "  after: b",
        "19: match.2.after: no earlier step is called `b`; name one above",
    ),
    ("  optional: true", "  same: house", "19: match.2.same: there is no thing `house`; choose"),
    ("  optional: true", "  role: boss", "19: match.2.role: there is no role `boss`; choose"),
    (
        "  optional: true",
        "  optional: true\n  role: root",
        "20: match.2.role: the root may be missing",
    ),
    (
        "  optional: true",
        "  when: messagex == 'x'",
        "19: match.2.when: there is no variable `messagex`; did",
    ),
    (
        "  optional: true",
        "  when: |\n    severity >= WARN &&\n    (",
        "19: match.2.when: is not CEL: line 2",
    ),
    ("  optional: true", "  says: '{'", "19: match.2.says: a lone `{`; write {{"),
    (
        "  kind: log",
        "  kind: log\n  same: pod",
        "17: match.1.same: compares the first step with itself",
    ),
    (
        "  kind: log",
        "  kind: log\n  optional: true",
        "15: match.1.name: the root may be missing; let",
    ),
    ("match:", "about: trace\nmatch:", "14: about: there is no thing `trace`; choose one of"),
    (
        "match:",
        "leads_to: [nothing_here]\nmatch:",
        "14: leads_to.1: there is no pattern `nothing_here`",
    ),
    ("match:", "leads_to: [sample]\nmatch:", "14: leads_to.1: names the rule itself; name another"),
    (
        "match:",
        "rule_out:\n- pattern: node_oom\n  because: x\n  step: c\nmatch:",
        "17: rule_out.1.step: there is no step `c`; choose one of: a, b",
    ),
    (
        "match:",
        "or: { pattern: node_oomx, because: x, check: y }\nmatch:",
        "14: or.pattern: there is no pattern `node_oomx`; did you mean `node_oom`?",
    ),
    ("match:", "or: { pattern: node_oom, because: x }\nmatch:", "check: is missing; write"),
    ("title: Sample", "title: Sample\ntitle: Again", "3: title: `title` stands here twice; keep"),
    ("title: Sample", "title: [", ""),
];

#[test]
fn every_bad_value_is_said_with_its_line_and_cure() {
    for (from, to, want) in BAD {
        let text = yaml(GOOD);
        assert!(text.contains(from), "{from}");
        let error = said(&text.replacen(from, to, 1));
        assert!(error.starts_with("sample.yaml:") && error.contains(want), "{to}: {error}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = yaml(GOOD).replace("kind: span", "kind: spam").replace("title: Sample", "title: ''");
    let fields: Vec<_> = errors(&text).into_iter().map(|error| error.field).collect();
    assert_eq!(fields, ["title", "match.2.kind"]);
}

#[test]
fn what_is_too_much_is_refused() {
    let steps: String =
        (0..17).map(|number| format!("- {{ name: s{number}, kind: log }}\n")).collect();
    let error = said(&yaml(&format!("match:\n{steps}")));
    assert!(error.contains("match: has more than 16 steps; tell two stories"), "{error}");
    assert!(said(&yaml("match: []")).contains("match: has no step; write"));
    let scenes = "- { name: q, truth: healthy, story: 0s a/b Log }\n".repeat(64);
    let text = yaml(GOOD).replace("match:", &format!("{scenes}match:"));
    assert!(said(&text).contains("scenes: are more than 64; keep"));
    let long = format!("what: {}", "x".repeat(5_000));
    assert!(said(&yaml(GOOD).replace("what: a", &long)).contains("what: longer than 4096 letters"));
}

#[test]
fn no_text_makes_the_reader_panic() {
    let good = yaml(GOOD);
    let head: Vec<char> = good.split("match:").next().unwrap().chars().collect();
    for end in (0..head.len()).step_by(7) {
        let half: String = head.iter().take(end).collect();
        assert!(!errors(&half).is_empty(), "a rule without its end is none: {half}");
    }
    let bombs = [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]".to_owned(),
        "[".repeat(5_000),
        format!("slug: {}", "{".repeat(5_000)),
        "? ".repeat(2_000),
        "- ".repeat(2_000),
        "slug: !!binary x\n".to_owned(),
        "--- a\n--- b\n".to_owned(),
        "\u{feff}slug: x".to_owned(),
    ];
    for text in bombs {
        assert!(!errors(&text).is_empty(), "{text:.40}");
    }
}
