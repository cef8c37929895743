//! What a commit posts: findings, tellings, dead letters, audit.

use std::collections::BTreeMap;

use tapio_engine::{Cut, Found, Output};
use tapio_model::{
    Address, Audit, DeadLetter, DeadReason, EventId, Findings, Outcome, Sent, ShardId, Telling,
    Text, Timestamp,
};
use tapio_shard::Posted;
use tapio_wire::{encode_audit, encode_dead_letter, encode_findings, encode_telling};

use super::{Draft, INLINE_BYTES_MAX, Setting, letter_number};
use crate::{IncidentCut, trails::Trails};

/// Bytes of one message. A NATS server takes 1 MiB unless configured otherwise.
const MESSAGE_BYTES_MAX: usize = 900 << 10;
/// Outcomes of one audit: some twenty bytes each.
const AUDIT_OUTCOMES_MAX: usize = 30_000;
/// Messages one commit may send to one shard.
const PARTS: u64 = 1 << 12;

/// Everything of a cut that leaves the shard.
pub(super) struct Outgoing {
    pub(super) traces: Cut,
    pub(super) incidents: IncidentCut,
    pub(super) letters: Vec<DeadLetter>,
}

impl Draft {
    /// Puts everything that leaves the shard into the outbox.
    pub(super) fn post(&mut self, setting: &Setting, outgoing: Outgoing, trails: &Trails) {
        let Outgoing { traces, incidents, letters } = outgoing;
        let at = self.root.now;
        let mut sent: BTreeMap<ShardId, Vec<Sent>> = BTreeMap::new();
        let mut dead = letters;
        for output in traces.outputs {
            match output {
                Output::Found(found) => {
                    let Found { finding, events } = *found;
                    let to = setting.shards.shard_of_anchor(&finding.anchor);
                    let found = Sent::Found { finding: Box::new(finding), events };
                    sent.entry(to).or_default().push(found);
                }
                Output::Retracted(id, anchor) => {
                    let to = setting.shards.shard_of_anchor(&anchor);
                    sent.entry(to).or_default().push(Sent::Retracted(id));
                }
                Output::Dead { trace, events } => dead.push(DeadLetter {
                    shard: setting.shard,
                    sequence: self.root.processed,
                    at,
                    reason: DeadReason::Poison,
                    detail: "a pattern panicked on this trace as often as it may".into(),
                    trace: Some(trace),
                    events,
                    original: Vec::new(),
                }),
            }
        }
        for (to, item) in incidents.outgoing {
            sent.entry(to).or_default().push(item);
        }
        for (to, sent) in sent {
            self.post_findings((setting.shard, to), sent, at, trails);
        }
        for telling in incidents.tellings {
            self.post_telling(setting.shard, telling, trails);
        }
        for letter in dead {
            self.post_letter(setting.shard, &letter);
        }
        self.post_audits(setting.shard, &traces.outcomes);
    }

    /// Posts what became of events, in as many audits as the size of a message asks for. They are
    /// numbered on from commit to commit.
    fn post_audits(&mut self, shard: ShardId, outcomes: &[(EventId, Outcome)]) {
        let first = self.root.commit.saturating_mul(PARTS);
        for (commit, outcomes) in (first..).zip(outcomes.chunks(AUDIT_OUTCOMES_MAX)) {
            let audit = Audit {
                shard,
                epoch: self.root.epoch,
                commit,
                processed: self.root.processed,
                outcomes: outcomes.to_vec(),
            };
            self.put(Address::Audit { shard, commit }, encode_audit(&audit), None);
        }
    }

