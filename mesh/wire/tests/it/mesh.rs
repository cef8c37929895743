//! What is refused of roots, states and messages between shards, and under which reason.

pub(crate) mod sample;

use std::sync::Arc;

use tapio_model::{
    Address, EventId, Finding, Findings, Mark, Outcome, Sent, ShedReason, Text, Timestamp,
};
use tapio_shard::{PieceKey, Root};
use tapio_wire::{
    DecodeError, FINDINGS_BYTES_MAX, GRAVES_BYTES_MAX, GRAVES_MAX, LIST_ITEMS_MAX, STATE_ITEMS_MAX,
    TEXT_BYTES_MAX, decode_audit, decode_dead_letter, decode_finding, decode_findings,
    decode_graves, decode_incident_state, decode_root, decode_sign_of_life, decode_trace_state,
    decode_waiting, encode_audit, encode_dead_letter, encode_finding, encode_findings,
    encode_graves, encode_incident_state, encode_root, encode_sign_of_life, encode_trace_state,
    encode_waiting,
};

use crate::{refusal::reason, tree::Tree};

/// Makes a message with one change.
fn forged(message: &[u8], change: impl FnOnce(&mut Tree)) -> Vec<u8> {
    let mut tree = Tree::of(message);
    change(&mut tree);
    tree.seal()
}

/// Reads the sample root with one change.
fn forged_root(change: impl FnOnce(&mut Tree)) -> Result<Root, DecodeError> {
    decode_root(&forged(&encode_root(&sample::root()), change))
}

fn unknown<T>(field: &'static str, code: u32) -> Result<T, DecodeError> {
    Err(DecodeError::UnknownCode { field, code })
}

#[test]
fn an_anchor_that_is_missing_is_the_subject() {
    let anchored = encode_finding(&crate::sample::anchored_finding());
    let bytes = forged(&anchored, |finding| {
        finding.fields().retain(|(name, _)| name != "anchor");
    });
    let finding: Finding = decode_finding(&bytes).unwrap();
    assert_eq!(finding, crate::sample::finding());
    assert_eq!(encode_finding(&finding), bytes, "what is the default is not written");
}

#[test]
fn a_number_from_a_newer_peer_is_refused_by_field_and_number() {
    let newer = || Tree::Uint(99);
    let root = forged_root(|root| *root.field("pieces").items()[0].field("type") = newer());
    assert_eq!(root, unknown("piece type", 99));
    let root = forged_root(|root| {
        *root.field("outbox").items()[0].field("address").field("type") = newer();
    });
    assert_eq!(root, unknown("address type", 99));
    let root = forged_root(|root| {
        *root.field("ledger").field("shed").items()[0].items().first_mut().unwrap() = newer();
    });
    assert_eq!(root, unknown("shed reason", 99));

    let findings = encode_findings(&sample::findings());
    let findings = forged(&findings, |it| *it.field("sent").items()[0].field("type") = newer());
    assert_eq!(decode_findings(&findings), unknown("finding type", 99));
    let letter = encode_dead_letter(&sample::dead_letter());
    let letter = forged(&letter, |letter| *letter.field("reason") = newer());
    assert_eq!(decode_dead_letter(&letter), unknown("dead letter reason", 99));
    let sign = encode_sign_of_life(&sample::sign_of_life());
    let sign = forged(&sign, |sign| *sign.field("state") = newer());
    assert_eq!(decode_sign_of_life(&sign), unknown("node state", 99));

    for code in [0, 7, 16, 22, 255] {
        let mut graves = encode_graves(&sample::graves());
        graves[5 + 20] = code;
        assert_eq!(decode_graves(&graves), unknown("ending", code.into()));
        let audit = forged(&encode_audit(&sample::audit()), |audit| {
            let record = [vec![1; 16], vec![code]].concat();
            *audit.field("outcomes") = Tree::Bytes(record);
        });
        assert_eq!(decode_audit(&audit), unknown("outcome", code.into()));
    }
}

