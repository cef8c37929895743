//! From a cut to the next root: what is written where. A pure function.

mod outbox;

use std::collections::BTreeMap;

use bytes::Bytes;
use tapio_engine::{Cut, IncidentsCut};
use tapio_model::{
    ChunkName, DeadLetter, EventId, Grave, Ledger, Mark, Outcome, ShardId, Timestamp, TraceId,
};
use tapio_shard::{Content, PieceKey, Root, ShardCount};
use tapio_wire::{
    encode_graves, encode_incident_state, encode_resolved, encode_trace_state, encode_waiting,
};
use xxhash_rust::xxh3::xxh3_128;

use crate::{BrainCut, trails::Trails};

/// Bytes a part may have and still stand in the root. The root is written some times a second; a
/// part that rarely changes is better written once.
const INLINE_BYTES_MAX: usize = 4 << 10;
/// The same of a part that is hardly ever written a second time: a trace that was written down, a
/// change that waits.
const STILL_INLINE_BYTES_MAX: usize = 512;
/// Bytes of graves that stand in the root before they become a chunk.
const GRAVES_INLINE_BYTES_MAX: usize = 16 << 10;
/// Bytes that may stand in the root in all; what is larger then makes room. With the names of all
/// chunks and what else is in it a root so stays below what a NATS message may have.
const ROOT_INLINE_BYTES_MAX: usize = 192 << 10;
/// Bytes that are not worth a chunk, whatever else is in the root.
const CRUMB_BYTES_MAX: usize = 64;
/// Pieces of graves that a root names; the oldest are forgotten first. At the highest rate a commit
/// makes a piece of its own, so these are the graves of some two minutes.
const GRAVE_PIECES_MAX: u64 = 512;
/// Bytes of a chunk: half of what a NATS message may have unless configured otherwise.
const CHUNK_BYTES_MAX: usize = 512 << 10;

/// What the owner itself took in since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// The last entry of the findings log.
    pub(crate) findings_read: u64,
    /// The last message of each shard whose findings were taken in.
    pub(crate) received: BTreeMap<ShardId, u64>,
    /// Times that passed between entries.
    pub(crate) ticks: Vec<Mark>,
    /// What could not be read.
    pub(crate) letters: Vec<DeadLetter>,
    /// Entries that could be read and were given up.
    pub(crate) given_up: Vec<u64>,
    /// Events that came to nothing before any trace saw them, since the owner began.
    pub(crate) dead_events: u64,
    /// Which events those are, as far as that is known, since the last commit.
    pub(crate) dead: Vec<EventId>,
    /// Gaps that were found when reading began.
    pub(crate) unread_gaps: u64,
    /// Entries that could not be read at all: the brain never saw their sequence.
    pub(crate) processed: u64,
}

impl Intake {
    /// Takes what the next commit writes; what counts on stays.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            findings_read: self.findings_read,
            received: std::mem::take(&mut self.received),
            ticks: std::mem::take(&mut self.ticks),
            letters: std::mem::take(&mut self.letters),
            given_up: std::mem::take(&mut self.given_up),
            dead_events: self.dead_events,
            dead: std::mem::take(&mut self.dead),
            unread_gaps: std::mem::take(&mut self.unread_gaps),
            processed: self.processed,
        }
    }
}

/// What stays the same from commit to commit.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) shard: ShardId,
    pub(crate) shards: ShardCount,
    pub(crate) is_audited: bool,
}

/// The next root, and the chunks it names that the last one did not.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) root: Root,
    pub(crate) chunks: Vec<(ChunkName, Bytes)>,
}

