//! Whatever the model can hold comes back as it was sent, and is sent again in the same bytes.

use std::{fmt::Debug, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::select};
use tapio_model::{Level, ShardId, Timestamp};
use tapio_wire::{
    DecodeError, EventBatch, decode_audit, decode_batch, decode_dead_letter, decode_event,
    decode_finding, decode_findings, decode_graves, decode_incident_state, decode_raw,
    decode_resolved, decode_root, decode_sign_of_life, decode_story, decode_telling,
    decode_trace_state, decode_waiting, encode_audit, encode_batch, encode_dead_letter,
    encode_event, encode_finding, encode_findings, encode_graves, encode_incident_state,
    encode_raw, encode_resolved, encode_root, encode_sign_of_life, encode_story, encode_telling,
    encode_trace_state, encode_waiting, event_to_json, parse_event_line,
};

use crate::{arbitrary, mesh::sample as mesh, sample};

fn check<T: Debug + PartialEq>(
    value: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<(), TestCaseError> {
    let bytes = encode(value);
    let decoded = decode(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&decoded, value);
    prop_assert_eq!(encode(&decoded), bytes);
    Ok(())
}

proptest! {
    #[test]
    fn an_event_comes_back(event in arbitrary::event()) {
        check(&event, encode_event, decode_event)?;
    }

    #[test]
    fn a_raw_event_comes_back(raw in arbitrary::raw()) {
        check(&raw, encode_raw, decode_raw)?;
    }

    #[test]
    fn a_finding_comes_back(finding in arbitrary::finding()) {
        check(&finding, encode_finding, decode_finding)?;
    }

    #[test]
    fn a_story_comes_back(story in arbitrary::story()) {
        check(&story, encode_story, decode_story)?;
    }

    #[test]
    fn a_batch_comes_back(
        events in vec(arbitrary::event().prop_map(Arc::new), 0..5),
        shard in any::<u16>().prop_map(ShardId::new),
        level in select(&Level::ALL),
        time in any::<i64>().prop_map(Timestamp::from_nanos),
    ) {
        let batch = EventBatch { shard, level, time, events };
        check(&batch, encode_batch, |bytes| decode_batch(bytes).map(|decoded| decoded.batch))?;
    }

    #[test]
    fn a_live_trace_comes_back(trace in arbitrary::trace_state()) {
        check(&trace, encode_trace_state, decode_trace_state)?;
    }

    #[test]
    fn graves_come_back(graves in arbitrary::graves()) {
        check(&graves, |graves| encode_graves(graves), decode_graves)?;
    }

    #[test]
    fn an_incident_comes_back(incident in arbitrary::incident_state()) {
        check(&incident, encode_incident_state, decode_incident_state)?;
    }

    #[test]
    fn resolved_incidents_come_back(resolved in arbitrary::resolved()) {
        check(&resolved, |resolved| encode_resolved(resolved), decode_resolved)?;
    }

    #[test]
    fn a_change_that_waits_comes_back(waiting in arbitrary::waiting()) {
        check(&waiting, encode_waiting, decode_waiting)?;
    }

    #[test]
    fn a_root_comes_back(root in arbitrary::root()) {
        check(&root, encode_root, decode_root)?;
    }

    #[test]
    fn findings_for_another_shard_come_back(findings in arbitrary::findings()) {
        check(&findings, encode_findings, decode_findings)?;
    }

    #[test]
    fn a_telling_comes_back(telling in arbitrary::telling()) {
        check(&telling, encode_telling, decode_telling)?;
    }

    #[test]
    fn a_dead_letter_comes_back(letter in arbitrary::dead_letter()) {
        check(&letter, encode_dead_letter, decode_dead_letter)?;
    }

    #[test]
    fn an_audit_comes_back(audit in arbitrary::audit()) {
        check(&audit, encode_audit, decode_audit)?;
    }

    #[test]
    fn a_sign_of_life_comes_back(sign in arbitrary::sign_of_life()) {
        check(&sign, encode_sign_of_life, decode_sign_of_life)?;
    }

    #[test]
    fn an_event_comes_back_from_its_line(event in arbitrary::event()) {
        let line = serde_json::to_vec(&event_to_json(&event))?;
        let json = parse_event_line(&line).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&json, &event_to_json(&event));
        let (id, trace) = json.id.zip(json.trace).ok_or(TestCaseError::fail("lost an id"))?;
        prop_assert_eq!(json.into_event(id, trace), event);
    }
}

#[test]
fn a_grave_takes_45_bytes_and_an_outcome_17() {
    let [graves, none] = [mesh::graves(), Vec::new()].map(|graves| encode_graves(&graves).len());
    assert_eq!(graves - none, 45 * mesh::graves().len());
    let mut audit = mesh::audit();
    let all = encode_audit(&audit).len();
    audit.outcomes.pop();
    assert_eq!(all - encode_audit(&audit).len(), 17);
}

#[test]
fn events_of_one_place_share_it_after_decoding() {
    let decoded = decode_batch(&encode_batch(&sample::batch())).unwrap();
    let [first, second, ..] = decoded.batch.events.as_slice() else { panic!("no two events") };
    assert!(Arc::ptr_eq(&first.place, &second.place));
}
