use tapio_patterns::fixture::events;

use super::*;

fn judge(condition: &str, story: &str) -> Judgement {
    let condition =
        Condition::compile(condition).unwrap_or_else(|why| panic!("{condition}: {why:?}"));
    condition.judge(&events(story).unwrap()[0])
}

const LINE: &str = "90s shop/cart-1/cart@n1%cart Log sev=warn src=journal class=memory impact=0.5 \
                    msg=\"evicted 12 keys\" reason=Full count=3 tapio.ratio=0.25 probe=liveness";

#[test]
fn a_condition_asks_for_everything_an_event_says() {
    for condition in [
        "true",
        "kind == 'log' && source != \"app\" && class in ['memory', 'cpu']",
        "severity >= WARN && severity < ERROR && severity in [WARN, FATAL]",
        "impact > 0.4 && impact <= 1 && time == 90000",
        "message.startsWith('evicted') && message.endsWith('keys') && size(message) == 15",
        "message.matches('evicted [0-9]+ keys') && !message.matches('^keys')",
        "attributes.reason == 'Full' && attributes.count >= 3 && attributes.ratio < 0.5",
        "attributes.tapio.probe == 'liveness' && attributes[\"tapio.probe\"] == attributes.probe",
        "has(attributes.probe) && !has(attributes.exit) && 'tapio.probe' in attributes",
        "place.namespace == 'shop' && place.workload_kind == 'Deployment' && has(place.node)",
        "!has(place.service) && place.pod.startsWith(place.workload + '-')",
        "['oops', 'evicted'].exists(word, message.contains(word))",
        "size([1, 2, 3].filter(n, n > 1)) == 2 && [1].all(n, n == 1)",
        "(attributes.count > 5 ? 'many' : 'few') == 'few'",
        "attributes.exit == 137 || attributes.reason == 'Full'",
        "int(attributes.reason.size()) == 4 || true",
        "kind + ' line' == 'log line' && message.matches('(?i)EVICTED \\\\d+')",
    ] {
        assert_eq!(judge(condition, LINE), Judgement::Holds, "{condition}");
    }
}

#[test]
fn what_an_event_does_not_say_is_false_and_no_failure() {
    for condition in [
        "attributes.exit == 137",
        "attributes.exit != 137",
        "place.service == 'cart'",
        "attributes.exit > 1 && message.contains('evicted')",
        "attributes.error.matches('x')",
    ] {
        assert_eq!(judge(condition, LINE), Judgement::No, "{condition}");
    }
}

#[test]
fn what_cannot_be_worked_out_is_a_failure_and_no_panic() {
    for condition in [
        "attributes.reason > 3",
        "1 / (attributes.count - 3) == 1",
        "attributes.count.contains('x')",
        "attributes.count + 9223372036854775807 > 0",
        "int(message) == 3",
        "attributes.count",
    ] {
        assert_eq!(judge(condition, LINE), Judgement::Failed, "{condition}");
    }
}

#[test]
fn what_can_never_hold_is_refused_with_its_cure() {
    let cases = [
        ("", "is not CEL", "write CEL"),
        ("message.contains(", "is not CEL", "write CEL"),
        ("messagex == 'x'", "no variable `messagex`", "`message`"),
        ("kind == 'oom_killx'", "no kind `oom_killx`", "`oom_kill`"),
        ("source in ['kernel', 'journalx']", "no source `journalx`", "`journal`"),
        ("attributes.probex == 'x'", "no attribute `probex`", "`probe`"),
        ("place.podx == 'x'", "no part of a place `podx`", "`pod`"),
        ("severity >= 'warn'", "a severity is compared with text", "severity >= WARN"),
        ("severity in ['warn']", "a severity is compared with text", "severity >= WARN"),
        ("severity == 3", "a severity is compared with a number", "WARN"),
        ("message > 3", "text is compared with a number", "like with like"),
        ("message", "text stands where true or false is needed", "compare"),
        ("message.includes('x')", "no function `includes`", "contains"),
        ("contains(message, 'x')", "`contains` is not called like that", "message.contains"),
        ("message.contains(3)", "a number stands where text is needed", "compare"),
        ("message.matches('(')", "is not a regular expression", "correct it"),
        ("message.matches('a{1000}{1000}')", "is not a regular expression", "correct it"),
        ("message.matches(message)", "computes a key or a regular expression", "in quotes"),
        ("(message + 'x').matches('x')", "something computed", "message"),
        ("attributes == 3", "asks for all attributes", "attributes.reason"),
        ("attributes.exists(k, true)", "runs over something", "write the list"),
        ("place == 'x'", "asks for a whole place", "place.namespace"),
        ("attributes.exit == null", "asks for null", "has("),
        ("{'a': 1} == 3", "makes a map", "only asks"),
        ("timestamp('x') == 3", "no function `timestamp`", "choose one of"),
        ("[1, 2][0] == 1", "indexes something", "by their key"),
        ("['x'].exists(place, place == 'x')", "calls an item of its list `place`", "another name"),
        ("message.x == 'y'", "takes `.x` of `message`", "attributes"),
    ];
    for (condition, what, cure) in cases {
        let fault = Condition::compile(condition).expect_err(condition);
        assert!(fault.what.contains(what), "{condition}: {fault:?}");
        assert!(fault.cure.contains(cure), "{condition}: {fault:?}");
    }
}

#[test]
fn the_cost_of_a_condition_has_a_bound() {
    let list = format!("[{}]", ["1"; 20].join(","));
    let twice = format!("{list}.all(a, {list}.all(b, a == b))");
    assert!(Condition::compile(&twice).unwrap_err().what.contains("operations"));
    let long = format!("message == '{}'", "x".repeat(Limits::CONDITION_CHARS_MAX));
    assert!(Condition::compile(&long).unwrap_err().what.contains("letters"));
    for open in [
        "(", "[", "-", "!", "a.b(", "\"", "{", "?", "1+(", "a ? b : ", "a ? (", "a<b<", "a.b().",
        "a[1].",
    ] {
        assert!(Condition::compile(&open.repeat(300)).is_err(), "{open}");
    }
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(judge(&nested(7), LINE), Judgement::Holds);
    assert!(Condition::compile(&nested(20)).unwrap_err().what.contains("deep"));
    let sum = |terms: usize| format!("{} == {terms}", vec!["1"; terms].join("+"));
    assert_eq!(judge(&sum(40), LINE), Judgement::Holds);
    assert!(Condition::compile(&sum(200)).unwrap_err().what.contains("deep"));
}

#[test]
fn no_text_makes_the_compiler_panic() {
    let pieces = [
        "message", ".", "(", ")", "[", "]", "\"", "'", "&&", "?", ":", "1", "é", "\u{0}", "@",
        "\n", "`", "has(",
    ];
    // A walk through all texts of up to three pieces, and some longer ones.
    for a in pieces {
        for b in pieces {
            for c in pieces {
                let text = format!("{a}{b}{c}{a}");
                if let Ok(condition) = Condition::compile(&text) {
                    condition.judge(&events(LINE).unwrap()[0]);
                }
            }
        }
    }
}