#[test]
fn what_a_form_needs_may_not_be_missing() {
    let pieces = [("Graves", 0, "number"), ("Trace", 2, "id"), ("Incident", 3, "id")];
    for (form, at, field) in pieces {
        let root = forged_root(|root| {
            let piece = &mut root.field("pieces").items()[at];
            piece.fields().retain(|(name, _)| name != field);
        });
        let error = root.unwrap_err().to_string();
        assert!(error.contains(field), "{form}: {error}");
    }
    let nameless = forged(&encode_root(&sample::waiting_root()), |root| {
        root.field("pieces").items()[0].fields().retain(|(name, _)| name != "number");
    });
    let error = decode_root(&nameless).unwrap_err().to_string();
    assert!(error.contains("a waiting change without its `number`"), "{error}");
    let parcels = [
        (0, vec!["story", "telling"]),
        (1, vec!["sequence", "part"]),
        (2, vec!["to", "commit"]),
        (3, vec!["commit"]),
    ];
    for (at, fields) in parcels {
        for field in fields {
            let root = forged_root(|root| {
                let address = root.field("outbox").items()[at].field("address");
                address.fields().retain(|(name, _)| name != field);
            });
            let error = root.unwrap_err().to_string();
            assert!(error.contains(field), "{at}: {error}");
        }
    }
    let sent = [
        (0, vec!["finding"]),
        (1, vec!["id"]),
        (2, vec!["incident", "into"]),
        (3, vec!["story", "into", "shard"]),
    ];
    for (at, fields) in sent {
        for field in fields {
            let findings = forged(&encode_findings(&sample::findings()), |findings| {
                let sent = &mut findings.field("sent").items()[at];
                sent.fields().retain(|(name, _)| name != field);
            });
            let error = decode_findings(&findings).unwrap_err().to_string();
            assert!(error.contains(field), "{at}: {error}");
        }
    }
}

#[test]
fn content_lies_in_the_root_or_in_chunks() {
    for fields in [
        vec![],
        vec![("until".into(), Tree::Uint(1))],
        vec![("inline".into(), Tree::Bytes(vec![])), ("chunks".into(), Tree::List(vec![]))],
    ] {
        let root = forged_root(|root| {
            *root.field("pieces").items()[0].field("content") = Tree::Map(fields.clone());
        });
        assert_eq!(reason(root), Some("malformed"), "{fields:?}");
    }
    let short = Tree::List(vec![Tree::Bytes(vec![1; 15])]);
    let root = forged_root(|root| {
        *root.field("pieces").items()[0].field("content").field("chunks") = short;
    });
    assert_eq!(reason(root), Some("malformed"));
}

#[test]
fn a_root_that_breaks_its_invariant_is_malformed() {
    let low = |sequence| {
        let root =
            Root { processed: 7, low: Mark { sequence, now: Timestamp::ZERO }, ..Root::default() };
        reason(decode_root(&encode_root(&root)))
    };
    assert_eq!((low(0), low(8), low(9)), (None, None, Some("malformed")));
    for list in ["pieces", "received"] {
        let twice = forged_root(|root| {
            let items = root.field(list).items();
            items.push(items[0].clone());
        });
        assert_eq!(reason(twice), Some("malformed"), "{list}");
    }
}

#[test]
fn a_written_trace_that_is_out_of_order_is_malformed() {
    let mut trace = sample::trace_state();
    trace.events.reverse();
    assert_eq!(reason(decode_trace_state(&encode_trace_state(&trace))), Some("malformed"));
    let mut trace = sample::trace_state();
    trace.memory.as_mut().unwrap().cited.reverse();
    assert_eq!(reason(decode_trace_state(&encode_trace_state(&trace))), Some("malformed"));
}

#[test]
fn one_event_that_cannot_be_read_costs_a_state() {
    let trace = forged(&encode_trace_state(&sample::trace_state()), |trace| {
        trace.field("events").items()[1] = Tree::Bytes(b"garbage".to_vec());
    });
    assert_eq!(reason(decode_trace_state(&trace)), Some("malformed"));
    let incident = forged(&encode_incident_state(&sample::incident_state()), |incident| {
        incident.field("evidence").items()[0] = Tree::Bytes(b"garbage".to_vec());
    });
    assert_eq!(reason(decode_incident_state(&incident)), Some("malformed"));
    let waiting = forged(&encode_waiting(&sample::waiting()), |waiting| {
        waiting.field("events").items()[0] = Tree::Bytes(b"garbage".to_vec());
    });
    assert_eq!(reason(decode_waiting(&waiting)), Some("malformed"));
}

