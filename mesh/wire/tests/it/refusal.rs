//! What is stepped over, what is refused, and under which reason.

use std::sync::Arc;

use tapio_model::{Class, Event, Severity};
use tapio_wire::{
    ATTRIBUTES_MAX, AUDIT_BYTES_MAX, BATCH_EVENTS_MAX, DEAD_LETTER_BYTES_MAX, DecodeError,
    FINDINGS_BYTES_MAX, GRAVES_BYTES_MAX, INCIDENT_STATE_BYTES_MAX, LIST_ITEMS_MAX,
    MESSAGE_BYTES_MAX, NESTING_MAX, RESOLVED_BYTES_MAX, ROOT_BYTES_MAX, SIGN_OF_LIFE_BYTES_MAX,
    TELLING_BYTES_MAX, TEXT_BYTES_MAX, TRACE_STATE_BYTES_MAX, VERSION, WAITING_BYTES_MAX,
    decode_audit, decode_batch, decode_dead_letter, decode_event, decode_finding, decode_findings,
    decode_graves, decode_incident_state, decode_raw, decode_resolved, decode_root,
    decode_sign_of_life, decode_story, decode_telling, decode_trace_state, decode_waiting,
    encode_audit, encode_batch, encode_dead_letter, encode_event, encode_finding, encode_findings,
    encode_graves, encode_incident_state, encode_raw, encode_resolved, encode_root,
    encode_sign_of_life, encode_story, encode_telling, encode_trace_state, encode_waiting,
};

use crate::{mesh::sample as mesh, sample, tree::Tree};

/// A message and the function that reads it.
struct Sample {
    form: &'static str,
    bytes: Vec<u8>,
    decode: fn(&[u8]) -> Result<(), DecodeError>,
    bytes_max: usize,
}

macro_rules! samples {
    ($($form:literal, $value:expr, $encode:ident, $decode:ident, $max:expr;)+) => {
        vec![$(Sample {
            form: $form,
            bytes: $encode(&$value),
            decode: |bytes| $decode(bytes).map(|_| ()),
            bytes_max: $max,
        }),+]
    };
}

/// Every message there is.
fn messages() -> Vec<Sample> {
    samples! {
        "event", sample::event(), encode_event, decode_event, MESSAGE_BYTES_MAX;
        "batch", sample::batch(), encode_batch, decode_batch, MESSAGE_BYTES_MAX;
        "raw", sample::raw(), encode_raw, decode_raw, MESSAGE_BYTES_MAX;
        "finding", sample::finding(), encode_finding, decode_finding, MESSAGE_BYTES_MAX;
        "story", sample::story(), encode_story, decode_story, MESSAGE_BYTES_MAX;
        "story", sample::merged_story(), encode_story, decode_story, MESSAGE_BYTES_MAX;
        "trace", mesh::trace_state(), encode_trace_state, decode_trace_state,
            TRACE_STATE_BYTES_MAX;
        "graves", mesh::graves(), encode_graves, decode_graves, GRAVES_BYTES_MAX;
        "incident", mesh::incident_state(), encode_incident_state, decode_incident_state,
            INCIDENT_STATE_BYTES_MAX;
        "resolved", mesh::resolved(), encode_resolved, decode_resolved, RESOLVED_BYTES_MAX;
        "waiting", mesh::waiting(), encode_waiting, decode_waiting, WAITING_BYTES_MAX;
        "root", mesh::root(), encode_root, decode_root, ROOT_BYTES_MAX;
        "findings", mesh::findings(), encode_findings, decode_findings, FINDINGS_BYTES_MAX;
        "telling", mesh::telling(), encode_telling, decode_telling, TELLING_BYTES_MAX;
        "letter", mesh::dead_letter(), encode_dead_letter, decode_dead_letter,
            DEAD_LETTER_BYTES_MAX;
        "audit", mesh::audit(), encode_audit, decode_audit, AUDIT_BYTES_MAX;
        "sign", mesh::sign_of_life(), encode_sign_of_life, decode_sign_of_life,
            SIGN_OF_LIFE_BYTES_MAX;
    }
}

pub(crate) fn reason<T>(result: Result<T, DecodeError>) -> Option<&'static str> {
    result.err().map(|error| error.reason())
}

/// Makes an event's message with one change.
fn forged(change: impl FnOnce(&mut Tree)) -> Vec<u8> {
    let mut tree = Tree::of(&encode_event(&sample::event()));
    change(&mut tree);
    tree.seal()
}

