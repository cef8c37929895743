//! Taking entries of the logs in, and what to do with those that cannot be read.

use std::sync::Arc;

use tapio_bus::LogEntry;
use tapio_model::{DeadLetter, DeadReason, Text};
use tapio_shard::Suspect;
use tapio_telemetry::{OwnSpan, SpanKey, SpanName};
use tapio_wire::{decode_batch, decode_findings};
use tokio::{sync::OwnedMutexGuard, time::Instant};
use tracing::{error, field::display, warn};

use super::{Brain, Ended, Order, Owner, Phase};

/// Why an entry was given up that can be read.
const ENDED: &str = "taking it in ended the process every time";

/// Bytes of an event in an envelope, about.
const EVENT_BYTES: u64 = 128;

/// Events that a dead letter counts for where what is not committed is bounded: each is a parcel.
const LETTER_EVENTS: u64 = 100;

/// How an entry is to be taken in.
#[derive(Debug)]
enum Care {
    /// Like any other.
    None,
    /// Announced in the root before, committed after; no other entry of this process is tried
    /// meanwhile.
    Try(OwnedMutexGuard<()>),
    /// Not at all: it has ended every process that tried.
    GiveUp,
}

impl<B: Brain> Owner<'_, B> {
    /// Takes in one entry of the event log.
    pub(super) async fn take_in(&mut self, entry: LogEntry) -> Result<(), Ended> {
        if entry.sequence <= self.processed {
            return Ok(());
        }
        self.heard_at = Instant::now();
        self.is_changed = true;
        self.now = self.now.max(entry.time);
        self.waiting = entry.waiting;
        let care = self.try_carefully(Suspect::Event(entry.sequence)).await?;
        let mut span = self.parts.telemetry.start(SpanName::Process, entry.traceparent.as_deref());
        span.set(SpanKey::Shard, u64::from(self.parts.shard.number()));
        span.set(SpanKey::Sequence, entry.sequence);
        match decode_batch(&entry.body) {
            Ok(decoded) if matches!(care, Care::GiveUp) => {
                let detail = ENDED.into();
                let events = decoded.batch.events;
                self.intake.given_up.push(entry.sequence);
                self.intake.dead.extend(events.iter().map(|event| event.id));
                self.give_up(&entry, (DeadReason::Crash, detail), events.len() as u64, &span);
            }
            Ok(decoded) => {
                if let Some((at, why)) = decoded.rejected.first() {
                    let detail = format!("event {at} of the batch: {why}");
                    let count = decoded.rejected.len() as u64;
                    self.give_up(&entry, (DeadReason::BadEvent, detail.into()), count, &span);
                }
                let taken = self.parts.figures.intake.begin(&decoded.batch);
                if !taken.is_empty() {
                    self.brain.watch(taken);
                }
                let events = decoded.batch.events;
                span.set(SpanKey::Messages, events.len() as u64);
                if let Some(trail) = span.traceparent().or_else(|| entry.traceparent.clone()) {
                    self.trails.note(events.iter().map(|event| event.id), &trail);
                }
                self.uncommitted += events.len() as u64;
                self.parts.figures.events.add(events.len() as u64);
                self.brain.take_in(entry.sequence, self.now, events).await?;
            }
            Err(why) => {
                span.fail("bad_batch");
                self.give_up(&entry, (DeadReason::BadBatch, why.to_string().into()), 1, &span);
            }
        }
        span.end();
        self.processed = entry.sequence;
        self.intake.processed = entry.sequence;
        self.parts.figures.entries.add(1);
        self.show(Phase::Owning, entry.waiting);
        self.end_care(care, Suspect::Event(entry.sequence), entry.waiting).await
    }

    /// If the shard was claimed over and over without getting anywhere, the next entry may be what
    /// ends the processes: it is announced in the root before it is tried, and given up if its
    /// announcement is all that the last owners left.
    async fn try_carefully(&mut self, entry: Suspect) -> Result<Care, Ended> {
        if self.caution.is_none() {
            return Ok(Care::None);
        }
        let guard = Arc::clone(&self.parts.care).lock_owned().await;
        let Some(committer) = self.committer.as_mut() else { return Ok(Care::None) };
        if committer.root.is_culprit(entry) {
            error!(shard = %self.parts.shard, ?entry, "gave an entry up");
            return Ok(Care::GiveUp);
        }
        warn!(shard = %self.parts.shard, ?entry, "tries an entry carefully");
        let announced = committer.root.announcing(entry);
        committer.swap(announced).await.map_err(Ended::Dropped)?;
        Ok(Care::Try(guard))
    }

    /// Commits what was taken in with care.
    async fn end_care(&mut self, care: Care, entry: Suspect, waiting: u64) -> Result<(), Ended> {
        match care {
            Care::None => return Ok(()),
            Care::GiveUp => self.commit_now(Order::Own).await?,
            Care::Try(guard) => {
                self.commit_now(Order::Own).await?;
                drop(guard);
            }
        }
        if let Some(caution) = &mut self.caution {
            caution.passed(entry, waiting);
        }
        Ok(())
    }

    fn give_up(
        &mut self,
        entry: &LogEntry,
        (reason, detail): (DeadReason, Text),
        events: u64,
        span: &OwnSpan,
    ) {
        let (shard, trace_id) = (self.parts.shard, span.trace_id().map(display));
        warn!(%shard, sequence = entry.sequence, %detail, trace_id, "a dead letter");
        self.parts.figures.dead_letters.add(1);
        self.intake.dead_events += events;
        // A letter takes room like the events that its bytes could be.
        self.uncommitted += events.max(entry.body.len() as u64 / EVENT_BYTES).max(LETTER_EVENTS);
        self.intake.letters.push(DeadLetter {
            shard: self.parts.shard,
            sequence: entry.sequence,
            at: self.now,
            reason,
            detail,
            trace: None,
            events: Vec::new(),
            original: entry.body.to_vec(),
        });
    }

    /// Takes in one entry of the findings log, unless it was taken in before.
    pub(super) async fn hear(&mut self, entry: LogEntry) -> Result<(), Ended> {
        if entry.sequence <= self.intake.findings_read {
            return Ok(());
        }
        self.is_changed = true;
        let care = self.try_carefully(Suspect::Findings(entry.sequence)).await?;
        self.intake.findings_read = entry.sequence;
        match decode_findings(&entry.body) {
            Ok(_) if matches!(care, Care::GiveUp) => {
                let why = (DeadReason::BadFindings, ENDED.into());
                self.give_up(&entry, why, 0, &OwnSpan::none());
            }
            Ok(findings) => {
                let known = self.heard.entry(findings.from).or_default();
                if findings.commit <= *known {
                    // Skipping it ends nobody, and its announcement must not be left for whatever
                    // ends the process next.
                    self.parts.figures.findings_skipped.add(1);
                    let suspect = Suspect::Findings(entry.sequence);
                    return self.end_care(care, suspect, entry.waiting).await;
                }
                *known = findings.commit;
                self.intake.received.insert(findings.from, findings.commit);
                if let Some(traceparent) = &entry.traceparent {
                    let events = findings.sent.iter().flat_map(|sent| sent.events());
                    self.trails.note(events.map(|event| event.id), traceparent);
                }
                self.parts.figures.findings_heard.add(1);
                self.brain.hear(findings, self.now.max(entry.time)).await?;
            }
            Err(why) => {
                let why = (DeadReason::BadFindings, why.to_string().into());
                self.give_up(&entry, why, 0, &OwnSpan::none());
            }
        }
        self.end_care(care, Suspect::Findings(entry.sequence), entry.waiting).await
    }
}
