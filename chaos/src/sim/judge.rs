//! From a simulated world to a record, and what is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use tapio_model::{Address, EventId, Outcome, TraceId};
use tapio_wire::{decode_audit, decode_batch, decode_dead_letter, decode_telling};

use super::{
    publish::Published,
    world::{Log, Middle},
};
use crate::{
    load::Expected,
    record::{HeardTelling, Record, RootSeen},
};

/// Gathers what a run leaves behind.
pub(super) fn record(middle: &Middle, published: &Published, expected: &Expected) -> Record {
    let mut record = Record {
        expected: expected.clone(),
        sent: published.sent.clone(),
        is_settled: true,
        ..Record::default()
    };
    for (at, address, body) in places(middle) {
        match address {
            Address::Telling { shard, .. } => {
                let heard = decode_telling(body).ok();
                let heard = heard.map(|telling| HeardTelling { at, shard, telling });
                record.tellings.extend(heard);
            }
            Address::Audit { .. } => record.audits.extend(decode_audit(body).ok()),
            Address::DeadLetter { .. } => record.dead_letters.extend(decode_dead_letter(body).ok()),
            Address::Findings { .. } => {}
        }
    }
    for (shard, writes) in &middle.roots {
        record.roots.extend(
            writes
                .iter()
                .map(|written| RootSeen::of(&written.root, *shard, written.revision.0, written.at)),
        );
    }
    record
}

fn places(middle: &Middle) -> impl Iterator<Item = (std::time::Duration, Address, &bytes::Bytes)> {
    middle
        .arrivals
        .iter()
        .filter_map(|it| Some((it.at, it.address, middle.places.get(&it.address)?)))
}

/// Takes out of the record what a trouble makes impossible to keep, and what hangs together with it.
pub(super) fn excuse(middle: &Middle, record: &mut Record) {
    let lost = lost_events(middle, record);
    let shed = record.audits.iter().flat_map(|audit| &audit.outcomes);
    let shed = shed.filter(|(_, outcome)| matches!(outcome, Outcome::Shed(_)));
    let shed: BTreeSet<EventId> = shed.map(|(event, _)| *event).collect();
    // Who was told half of an incident cannot tell the whole of it, nor know the rest for its own.
    let incident_of = |event: &EventId| record.expected.incident_of(*event);
    let incidents: BTreeSet<u32> = lost.iter().chain(&shed).filter_map(incident_of).collect();
    let is_excused =
        |event: &EventId| incident_of(event).is_some_and(|incident| incidents.contains(&incident));
    record.tellings.retain(|heard| !heard.telling.story.event_ids.iter().any(is_excused));
    let untold: BTreeSet<EventId> =
        record.sent.keys().filter(|event| is_excused(event)).copied().collect();
    for (event, sending) in &mut record.sent {
        if lost.contains(event) || untold.contains(event) {
            sending.acked = None;
        }
    }
    for audit in &mut record.audits {
        audit.outcomes.retain(|(event, _)| !lost.contains(event));
    }
    // A repeat may find room where the first did not, and be turned away where the first was.
    let others = record.audits.iter().flat_map(|audit| &audit.outcomes);
    let others = others.filter(|(_, it)| !matches!(it, Outcome::Shed(_) | Outcome::Duplicate));
    let mut known: BTreeSet<EventId> = others.map(|(event, _)| *event).collect();
    let is_repeated = |event: &EventId| record.sent.get(event).is_some_and(|it| it.copies > 1);
    for audit in &mut record.audits {
        audit.outcomes.retain(|(event, outcome)| {
            !matches!(outcome, Outcome::Shed(_)) || !is_repeated(event) || known.insert(*event)
        });
    }
}

/// Returns the events of traces of which the log forgot something that was still needed.
fn lost_events(middle: &Middle, record: &Record) -> BTreeSet<EventId> {
    let needed = middle.aged.iter().filter(|aged| aged.is_needed);
    let events = needed.filter_map(|aged| decode_batch(&aged.entry.body).ok());
    let traces: BTreeSet<TraceId> =
        events.flat_map(|decoded| decoded.batch.events).map(|event| event.trace.trace_id).collect();
    if traces.is_empty() {
        return BTreeSet::new();
    }
    let kept = middle.logs.iter().filter(|((log, _), _)| *log == Log::Events);
    let kept = kept.flat_map(|(_, entries)| entries);
    let all = kept.chain(middle.aged.iter().map(|aged| &aged.entry));
    let events = all.filter_map(|entry| decode_batch(&entry.body).ok());
    let events = events.flat_map(|decoded| decoded.batch.events);
    let lost = events.filter(|event| traces.contains(&event.trace.trace_id));
    lost.map(|event| event.id).filter(|event| record.sent.contains_key(event)).collect()
}

/// Returns what became of each event but repeats.
pub(super) fn outcomes(middle: &Middle) -> BTreeMap<EventId, Outcome> {
    let audits = places(middle).filter(|(_, address, _)| matches!(address, Address::Audit { .. }));
    let audits = audits.filter_map(|(_, _, body)| decode_audit(body).ok());
    let outcomes = audits.flat_map(|audit| audit.outcomes);
    outcomes.filter(|(_, outcome)| *outcome != Outcome::Duplicate).collect()
}

/// Boils everything that was written down to a number: two runs that left the same have the same.
pub(super) fn fingerprint(middle: &Middle) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (at, address, body) in places(middle) {
        (at, address, body).hash(&mut hasher);
    }
    for (shard, writes) in &middle.roots {
        for written in writes {
            (shard, written.revision, written.at, &written.bytes).hash(&mut hasher);
        }
    }
    for ((_, shard), entries) in &middle.logs {
        for entry in entries {
            (shard, entry.sequence, entry.time, &entry.body).hash(&mut hasher);
        }
    }
    hasher.finish()
}