fn decode_forged(change: impl FnOnce(&mut Tree)) -> Result<Event, DecodeError> {
    decode_event(&forged(change))
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    for Sample { form, bytes, decode, .. } in messages() {
        assert_eq!(decode(&[]), Err(DecodeError::Empty));
        for end in 1..bytes.len() {
            assert_eq!(reason(decode(&bytes[..end])), Some("malformed"), "{form} cut at {end}");
        }
    }
}

#[test]
fn a_message_with_more_after_its_end_is_refused() {
    for Sample { form, bytes, decode, .. } in messages() {
        for more in 0..=u8::MAX {
            let bytes = [bytes.as_slice(), &[more]].concat();
            assert_eq!(reason(decode(&bytes)), Some("malformed"), "{form} and {more:#x}");
        }
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    for Sample { form, mut bytes, decode, .. } in messages() {
        for found in [0, 2, b'{', 255] {
            bytes[0] = found;
            let want = DecodeError::UnknownVersion { found, known: VERSION };
            assert_eq!(decode(&bytes), Err(want), "{form}");
        }
    }
}

#[test]
fn one_byte_too_many_is_refused_before_it_is_read() {
    for Sample { form, decode, bytes_max, .. } in messages() {
        let bytes = vec![VERSION; bytes_max + 1];
        let want = DecodeError::TooLarge { bytes: bytes.len(), bytes_max };
        assert_eq!(decode(&bytes), Err(want), "{form}");
        assert_eq!(reason(decode(&bytes[1..])), Some("malformed"), "{form}");
    }
}

#[test]
fn a_message_is_not_taken_for_another() {
    let messages = messages();
    for Sample { form, bytes, .. } in &messages {
        for other in &messages {
            let is_same = *form == other.form;
            assert_eq!((other.decode)(bytes).is_ok(), is_same, "{form} read as {}", other.form);
        }
    }
}

#[test]
fn an_unknown_field_is_stepped_over() {
    let additions = [
        Tree::Nil,
        Tree::Int(-1),
        Tree::Bytes(vec![1; 300]),
        Tree::Map(vec![("a".into(), Tree::List(vec![Tree::Float(1.5), Tree::Text("b".into())]))]),
    ];
    for addition in additions {
        let event = decode_forged(|event| {
            for place in ["trace", "place"] {
                event.field(place).fields().insert(0, ("new".into(), addition.clone()));
            }
            event.fields().insert(0, ("new".into(), addition.clone()));
        });
        assert_eq!(event, Ok(sample::event()), "{addition:?}");
    }
}

#[test]
fn an_optional_field_that_is_missing_takes_its_default() {
    const OPTIONAL: [&str; 5] = ["place", "severity", "impact", "class", "attributes"];
    let event = decode_forged(|event| {
        event.fields().retain(|(name, _)| !OPTIONAL.contains(&name.as_str()));
    });
    let event = event.unwrap();
    assert_eq!((event.severity, event.class), (Severity::Info, Class::Other));
    assert!(event.attributes.is_empty() && *event.place == Default::default());

    for required in ["id", "time", "source", "kind", "trace"] {
        let cut = decode_forged(|event| event.fields().retain(|(name, _)| name != required));
        let error = cut.unwrap_err().to_string();
        assert!(error.contains(required), "{error}");
    }
}

#[test]
fn a_field_of_another_type_is_refused() {
    let wrong = [Tree::Nil, Tree::Bool(true), Tree::Bytes(vec![1, 2, 3]), Tree::Text("x".into())];
    for field in ["id", "time", "source", "kind", "trace", "place", "severity", "attributes"] {
        for value in &wrong {
            let event = decode_forged(|event| *event.field(field) = value.clone());
            assert_eq!(reason(event), Some("malformed"), "{field} = {value:?}");
        }
    }
    for value in [Tree::Nil, Tree::List(vec![]), Tree::Bytes(vec![]), Tree::Uint(u64::MAX)] {
        let attribute = vec![("key".into(), value)];
        let event = decode_forged(|event| *event.field("attributes") = Tree::Map(attribute));
        assert_eq!(reason(event), Some("malformed"));
    }
}

#[test]
fn a_field_sent_twice_is_refused() {
    let event = decode_forged(|event| {
        let first = event.fields()[0].clone();
        event.fields().push(first);
    });
    assert_eq!(reason(event), Some("malformed"));
}

#[test]
fn a_number_from_a_newer_peer_is_refused_by_field_and_number() {
    for field in ["source", "kind", "severity", "class"] {
        for code in [0, 9_999] {
            let event = decode_forged(|event| *event.field(field) = Tree::Uint(code.into()));
            assert_eq!(event, Err(DecodeError::UnknownCode { field, code }));
        }
    }
}

#[test]
fn a_share_outside_zero_to_one_is_refused_not_clamped() {
    for impact in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let event = decode_forged(|event| *event.field("impact") = Tree::Float(impact));
        assert_eq!(reason(event), Some("malformed"), "{impact}");
    }
}

