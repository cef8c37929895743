//! What the tests of the archive share: a server with streams, letters and stories out of thin air.

use std::{fmt::Display, sync::Arc, time::Duration};

use bytes::Bytes;
use tapio_bus::{Address, Fabric as _, Parcel, Receipt};
use tapio_chaos::real::{NatsServer, NatsServerOptions};
use tapio_model::{
    Attributes, Binding, Class, Confidence, DeadLetter, DeadReason, Event, EventId, EvidenceClass,
    Impact, Kind, Level, Place, Sentence, Severity, ShardId, Source, State, Story, StoryId,
    Telling, Text, Timestamp, TraceContext, TraceId, Verdict,
};
use tapio_nats::{Archive, Connection, NatsConfig, NatsFabric, StreamPlan};
use tapio_shard::ShardCount;
use tapio_wire::{EventBatch, encode_batch, encode_dead_letter, encode_telling};

pub(super) const SHARDS: ShardCount = ShardCount::DEFAULT;

pub(super) const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// How often a shard tries again while the server is away.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// A server, its streams, and who reads and writes them.
pub(super) struct World {
    pub(super) server: NatsServer,
    pub(super) connection: Connection,
    pub(super) archive: Archive,
    pub(super) fabric: NatsFabric,
}

impl World {
    pub(super) async fn start() -> Result<Self, String> {
        let world = Self::bare().await?;
        world.connection.set_up(&StreamPlan::default()).await.map_err(said)?;
        Ok(world)
    }

    /// Without streams.
    pub(super) async fn bare() -> Result<Self, String> {
        let server = NatsServer::start(NatsServerOptions::default()).await.map_err(said)?;
        let config = NatsConfig::to(server.url());
        let connection = Box::pin(Connection::open(&config)).await.map_err(said)?;
        let archive = Archive::new(connection.clone());
        let fabric = NatsFabric::new(connection.clone());
        Ok(Self { server, connection, archive, fabric })
    }

    /// Posts a dead letter as its shard does.
    pub(super) async fn post(&self, letter: &DeadLetter, part: u32) -> Result<(), String> {
        let (shard, sequence) = (letter.shard, letter.sequence);
        let address = Address::DeadLetter { shard, sequence, part };
        self.deliver(address, encode_dead_letter(letter)).await
    }

    /// Tells a story as its shard does.
    pub(super) async fn tell(&self, shard: ShardId, telling: &Telling) -> Result<(), String> {
        let Story { id: story, telling: n, .. } = *telling.story;
        let address = Address::Telling { shard, story, telling: n };
        self.deliver(address, encode_telling(telling)).await
    }

    async fn deliver(&self, address: Address, body: Vec<u8>) -> Result<(), String> {
        let traceparent = Some(Text::from(TRACEPARENT));
        let parcel = Parcel { address, body: Bytes::from(body), traceparent };
        let mut retry = tokio::time::interval(RETRY_EVERY);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.fabric.deliver(&parcel).await {
                Ok(Receipt::Delivered) => return Ok(()),
                Ok(Receipt::WasThere) if tries > 1 => return Ok(()),
                Ok(receipt) => return Err(format!("{address:?}: {receipt:?}")),
                Err(_away) => drop(retry.tick().await),
            }
        }
    }

    /// Writes what nobody of ours would.
    pub(super) async fn scribble(&self, subject: String) -> Result<(), String> {
        let garbage = Bytes::from_static(b"\x01garbage");
        let written = self.connection.jetstream().publish(subject, garbage).await.map_err(said)?;
        written.await.map(drop).map_err(said)
    }
}

pub(super) fn said(error: impl Display) -> String {
    error.to_string()
}

/// Says what is wrong unless `is_so`.
pub(super) fn check(is_so: bool, what: impl Display) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what.to_string()) }
}

/// An event of the trace `trace`.
pub(super) fn event(id: u8, trace: u8) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::from_bytes([id; 16]),
        time: Timestamp::from_secs(1_795_233_600),
        source: Source::Kernel,
        kind: Kind::OomKill,
        trace: TraceContext {
            trace_id: TraceId::from_bytes([trace; 16]),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place::default()),
        severity: Severity::Error,
        impact: Impact::new(0.8),
        class: Class::Memory,
        attributes: Attributes::default(),
    })
}

/// The shard of the trace `trace`.
pub(super) fn shard_of(trace: u8) -> ShardId {
    SHARDS.shard_of(TraceId::from_bytes([trace; 16]))
}

/// A batch as it lies in the log.
pub(super) fn batch(trace: u8, events: Vec<Arc<Event>>) -> Vec<u8> {
    let time = Timestamp::from_secs(1_795_233_600);
    encode_batch(&EventBatch { shard: shard_of(trace), level: Level::High, time, events })
}

/// A letter about the trace `trace`, from the log entry `sequence`.
pub(super) fn letter(sequence: u64, reason: DeadReason, trace: u8) -> DeadLetter {
    DeadLetter {
        shard: shard_of(trace),
        sequence,
        at: Timestamp::from_secs(1_795_233_600),
        reason,
        detail: "as a test has it".into(),
        trace: (reason == DeadReason::Poison).then(|| TraceId::from_bytes([trace; 16])),
        events: Vec::new(),
        original: Vec::new(),
    }
}

/// A poisoned trace with two events.
pub(super) fn poison(sequence: u64, trace: u8) -> DeadLetter {
    let events = vec![event(1, trace), event(2, trace)];
    DeadLetter { events, ..letter(sequence, DeadReason::Poison, trace) }
}

pub(super) fn story_id(number: u8) -> StoryId {
    StoryId::new(Timestamp::from_millis(i64::from(number)), [number; 10])
}

/// The n-th telling of a story.
pub(super) fn telling(story: StoryId, n: u32) -> Telling {
    let cause = event(1, 1);
    let now = Timestamp::from_secs(1_795_233_600 + i64::from(n));
    let sentence = Sentence { text: "it was killed".into(), events: vec![cause.id] };
    Telling {
        story: Box::new(Story {
            id: story,
            telling: n,
            state: if n == 0 { State::Opened } else { State::Amended },
            opened_at: Timestamp::from_secs(1_795_233_600),
            told_at: now,
            title: "a container was killed".into(),
            pattern: "container_oom".into(),
            verdict: Verdict::Cause,
            summary: vec![sentence.clone()],
            root_cause: sentence,
            root_cause_event: cause.id,
            confidence: Confidence::new(0.9),
            class: EvidenceClass::KernelProof,
            chain: Vec::new(),
            recommendation: Vec::new(),
            ruled_out: Vec::new(),
            missing: Vec::new(),
            lost: 0,
            late: 0,
            entities: Vec::new(),
            trace_ids: vec![cause.trace.trace_id],
            event_ids: vec![cause.id],
            references: Vec::new(),
            predecessor: None,
        }),
        evidence: if n == 0 { vec![cause] } else { Vec::new() },
    }
}
