//! A run in which all is well, for the tests of the invariants to spoil.

use std::{ops::Range, time::Duration};

use tapio_model::{
    Audit, Confidence, EventId, EvidenceClass, Outcome, Sentence, ShardId, State, Story, StoryId,
    Telling, Timestamp, Verdict,
};
use tapio_shard::{NodeId, Root, ShardCount};

use crate::{
    load::{Load, LoadOptions},
    record::{HeardTelling, Record, RootSeen, Sending},
};

/// Events that the one incident's story cites, first of all events.
pub(crate) const EVIDENCE: usize = 5;

const SHARD: ShardId = ShardId::new(3);

fn options() -> LoadOptions {
    LoadOptions {
        seed: 7,
        shards: ShardCount::DEFAULT,
        duration: Duration::from_secs(1),
        incidents: 1,
        hum_per_incident: 2,
        healthy_traces: 3,
        spans_per_trace: 2,
        duplicates: false,
        burst: None,
    }
}

/// Returns the id of a made-up story.
pub(crate) const fn story_id(number: u8) -> StoryId {
    StoryId::from_bytes([number; 16])
}

/// Returns the events, evidence first.
fn events(record: &Record) -> Vec<EventId> {
    let evidence = record.expected.incidents.values().flat_map(|incident| &incident.citable);
    let evidence: Vec<_> = evidence.copied().collect();
    let others = record.sent.keys().filter(|id| !evidence.contains(id)).copied();
    evidence.iter().copied().chain(others).collect()
}

/// Adds a telling that cites some of the events, by their places.
pub(crate) fn tell(record: &mut Record, number: u8, n: u32, state: State, cited: Range<usize>) {
    let cited = events(record).drain(cited).collect();
    let at = Duration::from_millis(100 * u64::from(n + 1));
    let telling =
        Telling { story: Box::new(story(story_id(number), n, state, cited)), evidence: Vec::new() };
    record.tellings.push(HeardTelling { at, shard: SHARD, telling });
}

fn story(id: StoryId, telling: u32, state: State, event_ids: Vec<EventId>) -> Story {
    Story {
        id,
        telling,
        state,
        opened_at: Timestamp::ZERO,
        told_at: Timestamp::ZERO,
        title: "out of memory".into(),
        pattern: "container_oom".into(),
        verdict: Verdict::Cause,
        summary: Vec::new(),
        root_cause: Sentence { text: "a limit".into(), events: event_ids.clone() },
        root_cause_event: EventId::default(),
        confidence: Confidence::new(0.9),
        class: EvidenceClass::KernelProof,
        chain: Vec::new(),
        recommendation: Vec::new(),
        ruled_out: Vec::new(),
        missing: Vec::new(),
        lost: 0,
        late: 0,
        entities: Vec::new(),
        trace_ids: Vec::new(),
        event_ids,
        references: Vec::new(),
        predecessor: None,
    }
}

fn root(at: u64, epoch: u64, commit: u64, node: &str) -> RootSeen {
    let owner = Some(NodeId { name: node.into(), boot: epoch });
    let root = Root { epoch, owner, commit, processed: commit * 10, ..Root::default() };
    RootSeen::of(&root, SHARD, commit, Duration::from_millis(at))
}

/// Makes a run of one incident and a little hum, in which all is well.
pub(crate) fn good() -> Record {
    let load = Load::new(options());
    let mut record = Record { expected: load.expected(), is_settled: true, ..Record::default() };
    for (sequence, id) in (1..).zip(load.flat_map(|step| step.event_ids().collect::<Vec<_>>())) {
        let at = Duration::from_millis(sequence);
        let acked = Some(at + Duration::from_millis(1));
        let sequence = Some(sequence);
        record.sent.insert(id, Sending { at, acked, sequence, shard: SHARD, copies: 1 });
    }
    let events = events(&record);
    let is_evidence = |place| if place < EVIDENCE { Outcome::Story } else { Outcome::Expired };
    let outcomes = events.iter().enumerate().map(|(place, id)| (*id, is_evidence(place)));
    let outcomes = outcomes.collect();
    let audit = Audit { shard: SHARD, epoch: 1, commit: 3, processed: 30, outcomes };
    record.audits.push(audit);
    tell(&mut record, 1, 0, State::Opened, 0..EVIDENCE - 1);
    tell(&mut record, 1, 1, State::Resolved, 0..EVIDENCE);
    record.roots = vec![
        root(10, 1, 1, "tapio-0"),
        root(200, 1, 2, "tapio-0"),
        root(300, 2, 3, "tapio-1"),
        root(900, 2, 4, "tapio-1"),
    ];
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_incident_has_as_much_evidence_as_is_said() {
        let record = good();
        let cited: usize =
            record.expected.incidents.values().map(|incident| incident.citable.len()).sum();
        assert_eq!(cited, EVIDENCE);
    }
}