impl Draft {
    /// Writes the next root down. `root` is the last one, without what its outbox had delivered.
    pub(crate) fn new(
        root: Root,
        cut: BrainCut,
        mut intake: Intake,
        (setting, trails): (&Setting, &Trails),
    ) -> Self {
        let BrainCut { mut traces, incidents } = cut;
        let commit = root.commit + 1;
        let moved = traces.processed > root.processed
            || intake.processed > root.processed
            || intake.findings_read > root.findings_read;
        let mut draft = Self { root: Root { commit, ..root }, chunks: Vec::new() };
        draft.take_traces(&traces, &mut intake);
        draft.root.findings_read = draft.root.findings_read.max(intake.findings_read);
        draft.root.received.append(&mut intake.received);
        draft.root.unread_gaps += intake.unread_gaps;
        let (processed, read) = (draft.root.processed, draft.root.findings_read);
        draft.root.trying = draft.root.trying.filter(|entry| *entry > processed);
        draft.root.hearing = draft.root.hearing.filter(|entry| *entry > read);
        // What was announced and is not behind yet may still be what ends processes.
        if moved && draft.root.trying.is_none() && draft.root.hearing.is_none() {
            draft.root.claims = 0;
        }
        draft.dig(&traces.graves);
        draft.write_traces(&traces);
        draft.write_incidents(&incidents.state);
        if setting.is_audited {
            let dead = std::mem::take(&mut intake.dead).into_iter();
            traces.outcomes.extend(dead.map(|event| (event, Outcome::DeadLetter)));
        }
        let letters = intake.letters;
        draft.post(setting, outbox::Outgoing { traces, incidents, letters }, trails);
        draft.fit();
        draft
    }

    fn take_traces(&mut self, cut: &Cut, intake: &mut Intake) {
        let root = &mut self.root;
        root.now = root.now.max(cut.now);
        root.processed = root.processed.max(cut.processed).max(intake.processed);
        root.low = cut.low;
        // Nothing lives: what the brain never saw need not be read again either.
        if cut.live_traces == 0 || root.low.sequence > cut.processed {
            root.low = Mark { sequence: root.processed + 1, now: root.now };
        }
        let mut ledger: Ledger = cut.ledger;
        ledger.received += intake.dead_events;
        *ledger.count(Outcome::DeadLetter) += intake.dead_events;
        root.ledger = ledger;
        root.live_traces = cut.live_traces;
        root.ticks.append(&mut intake.ticks);
        root.given_up.append(&mut intake.given_up);
        root.prune_ticks();
    }

    /// Adds graves to the last piece of them, and lets pieces go that are past their time or beyond
    /// the number that is remembered.
    fn dig(&mut self, graves: &[Grave]) {
        let root = &mut self.root;
        // What may be read again must be known then.
        let now = root.now.min(root.low.now);
        let last = root.pieces.keys().rev().find_map(|key| match key {
            PieceKey::Graves(number) => Some(*number),
            PieceKey::Trace(_)
            | PieceKey::Incident(_)
            | PieceKey::Resolved
            | PieceKey::Waiting(_) => None,
        });
        let mut number = last.unwrap_or_default();
        if !graves.is_empty() {
            let tail = match root.pieces.get(&PieceKey::Graves(number)) {
                Some(Content::Inline(bytes)) => tapio_wire::decode_graves(bytes).ok(),
                Some(Content::Chunks { .. }) => {
                    number += 1;
                    None
                }
                None => None,
            };
            let mut all = tail.unwrap_or_default();
            all.extend_from_slice(graves);
            let until = all.iter().map(|grave| grave.until).max().unwrap_or(Timestamp::MAX);
            let bytes = encode_graves(&all);
            let content = self.content(bytes, GRAVES_INLINE_BYTES_MAX, until);
            self.root.pieces.insert(PieceKey::Graves(number), content);
        }
        self.forget_graves(now, number);
    }

    fn forget_graves(&mut self, now: Timestamp, last: u64) {
        self.root.pieces.retain(|key, content| match (key, content) {
            (PieceKey::Graves(number), Content::Chunks { until, .. }) => {
                last - number < GRAVE_PIECES_MAX && *until > now
            }
            (
                PieceKey::Graves(_)
                | PieceKey::Trace(_)
                | PieceKey::Incident(_)
                | PieceKey::Resolved
                | PieceKey::Waiting(_),
                Content::Inline(_) | Content::Chunks { .. },
            ) => true,
        });
    }

