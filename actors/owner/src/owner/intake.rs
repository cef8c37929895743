//! Taking entries of the logs in, and what to do with those that cannot be read.

use tapio_bus::LogEntry;
use tapio_model::{DeadLetter, DeadReason, Text};
use tapio_telemetry::{OwnSpan, SpanName};
use tapio_wire::{decode_batch, decode_findings};
use tokio::time::Instant;
use tracing::{error, warn};

use super::{Brain, Ended, Order, Owner, Phase};

/// How an entry is to be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Like any other.
    None,
    /// Announced in the root before, committed after.
    Try,
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
        let care = self.try_carefully(&entry).await?;
        match decode_batch(&entry.body) {
            Ok(decoded) if care == Care::GiveUp => {
                let detail = "taking it in ended the process every time".into();
                let events = decoded.batch.events;
                self.intake.dead.extend(events.iter().map(|event| event.id));
                self.give_up(&entry, DeadReason::Crash, detail, events.len() as u64);
            }
            Ok(decoded) => {
                if let Some((at, why)) = decoded.rejected.first() {
                    let detail = format!("event {at} of the batch: {why}");
                    let count = decoded.rejected.len() as u64;
                    self.give_up(&entry, DeadReason::BadEvent, detail.into(), count);
                }
                let taken = self.parts.figures.intake.begin(&decoded.batch);
                if !taken.is_empty() {
                    self.brain.watch(taken);
                }
                let events = decoded.batch.events;
                let mut span = OwnSpan::none();
                if let Some(traceparent) = &entry.traceparent {
                    span = self.parts.telemetry.start(SpanName::Process, Some(traceparent));
                    let trail = span.traceparent().unwrap_or_else(|| traceparent.clone());
                    self.trails.note(events.iter().map(|event| event.id), &trail);
                }
                self.uncommitted += events.len() as u64;
                self.parts.figures.events.add(events.len() as u64);
                self.brain.take_in(entry.sequence, self.now, events).await?;
                span.end();
            }
            Err(why) => self.give_up(&entry, DeadReason::BadBatch, why.to_string().into(), 1),
        }
        self.processed = entry.sequence;
        self.intake.processed = entry.sequence;
        self.parts.figures.entries.add(1);
        self.show(Phase::Owning, entry.waiting);
        if care != Care::None {
            self.commit_now(Order::Own).await?;
        }
        Ok(())
    }

    /// If the shard was claimed over and over without getting anywhere, the next entry may be what
    /// ends the processes: it is announced in the root before it is tried, and given up if its
    /// announcement is all that the last owner left.
    async fn try_carefully(&mut self, entry: &LogEntry) -> Result<Care, Ended> {
        let Some(committer) = self.committer.as_mut().filter(|it| it.root.is_suspect()) else {
            return Ok(Care::None);
        };
        if committer.root.trying == Some(entry.sequence) {
            error!(shard = %self.parts.shard, sequence = entry.sequence, "gave an entry up");
            return Ok(Care::GiveUp);
        }
        warn!(shard = %self.parts.shard, sequence = entry.sequence, "tries an entry carefully");
        let mut announced = committer.root.clone();
        announced.commit += 1;
        announced.trying = Some(entry.sequence);
        committer.swap(announced).await.map_err(Ended::Dropped)?;
        Ok(Care::Try)
    }

    fn give_up(&mut self, entry: &LogEntry, reason: DeadReason, detail: Text, events: u64) {
        warn!(shard = %self.parts.shard, sequence = entry.sequence, %detail, "a dead letter");
        self.parts.figures.dead_letters.add(1);
        self.intake.dead_events += events;
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
        self.intake.findings_read = entry.sequence;
        match decode_findings(&entry.body) {
            Ok(findings) => {
                let known = self.heard.entry(findings.from).or_default();
                if findings.commit <= *known {
                    self.parts.figures.findings_skipped.add(1);
                    return Ok(());
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
                self.give_up(&entry, DeadReason::BadFindings, why.to_string().into(), 0);
            }
        }
        Ok(())
    }
}
