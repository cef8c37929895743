//! Giving a dead letter back: what of it can be read, whether it may go, and what becomes of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::bail;
use bytes::Bytes;
use serde::Serialize;
use tapio_bus::{Batch, Bus as _, Fabric as _, Parcel, PublishError, Receipt};
use tapio_engine::Limits;
use tapio_model::{Address, DeadLetter, DeadReason, Event, Findings, Level, ShardId, Timestamp};
use tapio_nats::{
    Archive, Connection, DeadLetterEntry, NatsBus, NatsBusOptions, NatsFabric, Stream,
};
use tapio_shard::ShardCount;
use tapio_wire::{DecodeError, decode_batch, decode_findings};
use tokio::time::timeout;

use super::{page, refused};
use crate::exit::{Unreachable, Usage};

/// How long the mesh may take to take one dead letter back: longer than an election.
const TAKING_MAX: Duration = Duration::from_secs(30);

/// What of a dead letter this build reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Read {
    pub(super) events: Vec<Arc<Event>>,
    /// What it cannot read: an event of the batch, from 0, or all of it.
    pub(super) unreadable: Vec<(Option<usize>, DecodeError)>,
    /// The message from another shard, if it is one.
    findings: Option<Findings>,
}

/// Reads a dead letter as far as this build can.
pub(super) fn read(letter: &DeadLetter) -> Read {
    let mut read = Read { events: letter.events.clone(), ..Read::default() };
    if letter.original.is_empty() {
        return read;
    }
    match letter.reason {
        DeadReason::BadFindings => match decode_findings(&letter.original) {
            Ok(findings) => read.findings = Some(findings),
            Err(why) => read.unreadable.push((None, why)),
        },
        DeadReason::BadBatch | DeadReason::BadEvent | DeadReason::Poison | DeadReason::Crash => {
            match decode_batch(&letter.original) {
                Ok(decoded) => {
                    read.events.extend(decoded.batch.events);
                    let rejected = decoded.rejected.into_iter();
                    read.unreadable.extend(rejected.map(|(event, why)| (Some(event), why)));
                }
                Err(why) => read.unreadable.push((None, why)),
            }
        }
    }
    read
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// The mesh has it.
    GivenBack,
    /// The stream took the same a short while ago: nothing was done.
    AlreadyThere,
    /// It was only asked what would be.
    WouldBeGivenBack,
    /// It cannot be given back; the notes say why.
    Refused,
}

impl What {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::GivenBack => "given back",
            Self::AlreadyThere => "given back already, within the stream's duplicate window",
            Self::WouldBeGivenBack => "would be given back",
            Self::Refused => "cannot be given back",
        }
    }
}

/// What became of a dead letter, and what a person should know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fate {
    pub(super) sequence: u64,
    pub(super) reason: &'static str,
    pub(super) what: What,
    /// Events in it.
    pub(super) events: usize,
    pub(super) notes: Vec<String>,
}

impl Fate {
    pub(super) fn is_refusal(&self) -> bool {
        self.what == What::Refused
    }
}

/// What is given back of a dead letter.
#[derive(Debug)]
pub(super) enum Gift {
    /// Events, in the batches they travel in: what travels together has one shard and one level.
    Events(BTreeMap<(ShardId, Level), Vec<Arc<Event>>>),
    /// Findings of another shard, as they came.
    Findings(Parcel),
}

/// Decides what to give back, or why nothing can be.
///
/// `generation` is the one that is given back to: its shards must be those of the letter.
pub(super) fn wrap(
    entry: &DeadLetterEntry,
    read: &Read,
    shards: ShardCount,
    generation: &str,
) -> Result<Gift, String> {
    let letter = &entry.letter;
    if let Some((event, why)) = read.unreadable.first() {
        let what = event.map_or_else(|| "it".to_owned(), |event| format!("event {event} of it"));
        let count = read.unreadable.len();
        let more = if count > 1 { format!(" ({count} in all)") } else { String::new() };
        return Err(format!(
            "{what} still cannot be read: {why}{more}; try again with a newer build"
        ));
    }
    let is_ours = entry.generation == generation;
    if let Some(findings) = &read.findings {
        if !is_ours {
            let theirs = &entry.generation;
            return Err(format!("findings of generation {theirs} are of no use to {generation}"));
        }
        let (from, to, commit) = (findings.from, letter.shard, findings.commit);
        return Ok(Gift::Findings(Parcel {
            address: Address::Findings { from, to, commit },
            body: Bytes::from(letter.original.clone()),
            traceparent: entry.traceparent.clone(),
        }));
    }
    if read.events.is_empty() {
        return Err("there are no events in it".to_owned());
    }
    let mut batches: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in &read.events {
        let shard = shards.shard_of(event.trace.trace_id);
        if is_ours && shard != letter.shard {
            return Err(format!(
                "with {} shards an event of it belongs to shard {shard}, and it came from shard \
                 {}: set --shards (TAPIO_SHARDS) to what the mesh runs with",
                shards.get(),
                letter.shard
            ));
        }
        batches.entry((shard, event.level())).or_default().push(Arc::clone(event));
    }
    Ok(Gift::Events(batches))
}

