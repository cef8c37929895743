//! What leaves a shard: written once to each address.

use std::str::FromStr as _;

use async_nats::{HeaderMap, HeaderValue, header::NATS_MESSAGE_ID};
use tapio_bus::{Address, Parcel, Receipt};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    calls::{Area, Calls, expecting},
    failure::Failure,
    figures::{count, counter_of},
};
use crate::{Stream, Subjects};

/// The header of W3C Trace Context.
pub(super) const TRACEPARENT: &str = "traceparent";

/// Where a parcel goes, in the words of NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    subject: String,
    stream: String,
    area: Area,
    /// Names the parcel and what is in it: so what the server calls a duplicate is one, to the
    /// byte.
    message_id: String,
    /// Whether the subject takes one message only.
    is_single: bool,
}

impl Slot {
    fn of(parcel: &Parcel, subjects: &Subjects) -> Self {
        let hash = xxh3_128(&parcel.body);
        let single = |subject: String, stream, area| Self {
            message_id: format!("{subject}-{hash:032x}"),
            subject,
            stream: subjects.stream(stream),
            area,
            is_single: true,
        };
        match parcel.address {
            Address::Telling { shard, story, telling } => {
                single(subjects.telling(shard, story, telling), Stream::Stories, Area::Stories)
            }
            Address::DeadLetter { shard, sequence, part } => single(
                subjects.dead_letter(shard, sequence, part),
                Stream::DeadLetters,
                Area::DeadLetters,
            ),
            Address::Audit { shard, commit } => {
                single(subjects.audit(shard, commit), Stream::Audit, Area::Audit)
            }
            // All commits share the subject of their receiver, who skips what it has.
            Address::Findings { from, to, commit } => Self {
                message_id: format!("{from}-{commit}-{to}-{hash:032x}"),
                subject: subjects.findings(to),
                stream: subjects.stream(Stream::Findings),
                area: Area::Findings,
                is_single: false,
            },
        }
    }

    fn headers(&self, parcel: &Parcel) -> HeaderMap {
        let mut headers = if self.is_single { expecting(0) } else { HeaderMap::new() };
        headers.insert(NATS_MESSAGE_ID, self.message_id.as_str());
        // What cannot be a header cannot be a `traceparent` either.
        if let Some(Ok(value)) = parcel.traceparent.as_deref().map(HeaderValue::from_str) {
            headers.insert(TRACEPARENT, value);
        }
        headers
    }
}

impl Calls {
    /// Writes a parcel where none lies, and says what lies there.
    pub(super) async fn deliver(&self, parcel: &Parcel) -> Result<Receipt, Failure> {
        let slot = Slot::of(parcel, self.connection.subjects());
        let headers = slot.headers(parcel);
        let delivery = async {
            match self.append(&slot.subject, &headers, &parcel.body).await {
                Ok(ack) if ack.duplicate => Ok(Receipt::WasThere),
                Ok(_) => Ok(Receipt::Delivered),
                Err(Failure::Lost) => self.compare(&slot, parcel).await,
                Err(failure) => Err(failure),
            }
        };
        let receipt = self.bounded(slot.area, delivery).await?;
        count(counter_of(receipt, &self.counters));
        Ok(receipt)
    }

    async fn compare(&self, slot: &Slot, parcel: &Parcel) -> Result<Receipt, Failure> {
        match self.last(&slot.stream, &slot.subject).await?.and_then(|stored| stored.body) {
            Some(body) if body == parcel.body => Ok(Receipt::WasThere),
            Some(_) => Ok(Receipt::Differs),
            // It aged out, or was purged, between two calls: the next delivery finds room.
            None => Err(Failure::Unreachable("what lay there is gone".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tapio_model::{ShardId, StoryId, Text, Timestamp};

    use super::*;

    fn parcel(address: Address, body: &'static str, traceparent: Option<&str>) -> Parcel {
        let body = Bytes::from_static(body.as_bytes());
        Parcel { address, body, traceparent: traceparent.map(Text::from) }
    }

    #[test]
    fn every_address_but_findings_is_taken_once() {
        let (from, to) = (ShardId::new(3), ShardId::new(4));
        let story = StoryId::new(Timestamp::from_millis(1), [0; 10]);
        let table = [
            (Address::Telling { shard: from, story, telling: 0 }, true),
            (Address::DeadLetter { shard: from, sequence: 1, part: 0 }, true),
            (Address::Audit { shard: from, commit: 1 }, true),
            (Address::Findings { from, to, commit: 1 }, false),
        ];
        for (address, is_single) in table {
            let parcel = parcel(address, "told", None);
            let slot = Slot::of(&parcel, &Subjects::default());
            let fence = slot.headers(&parcel).get("Nats-Expected-Last-Subject-Sequence").cloned();
            assert_eq!(fence.map(|value| value.to_string()), is_single.then(|| "0".to_owned()));
        }
    }

    #[test]
    fn a_message_id_tells_addresses_and_contents_apart() {
        let (from, to) = (ShardId::new(3), ShardId::new(4));
        let findings = |commit| Address::Findings { from, to, commit };
        let audit = |commit| Address::Audit { shard: from, commit };
        let ids = [
            parcel(findings(1), "a", None),
            parcel(findings(2), "a", None),
            parcel(findings(1), "b", None),
            parcel(audit(1), "a", None),
            parcel(audit(2), "a", None),
            parcel(audit(1), "b", None),
        ]
        .map(|parcel| Slot::of(&parcel, &Subjects::default()).message_id);
        for (place, id) in ids.iter().enumerate() {
            assert!(!ids[..place].contains(id), "{id}");
        }
        assert!(ids[0].starts_with("3-1-4-"), "{}", ids[0]);
    }

    #[test]
    fn a_traceparent_that_is_no_header_is_left_out() {
        let address = Address::Audit { shard: ShardId::new(1), commit: 1 };
        for (traceparent, carried) in [("00-ab-cd-01", true), ("a\r\nNats-Rollup: all", false)] {
            let parcel = parcel(address, "", Some(traceparent));
            let headers = Slot::of(&parcel, &Subjects::default()).headers(&parcel);
            assert_eq!(headers.get(TRACEPARENT).is_some(), carried, "{traceparent:?}");
            assert!(headers.get("Nats-Rollup").is_none());
        }
    }
}
