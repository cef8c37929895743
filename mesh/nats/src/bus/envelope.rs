//! Batches as the messages that carry them.

use bytes::Bytes;
use tapio_bus::{Batch, PublishError};
use tapio_model::{Level, Source};
use tapio_wire::{BATCH_EVENTS_MAX, EventBatch, MESSAGE_BYTES_MAX, encode_batch};
use xxhash_rust::xxh3::xxh3_128;

use crate::Subjects;

/// Bytes left for headers in what a server takes as one message: an id, a trace parent and the
/// name of a stream are some 200.
const HEADER_BYTES_MAX: usize = 1_024;

/// A message to be.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) subject: String,
    /// Derived from the content, so that a repeat has the same and is stored once.
    pub(super) id: String,
    pub(super) body: Bytes,
    pub(super) level: Level,
    pub(super) events: u64,
}

/// Encodes a batch, in halves of halves where the server would not take it whole.
///
/// # Errors
/// [`PublishError::TooLarge`] if it would not take one of its events alone.
pub(super) fn seal(
    batch: Batch,
    subjects: &Subjects,
    payload_bytes_max: usize,
) -> Result<Vec<Envelope>, PublishError> {
    let body_bytes_max = payload_bytes_max.saturating_sub(HEADER_BYTES_MAX).min(MESSAGE_BYTES_MAX);
    let mut envelopes = Vec::new();
    let Batch { shard, level, time, events } = batch;
    // The first half is on top.
    let mut rest = vec![EventBatch { shard, level, time, events }];
    while let Some(mut batch) = rest.pop() {
        let count = batch.events.len();
        let body = (count <= BATCH_EVENTS_MAX).then(|| encode_batch(&batch));
        match body.filter(|body| body.len() <= body_bytes_max) {
            Some(body) => envelopes.push(envelope(&batch, body, subjects)),
            None if count < 2 => return Err(PublishError::TooLarge { events: 1, events_max: 0 }),
            None => {
                let events = batch.events.split_off(count / 2);
                rest.push(EventBatch { shard, level, time, events });
                rest.push(batch);
            }
        }
    }
    Ok(envelopes)
}

fn envelope(batch: &EventBatch, body: Vec<u8>, subjects: &Subjects) -> Envelope {
    let EventBatch { shard, level, time: _, events } = batch;
    let subject = match common_source(batch) {
        Some(source) => subjects.events(source, *level, *shard),
        None => subjects.events_mixed(*level, *shard),
    };
    Envelope {
        subject,
        id: format!("{:032x}", xxh3_128(&body)),
        body: body.into(),
        level: *level,
        events: u64::try_from(events.len()).unwrap_or(u64::MAX),
    }
}

/// Returns the source of all events, if it is one.
fn common_source(batch: &EventBatch) -> Option<Source> {
    let mut sources = batch.events.iter().map(|event| event.source);
    let first = sources.next()?;
    sources.all(|source| source == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tapio_model::{
        Attributes, Binding, Class, Event, EventId, Impact, Kind, Place, Severity, ShardId,
        Timestamp, TraceContext, TraceId,
    };
    use tapio_wire::decode_batch;

    use super::*;

    fn batch(sources: &[Source]) -> Batch {
        let trace = TraceContext {
            trace_id: TraceId::from_bytes([1; 16]),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        };
        let event = |(number, source): (u128, &Source)| Event {
            id: EventId::from_bytes(number.to_be_bytes()),
            time: Timestamp::from_secs(1),
            source: *source,
            kind: Kind::OomKill,
            trace,
            place: Arc::new(Place::default()),
            severity: Severity::Info,
            impact: Impact::NONE,
            class: Class::Memory,
            attributes: Attributes::default(),
        };
        let events = (0..).zip(sources).map(event).map(Arc::new).collect();
        Batch { shard: ShardId::new(2), level: Level::High, time: Timestamp::ZERO, events }
    }

    #[test]
    fn the_subject_names_the_source_if_there_is_one() {
        let table = [
            (&[Source::Otlp][..], "tapio.events.1.otlp.high.2"),
            (&[Source::Otlp, Source::Otlp], "tapio.events.1.otlp.high.2"),
            (&[Source::Otlp, Source::App], "tapio.events.1.mixed.high.2"),
        ];
        for (sources, subject) in table {
            let sealed = seal(batch(sources), &Subjects::default(), 1 << 20).expect("small");
            assert_eq!(sealed[0].subject, subject);
        }
    }

    #[test]
    fn the_same_content_has_the_same_id() {
        let seal = |sources: &[Source]| {
            let sealed = seal(batch(sources), &Subjects::default(), 1 << 20).expect("small");
            sealed[0].id.clone()
        };
        assert_eq!(seal(&[Source::App]), seal(&[Source::App]));
        assert_ne!(seal(&[Source::App]), seal(&[Source::Otlp]));
    }

    #[test]
    fn what_a_server_would_not_take_goes_in_parts_in_order() {
        let whole = batch(&[Source::App; 100]);
        let sealed = seal(whole.clone(), &Subjects::default(), 4_096).expect("small events");
        assert!(sealed.len() > 1 && sealed.iter().all(|part| part.body.len() < 4_096));
        assert_eq!(sealed.iter().map(|part| part.events).sum::<u64>(), 100);
        let decoded = sealed.iter().map(|part| decode_batch(&part.body).expect("ours"));
        let events: Vec<_> = decoded.flat_map(|part| part.batch.events).collect();
        assert_eq!(events, whole.events);
        let refusal = seal(whole, &Subjects::default(), HEADER_BYTES_MAX + 10);
        assert_eq!(refusal.err(), Some(PublishError::TooLarge { events: 1, events_max: 0 }));
    }
}