#[test]
fn records_are_counted_and_whole() {
    let graves = sample::graves();
    let bytes = encode_graves(&graves);
    for count in [0, 2, 4, 255] {
        let mut bytes = bytes.clone();
        bytes[4] = count;
        assert_eq!(reason(decode_graves(&bytes)), Some("malformed"), "{count}");
    }
    assert_eq!(decode_graves(&encode_graves(&[])), Ok(Vec::new()));

    let full = vec![graves[0]; GRAVES_MAX];
    assert_eq!(encode_graves(&full).len(), GRAVES_BYTES_MAX);
    assert_eq!(decode_graves(&encode_graves(&full)), Ok(full));

    let audit = forged(&encode_audit(&sample::audit()), |audit| {
        *audit.field("outcomes") = Tree::Bytes(vec![1; 16]);
    });
    assert_eq!(reason(decode_audit(&audit)), Some("malformed"));
}

#[test]
fn a_limit_is_reached_and_not_passed() {
    let mut findings = sample::findings();
    findings.sent = vec![findings.sent[3].clone(); LIST_ITEMS_MAX];
    assert_eq!(reason(decode_findings(&encode_findings(&findings))), None);
    findings.sent.push(findings.sent[0].clone());
    assert_eq!(reason(decode_findings(&encode_findings(&findings))), Some("too_many"));

    let mut trace = sample::trace_state();
    let least = Arc::new(crate::sample::least_event());
    trace.events = vec![Arc::clone(&least); LIST_ITEMS_MAX + 1];
    assert_eq!(reason(decode_trace_state(&encode_trace_state(&trace))), Some("too_many"));

    let mut waiting = sample::waiting();
    waiting.events = vec![Arc::clone(&least); LIST_ITEMS_MAX];
    assert_eq!(reason(decode_waiting(&encode_waiting(&waiting))), None);
    waiting.events.push(least);
    assert_eq!(reason(decode_waiting(&encode_waiting(&waiting))), Some("too_many"));

    let mut incident = sample::incident_state();
    incident.owned = vec![EventId::default(); STATE_ITEMS_MAX];
    assert_eq!(reason(decode_incident_state(&encode_incident_state(&incident))), None);
    incident.owned.push(EventId::default());
    let want = DecodeError::TooMany {
        what: "event ids",
        count: STATE_ITEMS_MAX + 1,
        count_max: STATE_ITEMS_MAX,
    };
    assert_eq!(decode_incident_state(&encode_incident_state(&incident)), Err(want));
}

#[test]
fn a_change_as_large_as_the_message_it_came_in_can_be_read_again() {
    let mut waiting = sample::waiting();
    let long: Text = "x".repeat(TEXT_BYTES_MAX).into();
    waiting.finding.recommendation = vec![long; FINDINGS_BYTES_MAX / TEXT_BYTES_MAX - 1];
    let (finding, events) = (Box::new(waiting.finding.clone()), waiting.events.clone());
    let sent = vec![Sent::Found { finding, events }];
    let findings = Findings { sent, ..sample::findings() };
    assert_eq!(decode_findings(&encode_findings(&findings)), Ok(findings));
    assert_eq!(decode_waiting(&encode_waiting(&waiting)), Ok(waiting));
}

/// The sample is what the golden bytes, the fuzzer's seeds and the tests above start from.
#[test]
fn the_samples_have_one_of_each_form() {
    let (root, later) = (sample::root(), sample::waiting_root());
    let pieces = root.pieces.keys().chain(later.pieces.keys()).map(|key| match key {
        PieceKey::Graves(_) => 0,
        PieceKey::Trace(_) => 1,
        PieceKey::Incident(_) => 2,
        PieceKey::Resolved => 3,
        PieceKey::Waiting(_) => 4,
    });
    assert_eq!(pieces.collect::<Vec<_>>(), [0, 0, 1, 2, 3, 4]);
    let addresses = root.outbox.iter().map(|posted| match posted.address {
        Address::Telling { .. } => 0,
        Address::DeadLetter { .. } => 1,
        Address::Findings { .. } => 2,
        Address::Audit { .. } => 3,
    });
    assert_eq!(addresses.collect::<Vec<_>>(), [0, 1, 2, 3]);
    let findings = sample::findings();
    let sent = findings.sent.iter().map(|sent| match sent {
        Sent::Found { .. } => 0,
        Sent::Retracted(_) => 1,
        Sent::Handed { .. } => 2,
        Sent::Join { .. } => 3,
    });
    assert_eq!(sent.collect::<Vec<_>>(), [0, 1, 2, 3]);
    let shed = sample::audit().outcomes;
    let shed = shed.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Shed(_))).count();
    assert_eq!((shed, root.ledger.balances()), (ShedReason::ALL.len(), true));
}
