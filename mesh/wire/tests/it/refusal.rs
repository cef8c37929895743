//! What is stepped over, what is refused, and under which reason.

use std::sync::Arc;

use tapio_model::{Class, Event, Severity};
use tapio_wire::{
    ATTRIBUTES_MAX, BATCH_EVENTS_MAX, DecodeError, LIST_ITEMS_MAX, MESSAGE_BYTES_MAX, NESTING_MAX,
    TEXT_BYTES_MAX, VERSION, decode_batch, decode_event, decode_finding, decode_raw, decode_story,
    encode_batch, encode_event, encode_finding, encode_raw, encode_story,
};

use crate::{sample, tree::Tree};

type Decode = fn(&[u8]) -> Result<(), DecodeError>;

/// Every message there is, with the function that reads it.
fn messages() -> [(Vec<u8>, Decode); 6] {
    [
        (encode_event(&sample::event()), |bytes| decode_event(bytes).map(|_| ())),
        (encode_batch(&sample::batch()), |bytes| decode_batch(bytes).map(|_| ())),
        (encode_raw(&sample::raw()), |bytes| decode_raw(bytes).map(|_| ())),
        (encode_finding(&sample::finding()), |bytes| decode_finding(bytes).map(|_| ())),
        (encode_story(&sample::story()), |bytes| decode_story(bytes).map(|_| ())),
        (encode_story(&sample::merged_story()), |bytes| decode_story(bytes).map(|_| ())),
    ]
}

fn reason<T>(result: Result<T, DecodeError>) -> Option<&'static str> {
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
    for (bytes, decode) in messages() {
        assert_eq!(decode(&[]), Err(DecodeError::Empty));
        for end in 1..bytes.len() {
            assert_eq!(reason(decode(&bytes[..end])), Some("malformed"), "cut at {end}");
        }
    }
}

#[test]
fn a_message_with_more_after_its_end_is_refused() {
    for (bytes, decode) in messages() {
        for more in 0..=u8::MAX {
            let bytes = [bytes.as_slice(), &[more]].concat();
            assert_eq!(reason(decode(&bytes)), Some("malformed"), "{more:#x}");
        }
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    for (mut bytes, decode) in messages() {
        for found in [0, 2, b'{', 255] {
            bytes[0] = found;
            let want = DecodeError::UnknownVersion { found, known: VERSION };
            assert_eq!(decode(&bytes), Err(want));
        }
    }
}

#[test]
fn one_byte_too_many_is_refused_before_it_is_read() {
    let bytes = vec![VERSION; MESSAGE_BYTES_MAX + 1];
    for (_, decode) in messages() {
        let want = DecodeError::TooLarge { bytes: bytes.len(), bytes_max: MESSAGE_BYTES_MAX };
        assert_eq!(decode(&bytes), Err(want));
        assert_eq!(reason(decode(&bytes[1..])), Some("malformed"));
    }
}

#[test]
fn a_message_is_not_taken_for_another() {
    for (at, (bytes, _)) in messages().iter().enumerate() {
        for (other, (_, decode)) in messages().iter().enumerate() {
            let is_same = at == other || (at >= 4 && other >= 4);
            assert_eq!(decode(bytes).is_ok(), is_same, "message {at} read as {other}");
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