    /// Posts what one shard has to say to another, in as few messages as the size allows.
    fn post_findings(
        &mut self,
        (from, to): (ShardId, ShardId),
        sent: Vec<Sent>,
        now: Timestamp,
        trails: &Trails,
    ) {
        let mut rest: Vec<Vec<Sent>> = vec![sent];
        let mut number = self.root.commit.saturating_mul(PARTS);
        while let Some(mut sent) = rest.pop() {
            let mut findings = Findings { from, commit: number, now, sent };
            let mut bytes = encode_findings(&findings);
            if bytes.len() > MESSAGE_BYTES_MAX {
                sent = findings.sent;
                if sent.len() > 1 {
                    let second = sent.split_off(sent.len() / 2);
                    rest.push(second);
                    rest.push(sent);
                    continue;
                }
                if let Some(halves) = sent.pop_if(|it| is_divisible(it)).and_then(halve) {
                    rest.extend(halves.into_iter().rev().map(|half| vec![half]));
                    continue;
                }
                // One finding that is too large alone travels without the text of its evidence:
                // what it says stands in the finding.
                sent.iter_mut().for_each(strip);
                findings = Findings { from, commit: number, now, sent };
                bytes = encode_findings(&findings);
            }
            let trail =
                trails.of(findings.sent.iter().flat_map(Sent::events).map(|event| event.id));
            self.put(Address::Findings { from, to, commit: number }, bytes, trail);
            number += 1;
        }
    }

    fn post_telling(&mut self, shard: ShardId, mut telling: Telling, trails: &Trails) {
        let address =
            Address::Telling { shard, story: telling.story.id, telling: telling.story.telling };
        let trail = trails.of(telling.story.event_ids.iter().copied());
        let mut bytes = encode_telling(&telling);
        while bytes.len() > MESSAGE_BYTES_MAX && !telling.evidence.is_empty() {
            telling.evidence.truncate(telling.evidence.len() / 2);
            bytes = encode_telling(&telling);
        }
        self.put(address, bytes, trail);
    }

    fn post_letter(&mut self, shard: ShardId, letter: &DeadLetter) {
        let part = match letter.trace {
            Some(trace) => letter_number(trace),
            // Entries of the findings log have numbers of their own.
            None if letter.reason == DeadReason::BadFindings => 1,
            None => 0,
        };
        let address = Address::DeadLetter { shard, sequence: letter.sequence, part };
        let mut bytes = encode_dead_letter(letter);
        if bytes.len() > MESSAGE_BYTES_MAX {
            // Half of a poisoned trace is better than none.
            let mut short = letter.clone();
            while bytes.len() > MESSAGE_BYTES_MAX && !short.events.is_empty() {
                short.events.truncate(short.events.len() / 2);
                short.detail = Text::from("shortened: the trace is larger than a message may be");
                bytes = encode_dead_letter(&short);
            }
        }
        self.put(address, bytes, None);
    }

    fn put(&mut self, address: Address, bytes: Vec<u8>, traceparent: Option<Text>) {
        let commit = self.root.commit;
        let content = self.content(bytes, INLINE_BYTES_MAX, Timestamp::MAX);
        self.root.outbox.push(Posted { commit, address, content, traceparent });
    }
}

/// Says whether something that is said can be said in two halves.
fn is_divisible(sent: &Sent) -> bool {
    match sent {
        Sent::Handed { incident, .. } => incident.findings.len() > 1,
        Sent::Found { .. } | Sent::Retracted(_) | Sent::Join { .. } => false,
    }
}

/// Halves an incident that is given away: both halves go to the same one.
fn halve(sent: Sent) -> Option<[Sent; 2]> {
    let Sent::Handed { mut incident, into } = sent else { return None };
    let mut second = incident.clone();
    second.findings = incident.findings.split_off(incident.findings.len() / 2);
    (second.owned, second.further) = (Vec::new(), 0);
    // The receiver asks after neither: both are found again in the findings.
    (second.events, second.entities) = (Vec::new(), Vec::new());
    second.evidence = incident.evidence.split_off(incident.evidence.len() / 2);
    Some([Sent::Handed { incident, into }, Sent::Handed { incident: second, into }])
}

/// Takes the events away that make a message too large.
fn strip(sent: &mut Sent) {
    match sent {
        Sent::Found { events, .. } => events.clear(),
        Sent::Handed { incident, .. } => incident.evidence.clear(),
        Sent::Retracted(_) | Sent::Join { .. } => {}
    }
}