#[test]
fn an_event_that_cannot_be_read_does_not_cost_its_neighbours() {
    let mut tree = Tree::of(&encode_batch(&sample::batch()));
    let unknown_kind = forged(|event| *event.field("kind") = Tree::Uint(9_999));
    let events = tree.field("events").items();
    events[1] = Tree::Bytes(unknown_kind[1..].to_vec());
    events[3] = Tree::Bytes(b"garbage".to_vec());
    let decoded = decode_batch(&tree.seal()).unwrap();

    let rejected: Vec<_> = decoded.rejected.iter().map(|(at, e)| (*at, e.reason())).collect();
    assert_eq!(rejected, [(1, "unknown_code"), (3, "malformed")]);
    let mut want = sample::batch().events;
    want.remove(3);
    want.remove(1);
    assert_eq!(decoded.batch.events, want);
}

#[test]
fn a_limit_is_reached_and_not_passed() {
    let text = |bytes| Tree::Text("x".repeat(bytes));
    let attributes = |count| {
        let pairs = (0..count).map(|key| (format!("{key}"), Tree::Bool(true)));
        Tree::Map(pairs.collect())
    };
    let nested = |depth| (0..depth).fold(Tree::Nil, |inner, _| Tree::List(vec![inner]));
    let many = Some("too_many");
    for (field, value, want) in [
        ("attributes", attributes(ATTRIBUTES_MAX), None),
        ("attributes", attributes(ATTRIBUTES_MAX + 1), many),
        ("new", nested(NESTING_MAX / 2), None),
        ("new", nested(NESTING_MAX + 1), Some("malformed")),
        ("place", Tree::Map(vec![("pod".into(), text(TEXT_BYTES_MAX))]), None),
        ("place", Tree::Map(vec![("pod".into(), text(TEXT_BYTES_MAX + 1))]), Some("malformed")),
    ] {
        let event = decode_forged(|event| {
            event.fields().retain(|(name, _)| name != field);
            event.fields().push((field.into(), value));
        });
        assert_eq!(reason(event), want, "{field}");
    }

    let least = Arc::new(sample::least_event());
    let mut batch = sample::batch();
    batch.events = vec![Arc::clone(&least); BATCH_EVENTS_MAX];
    assert_eq!(reason(decode_batch(&encode_batch(&batch))), None);
    batch.events.push(least);
    let want = DecodeError::TooMany {
        what: "events",
        count: BATCH_EVENTS_MAX + 1,
        count_max: BATCH_EVENTS_MAX,
    };
    assert_eq!(decode_batch(&encode_batch(&batch)), Err(want));

    let mut story = sample::story();
    story.event_ids = vec![story.root_cause_event; LIST_ITEMS_MAX];
    assert_eq!(reason(decode_story(&encode_story(&story))), None);
    story.event_ids.push(story.root_cause_event);
    assert_eq!(reason(decode_story(&encode_story(&story))), many);
}

#[test]
fn a_value_that_breaks_its_invariant_is_malformed() {
    let mut no_root = sample::finding();
    no_root.evidence.remove(0);
    let mut two_roots = sample::finding();
    two_roots.evidence.push(two_roots.evidence[0].clone());
    let mut unsorted = sample::finding();
    unsorted.evidence.reverse();
    for finding in [no_root, two_roots, unsorted] {
        assert_eq!(reason(decode_finding(&encode_finding(&finding))), Some("malformed"));
    }

    let mut story = sample::story();
    story.summary[1].events.clear();
    assert_eq!(reason(decode_story(&encode_story(&story))), Some("malformed"));
    let mut nowhere = Tree::of(&encode_story(&sample::merged_story()));
    nowhere.fields().retain(|(name, _)| name != "merged_into");
    assert_eq!(reason(decode_story(&nowhere.seal())), Some("malformed"));
}