    fn write_traces(&mut self, cut: &Cut) {
        for gone in &cut.gone {
            self.root.pieces.remove(&PieceKey::Trace(*gone));
        }
        for state in &cut.written {
            let bytes = encode_trace_state(state);
            let content = self.content(bytes, STILL_INLINE_BYTES_MAX, Timestamp::MAX);
            self.root.pieces.insert(PieceKey::Trace(state.id), content);
        }
    }

    fn write_incidents(&mut self, cut: &IncidentsCut) {
        for ended in &cut.ended {
            self.root.pieces.remove(&PieceKey::Incident(*ended));
        }
        for state in &cut.changed {
            let bytes = encode_incident_state(state);
            let content = self.content(bytes, INLINE_BYTES_MAX, Timestamp::MAX);
            self.root.pieces.insert(PieceKey::Incident(state.id), content);
        }
        if let Some(resolved) = &cut.resolved {
            let bytes = encode_resolved(resolved);
            let content = self.content(bytes, INLINE_BYTES_MAX, Timestamp::MAX);
            self.root.pieces.insert(PieceKey::Resolved, content);
        }
        for waited in &cut.waited {
            self.root.pieces.remove(&PieceKey::Waiting(*waited));
        }
        for state in &cut.waiting {
            let bytes = encode_waiting(state);
            let content = self.content(bytes, STILL_INLINE_BYTES_MAX, Timestamp::MAX);
            self.root.pieces.insert(PieceKey::Waiting(state.number), content);
        }
    }

    /// Puts bytes into the root if they are few, else into chunks.
    fn content(&mut self, bytes: Vec<u8>, inline_max: usize, until: Timestamp) -> Content {
        if bytes.len() <= inline_max {
            return Content::Inline(bytes);
        }
        in_chunks(&mut self.chunks, bytes, until)
    }

    /// Moves what stands in the root into chunks, the largest parts first, until the root is small
    /// enough: one that the middle refuses could never be written.
    fn fit(&mut self) {
        let mut inline_max = INLINE_BYTES_MAX;
        while inline_max > CRUMB_BYTES_MAX && self.inline_bytes() > ROOT_INLINE_BYTES_MAX {
            inline_max /= 2;
            let Root { pieces, outbox, .. } = &mut self.root;
            // The last graves stay: they have a bound of their own, and more come to them.
            let pieces = pieces.iter_mut().filter(|(key, _)| !matches!(key, PieceKey::Graves(_)));
            let pieces = pieces.map(|(_, content)| content);
            for content in pieces.chain(outbox.iter_mut().map(|posted| &mut posted.content)) {
                if let Content::Inline(bytes) = content
                    && bytes.len() > inline_max
                {
                    let bytes = std::mem::take(bytes);
                    *content = in_chunks(&mut self.chunks, bytes, Timestamp::MAX);
                }
            }
        }
    }

    fn inline_bytes(&self) -> usize {
        let posted = self.root.outbox.iter().map(|posted| &posted.content);
        let contents = self.root.pieces.values().chain(posted);
        contents.map(|content| if content.chunks().is_empty() { content.bytes() } else { 0 }).sum()
    }
}

/// Cuts bytes into chunks.
fn in_chunks(chunks: &mut Vec<(ChunkName, Bytes)>, bytes: Vec<u8>, until: Timestamp) -> Content {
    let mut rest = Bytes::from(bytes);
    let mut names = Vec::new();
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(CHUNK_BYTES_MAX));
        let name = chunk_name(&chunk);
        names.push(name);
        chunks.push((name, chunk));
    }
    Content::Chunks { names, until }
}

/// Names a chunk by its content.
#[must_use]
pub(crate) fn chunk_name(bytes: &[u8]) -> ChunkName {
    ChunkName(xxh3_128(bytes).to_be_bytes())
}

/// Derives the number that tells letters of one entry apart: of a trace that was given up.
fn letter_number(trace: TraceId) -> u32 {
    let hash = xxh3_128(trace.as_bytes()).to_be_bytes();
    let [a, b, c, d, ..] = hash;
    u32::from_be_bytes([a, b, c, d]) | 0x8000_0000
}

#[cfg(test)]
mod tests;
