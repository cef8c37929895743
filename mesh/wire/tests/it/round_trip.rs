//! Whatever the model can hold comes back as it was sent, and is sent again in the same bytes.

use std::{fmt::Debug, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::select};
use tapio_model::{Level, ShardId, Timestamp};
use tapio_wire::{
    DecodeError, EventBatch, decode_batch, decode_event, decode_finding, decode_raw, decode_story,
    encode_batch, encode_event, encode_finding, encode_raw, encode_story, event_to_json,
    parse_event_line,
};

use crate::{arbitrary, sample};

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
    fn an_event_comes_back_from_its_line(event in arbitrary::event()) {
        let line = serde_json::to_vec(&event_to_json(&event))?;
        let json = parse_event_line(&line).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&json, &event_to_json(&event));
        let (id, trace) = json.id.zip(json.trace).ok_or(TestCaseError::fail("lost an id"))?;
        prop_assert_eq!(json.into_event(id, trace), event);
    }
}

#[test]
fn events_of_one_place_share_it_after_decoding() {
    let decoded = decode_batch(&encode_batch(&sample::batch())).unwrap();
    let [first, second, ..] = decoded.batch.events.as_slice() else { panic!("no two events") };
    assert!(Arc::ptr_eq(&first.place, &second.place));
}
