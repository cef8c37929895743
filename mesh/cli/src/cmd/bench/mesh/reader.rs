//! What JetStream does by itself: envelopes as bytes, and encoded and decoded but not thought about.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tapio_bus::{Fabric as _, LogReader};
use tapio_model::{Level, ShardId, Source};
use tapio_nats::{Connection, NatsFabric};
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tapio_wire::{EventBatch, decode_batch, encode_batch};
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};

use super::{
    ARRIVAL_MAX, MeshArgs, Server, Speed, load,
    publisher::{IN_FLIGHT, Publisher},
    until,
    usage::Usage,
};
use crate::out::errln;

/// Envelopes that are published over and over where nobody looks into them.
const BODIES: usize = 64;

/// Readers of all shards, as the owners of the shards have them.
#[derive(Debug)]
struct Readers {
    connection: Connection,
    tasks: Vec<JoinHandle<()>>,
    seen: Arc<AtomicU64>,
}

impl Readers {
    async fn start(server: &Server, stage: &str, of: fn(&Bytes) -> u64) -> anyhow::Result<Self> {
        let connection = server.connect(stage, "tapio bench reader").await?;
        server.set_up(&connection).await?;
        let fabric = NatsFabric::new(connection.clone());
        let seen = Arc::new(AtomicU64::new(0));
        let mut tasks = Vec::new();
        for shard in ShardCount::DEFAULT.shards() {
            let reader = fabric.read_events(shard, 1).await?;
            tasks.push(spawn_named("bench reader", read(reader, of, Arc::clone(&seen))));
        }
        Ok(Self { connection, tasks, seen })
    }

    async fn seen(&self, wanted: u64) -> anyhow::Result<()> {
        let has_seen = || self.seen.load(Ordering::Relaxed) >= wanted;
        until("reading everything", ARRIVAL_MAX, has_seen).await
    }

    /// Stops reading, and closes the connection before the server goes.
    async fn end(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.connection.close().await;
    }
}

async fn read(mut reader: Box<dyn LogReader>, of: fn(&Bytes) -> u64, seen: Arc<AtomicU64>) {
    while let Ok(entry) = reader.next().await {
        seen.fetch_add(of(&entry.body), Ordering::Relaxed);
    }
}

/// Publishes and reads envelopes that nobody looks into.
pub(super) async fn raw(args: &MeshArgs, server: &Server) -> anyhow::Result<Speed> {
    errln("tapio: envelopes as bytes, as fast as it goes");
    let readers = Readers::start(server, "raw", |_| 1).await?;
    let connection = server.connect("raw", "tapio bench publisher").await?;
    let batch_events = args.envelope() as u64;
    let mut load = load(args);
    let bodies: Vec<_> = (0..BODIES)
        .map(|_| {
            let events = load.chunk(batch_events);
            let time = super::super::load::BEGIN;
            let (shard, level) = (ShardId::new(0), Level::Normal);
            Bytes::from(encode_batch(&EventBatch { shard, level, time, events }))
        })
        .collect();
    let shards: Vec<_> = ShardCount::DEFAULT.shards().collect();
    let to = |shard| connection.subjects().events(Source::Otlp, Level::Normal, shard);
    let subjects: Vec<_> = shards.into_iter().map(to).collect();
    let envelopes = args.full_events / batch_events;
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT as usize));
    let (usage, begin) = (Usage::begin(server), Instant::now());
    let pairs = bodies.iter().cycle().zip(subjects.iter().cycle());
    for (body, subject) in pairs.take(usize::try_from(envelopes)?) {
        let permit = Arc::clone(&in_flight).acquire_owned().await?;
        let (jetstream, subject, body) =
            (connection.jetstream().clone(), subject.clone(), body.clone());
        drop(spawn_named("bench publish", async move {
            // What is lost shows in what is read.
            if let Ok(ack) = jetstream.publish(subject, body).await {
                drop(ack.await);
            }
            drop(permit);
        }));
    }
    readers.seen(envelopes).await?;
    let (elapsed, events) = (begin.elapsed(), envelopes * batch_events);
    let usage = usage.end(server, events);
    connection.close().await;
    readers.end().await;
    Ok(Speed::new(args, (events, elapsed), usage))
}

/// Encodes, publishes, reads and decodes, as fast as it goes.
pub(super) async fn plain(args: &MeshArgs, server: &Server) -> anyhow::Result<Speed> {
    errln("tapio: without actors, as fast as it goes");
    let decoded = |body: &Bytes| decode_batch(body).map_or(0, |it| it.batch.events.len() as u64);
    let readers = Readers::start(server, "plain", decoded).await?;
    let mut publisher = Publisher::start(server, "plain", (args.linger(), args.envelope())).await?;
    let (usage, begin) = (Usage::begin(server), Instant::now());
    publisher.rush(&mut load(args), args.full_events).await?;
    publisher.finish().await?;
    readers.seen(args.full_events).await?;
    let elapsed = begin.elapsed();
    let usage = usage.end(server, args.full_events);
    readers.end().await;
    Ok(Speed::new(args, (args.full_events, elapsed), usage))
}