/// Says what a person should know of giving a dead letter back at `now`.
pub(super) fn notes(entry: &DeadLetterEntry, read: &Read, now: Timestamp) -> Vec<String> {
    // Nodes may run with another horizon; then these are off by the difference.
    let horizon = Limits::default().late_horizon;
    let mut notes: Vec<_> =
        page::caution(entry.letter.reason).map(str::to_owned).into_iter().collect();
    let until = entry.letter.at.after(horizon);
    if entry.letter.reason == DeadReason::Poison && now < until {
        notes.push(page::quarantine(until));
        return notes;
    }
    let late = read.events.iter().filter(|event| event.time < now.before(horizon)).count();
    if late > 0 {
        notes.push(format!(
            "{late} of {} events are older than {} min: unless their trace is still open they \
             count as late and open no story; `tapio dlq show {} --events | tapio replay -` tells \
             it here",
            read.events.len(),
            horizon.as_secs() / 60,
            entry.sequence
        ));
    }
    notes
}

/// Gives dead letters back.
#[derive(Debug)]
pub(super) struct GiveBack {
    bus: NatsBus,
    fabric: NatsFabric,
    shards: ShardCount,
    generation: String,
}

impl GiveBack {
    /// Makes one for a mesh whose streams are there: it makes none.
    pub(super) async fn new(
        connection: Connection,
        archive: &Archive,
        shards: ShardCount,
    ) -> anyhow::Result<Self> {
        if !archive.has(Stream::Events).await.map_err(|error| refused(&error))? {
            bail!(Unreachable(format!(
                "there is no stream {} to give back to: a node makes it",
                connection.subjects().stream(Stream::Events)
            )));
        }
        let generation = connection.subjects().generation().to_owned();
        let fabric = NatsFabric::new(connection.clone());
        let bus = NatsBus::new(connection, NatsBusOptions { shards, ..NatsBusOptions::default() });
        Ok(Self { bus, fabric, shards, generation })
    }

    /// Gives a dead letter back, or only says what would be.
    pub(super) async fn fate(
        &self,
        entry: &DeadLetterEntry,
        now: Timestamp,
        is_dry_run: bool,
    ) -> anyhow::Result<Fate> {
        let read = read(&entry.letter);
        let (what, notes) = match wrap(entry, &read, self.shards, &self.generation) {
            Err(why) => (What::Refused, vec![why]),
            Ok(gift) => {
                let notes = notes(entry, &read, now);
                let what = if is_dry_run {
                    What::WouldBeGivenBack
                } else {
                    self.give(gift, entry.letter.at).await?
                };
                (what, notes)
            }
        };
        Ok(Fate {
            sequence: entry.sequence,
            reason: entry.letter.reason.name(),
            what,
            events: read.events.len(),
            notes,
        })
    }

    async fn give(&self, gift: Gift, at: Timestamp) -> anyhow::Result<What> {
        let giving = async {
            match gift {
                Gift::Events(batches) => self.publish(batches, at).await,
                Gift::Findings(parcel) => self.deliver(&parcel).await,
            }
        };
        timeout(TAKING_MAX, giving).await.unwrap_or_else(|_elapsed| {
            bail!(Unreachable(format!("the mesh did not take it back within {TAKING_MAX:?}")))
        })
    }

    /// Publishes the batches. Their time is the letter's, so that the same letter makes the same
    /// messages: the stream knows them again within its duplicate window.
    async fn publish(
        &self,
        batches: BTreeMap<(ShardId, Level), Vec<Arc<Event>>>,
        time: Timestamp,
    ) -> anyhow::Result<What> {
        let before = self.bus.figures().published_envelopes;
        for ((shard, level), events) in batches {
            let batch = Batch { shard, level, time, events };
            match self.bus.publish(batch).await {
                Ok(_offset) => {}
                Err(why @ (PublishError::TooLarge { .. } | PublishError::UnknownShard(_))) => {
                    bail!(Usage(why.to_string()))
                }
                Err(why @ (PublishError::Full | PublishError::Closed)) => {
                    bail!(Unreachable(why.to_string()))
                }
                Err(why @ PublishError::Empty) => return Err(why.into()),
            }
        }
        let is_new = self.bus.figures().published_envelopes > before;
        Ok(if is_new { What::GivenBack } else { What::AlreadyThere })
    }

    async fn deliver(&self, parcel: &Parcel) -> anyhow::Result<What> {
        match self.fabric.deliver(parcel).await {
            Ok(Receipt::Delivered) => Ok(What::GivenBack),
            Ok(Receipt::WasThere | Receipt::Differs) => Ok(What::AlreadyThere),
            Err(why) => bail!(Unreachable(why.to_string())),
        }
    }
}
