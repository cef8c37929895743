//! One server.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tapio_bus::{Address, ChunkName, Fabric as _, FabricError, Parcel, Receipt, SwapError};
use tapio_chaos::real::{NatsServer, NatsServerOptions};
use tapio_model::{Level, ShardId, Source, StoryId, Text, Timestamp};
use tapio_nats::{NatsFabric, Stream};
use tapio_telemetry::spawn_named;
use tokio::{task::JoinSet, time::Instant};

use super::world::{FROM, PATIENCE, TO, World, check, findings, publish, read, said};

const SHARD: ShardId = ShardId::new(7);

/// A call that ends a little after its patience has kept it: timers are late on a busy machine.
const SLACK: Duration = Duration::from_millis(900);

async fn start() -> Result<(NatsServer, World), String> {
    let server = NatsServer::start(NatsServerOptions::default()).await.map_err(said)?;
    let world = Box::pin(World::open(vec![server.url()], 1)).await?;
    Ok((server, world))
}

pub(super) async fn race() -> Result<(), String> {
    const WRITERS: u8 = 8;
    const ROUNDS: usize = 25;
    let (_server, world) = Box::pin(start()).await?;
    let mut last = None;
    for round in 0..ROUNDS {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (fabric, expect) = (Arc::clone(&world.fabric), last);
            let bytes = Bytes::from(vec![writer]);
            writers.spawn(async move {
                fabric.swap_root(SHARD, bytes, expect).await.map(|revision| (writer, revision))
            });
        }
        let mut winners = Vec::new();
        while let Some(swapped) = writers.join_next().await {
            match swapped.map_err(said)? {
                Ok(winner) => winners.push(winner),
                Err(SwapError::Lost) => {}
                Err(error) => return Err(format!("round {round}: {error}")),
            }
        }
        let [(winner, revision)] = *winners.as_slice() else {
            return Err(format!("round {round} has winners {winners:?}"));
        };
        let root = world.fabric.read_root(SHARD).await.map_err(said)?;
        let root = root.ok_or("no root")?;
        check(root.revision == revision && *root.bytes == [winner], format!("{root:?}"))?;
        last = Some(revision);
    }
    let figures = world.fabric.figures();
    let (won, lost) = (figures.swaps_won, figures.swaps_lost);
    check(won == 25 && lost == 25 * 7, format!("{figures:?}"))
}

pub(super) async fn deleted_root() -> Result<(), String> {
    let (_server, world) = Box::pin(start()).await?;
    let fabric = &world.fabric;
    check(fabric.read_root(SHARD).await == Ok(None), "a root that nobody wrote")?;
    let first = fabric.swap_root(SHARD, Bytes::from_static(b"a"), None).await.map_err(said)?;
    let again = fabric.swap_root(SHARD, Bytes::from_static(b"b"), None).await;
    check(again == Err(SwapError::Lost), format!("a second creation: {again:?}"))?;
    let jetstream = world.connection.jetstream();
    let bucket = jetstream.get_key_value("TAPIO_ROOTS_1").await.map_err(said)?;
    bucket.delete(SHARD.to_string()).await.map_err(said)?;
    check(fabric.read_root(SHARD).await == Ok(None), "a root that was deleted")?;
    let stale = fabric.swap_root(SHARD, Bytes::from_static(b"c"), Some(first)).await;
    check(stale == Err(SwapError::Lost), format!("a write over the marker: {stale:?}"))?;
    fabric.swap_root(SHARD, Bytes::from_static(b"d"), None).await.map_err(said)?;
    let root = fabric.read_root(SHARD).await.map_err(said)?;
    check(root.is_some_and(|root| *root.bytes == *b"d"), "the new root is not there")
}

pub(super) async fn chunks() -> Result<(), String> {
    let (_server, world) = Box::pin(start()).await?;
    let fabric = &world.fabric;
    let (name, bytes) = (ChunkName([0xab; 16]), Bytes::from(vec![7; 100_000]));
    check(fabric.get_chunk(name).await == Ok(None), "a chunk that nobody kept")?;
    for _ in 0..2 {
        fabric.put_chunk(name, bytes.clone()).await.map_err(said)?;
    }
    check(fabric.get_chunk(name).await == Ok(Some(bytes.clone())), "the chunk is not there")?;
    for _ in 0..2 {
        fabric.remove_chunk(name).await.map_err(said)?;
    }
    check(fabric.get_chunk(name).await == Ok(None), "the chunk is still there")?;
    fabric.put_chunk(name, bytes.clone()).await.map_err(said)?;
    check(fabric.get_chunk(name).await == Ok(Some(bytes)), "the chunk did not come back")?;
    let huge = fabric.put_chunk(name, Bytes::from(vec![0; 2 << 20])).await;
    check(matches!(huge, Err(FabricError::Refused(_))), format!("two MiB: {huge:?}"))
}

pub(super) async fn parcels() -> Result<(), String> {
    let (_server, world) = Box::pin(start()).await?;
    let story = StoryId::new(Timestamp::from_millis(1), [9; 10]);
    let addresses = [
        Address::Telling { shard: SHARD, story, telling: 0 },
        Address::Telling { shard: SHARD, story, telling: 1 },
        Address::DeadLetter { shard: SHARD, sequence: 5, part: 0 },
        Address::Audit { shard: SHARD, commit: 5 },
    ];
    for address in addresses {
        let parcel = |body| Parcel { address, body: Bytes::from_static(body), traceparent: None };
        let wanted =
            [(b"one", Receipt::Delivered), (b"one", Receipt::WasThere), (b"two", Receipt::Differs)];
        for (body, receipt) in wanted {
            let is = world.fabric.deliver(&parcel(body)).await;
            check(is == Ok(receipt), format!("{address:?} {body:?}: {is:?}"))?;
        }
    }
    // Written without a message id: only its bytes tell that it is the same.
    let subject = world.connection.subjects().telling(SHARD, story, 2);
    let jetstream = world.connection.jetstream();
    let written = jetstream.publish(subject, Bytes::from_static(b"one")).await.map_err(said)?;
    written.await.map_err(said)?;
    for (body, receipt) in [(b"one", Receipt::WasThere), (b"two", Receipt::Differs)] {
        let address = Address::Telling { shard: SHARD, story, telling: 2 };
        let parcel = Parcel { address, body: Bytes::from_static(body), traceparent: None };
        let is = world.fabric.deliver(&parcel).await;
        check(is == Ok(receipt), format!("found {body:?}: {is:?}"))?;
    }
    Ok(())
}

pub(super) async fn full() -> Result<(), String> {
    let (_server, world) = Box::pin(start()).await?;
    let (jetstream, name) =
        (world.connection.jetstream(), world.connection.subjects().stream(Stream::Findings));
    let stream = jetstream.get_stream(name).await.map_err(said)?;
    let mut config = stream.cached_info().config.clone();
    config.max_bytes = 1_000;
    jetstream.update_stream(&config).await.map_err(said)?;
    for commit in 0..20 {
        match world.fabric.deliver(&findings(commit)).await {
            Ok(_) => {}
            Err(FabricError::Full(_)) => return check(!world.fabric.is_open(), "an open breaker"),
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("twenty findings fit into a thousand bytes".to_owned())
}

pub(super) async fn events() -> Result<(), String> {
    let (_server, world) = Box::pin(start()).await?;
    let (jetstream, subjects) = (world.connection.jetstream(), world.connection.subjects());
    let mut ours = Vec::new();
    for n in 0..30_u8 {
        let shard = ShardId::new(u16::from(n % 3));
        let subject = subjects.events(Source::Kernel, Level::High, shard);
        let ack = jetstream.publish(subject, Bytes::from(vec![n])).await.map_err(said)?;
        let ack = ack.await.map_err(said)?;
        if shard.number() == 1 {
            ours.push((ack.sequence, n));
        }
    }
    check(world.fabric.log_time().is_none(), "a time before anything was read")?;
    let mut reader = world.fabric.read_events(ShardId::new(1), 0).await.map_err(said)?;
    check(reader.first_kept() == 1, format!("first kept {}", reader.first_kept()))?;
    for (waiting, (sequence, n)) in (0..10).rev().zip(ours) {
        let entry = reader.next().await.map_err(said)?;
        let is_right = entry.sequence == sequence && *entry.body == [n];
        check(is_right && entry.waiting == waiting, format!("{entry:?}"))?;
        let now = world.fabric.log_time();
        check(now.is_some_and(|now| now >= entry.time), format!("{now:?} before {entry:?}"))?;
    }
    let mut late = world.fabric.read_events(ShardId::new(1), 24).await.map_err(said)?;
    let entry = late.next().await.map_err(said)?;
    check(entry.sequence == 26 && entry.waiting == 1, format!("{entry:?}"))
}

pub(super) async fn reader_over_restart() -> Result<(), String> {
    const LAST: u64 = 3_000;
    let (mut server, world) = Box::pin(start()).await?;
    let mut reader = world.fabric.read_findings(TO, 1).await.map_err(said)?;
    let publisher = spawn_named("publisher", publish(Arc::clone(&world.fabric), LAST));
    let mut commit = 1;
    for until in [500, 1_000] {
        read(reader.as_mut(), commit, until).await?;
        commit = until + 1;
        server.kill().await.map_err(said)?;
        server.restart().await.map_err(said)?;
    }
    read(reader.as_mut(), commit, LAST).await?;
    publisher.await.map_err(said)??;
    let figures = world.fabric.figures();
    let reopened = figures.reopened_reconnected + figures.reopened_silent + figures.reopened_gone;
    // A loop without a back-off would have tried thousands of times.
    let is_calm = (2..10).contains(&reopened) && figures.reopenings_failed < 40;
    check(is_calm && figures.repeats_dropped == 0, format!("{figures:?}"))
}

pub(super) async fn beats_over_restart() -> Result<(), String> {
    let (mut server, world) = Box::pin(start()).await?;
    let fabric = &world.fabric;
    let nodes = ["tapio-0", "ip-10-0-0-1.eu", "ä *>"].map(Text::from);
    for text in ["old", "new"] {
        for node in &nodes {
            fabric.beat(node, Bytes::from_static(text.as_bytes())).await.map_err(said)?;
        }
    }
    let mut beats = fabric.hear_beats().await.map_err(said)?;
    for node in &nodes {
        let beat = beats.next().await.map_err(said)?;
        check(beat.node == *node && *beat.body == *b"new", format!("{beat:?}"))?;
    }
    server.kill().await.map_err(said)?;
    server.restart().await.map_err(said)?;
    let mut retry = tokio::time::interval(Duration::from_millis(50));
    let [first, ..] = &nodes;
    let revision = loop {
        match fabric.beat(first, Bytes::new()).await {
            Ok(revision) => break revision,
            Err(_) => drop(retry.tick().await),
        }
    };
    let beat = beats.next().await.map_err(said)?;
    let is_right = beat.node == *first && beat.body.is_empty() && beat.revision == revision;
    check(is_right, format!("{beat:?} instead of {revision:?}"))
}

pub(super) async fn patience() -> Result<(), String> {
    let (mut server, world) = Box::pin(start()).await?;
    let mut reader = world.fabric.read_findings(TO, 1).await.map_err(said)?;
    let reading = spawn_named("reader", async move { read(reader.as_mut(), 1, 10).await });
    server.pause().map_err(said)?;
    for _ in 0..3 {
        every_call_fails_within(&world.fabric, PATIENCE * 4).await?;
    }
    // Three silences in a row open a breaker; from then on one call of each of five areas waits,
    // to find out, and all others fail at once.
    let waited = every_call_fails_within(&world.fabric, PATIENCE * 4).await?;
    check(world.fabric.is_open() && waited <= 5, format!("{waited} calls waited"))?;
    server.resume().map_err(said)?;
    let mut retry = tokio::time::interval(Duration::from_millis(50));
    while world.fabric.read_root(SHARD).await.is_err() {
        retry.tick().await;
    }
    server.kill().await.map_err(said)?;
    while world.connection.is_connected() {
        retry.tick().await;
    }
    every_call_fails_within(&world.fabric, SLACK).await?;
    server.restart().await.map_err(said)?;
    publish(Arc::clone(&world.fabric), 10).await?;
    reading.await.map_err(said)??;
    let figures = world.fabric.figures();
    check(figures.reopened_silent > 0 && figures.failed_fast > 0, format!("{figures:?}"))
}

/// Makes every call at once, sees that each fails in time, and returns how many had to wait.
async fn every_call_fails_within(fabric: &NatsFabric, longest: Duration) -> Result<usize, String> {
    let (name, bytes) = (ChunkName([1; 16]), Bytes::from_static(b"x"));
    let (node, parcel, began) = (Text::from("n"), findings(1), Instant::now());
    let (root, swap, put, get, remove, log, finding, delivered, beat, beats) = tokio::join!(
        async { (fabric.read_root(SHARD).await.is_err(), began.elapsed()) },
        async { (fabric.swap_root(SHARD, bytes.clone(), None).await.is_err(), began.elapsed()) },
        async { (fabric.put_chunk(name, bytes.clone()).await.is_err(), began.elapsed()) },
        async { (fabric.get_chunk(name).await.is_err(), began.elapsed()) },
        async { (fabric.remove_chunk(name).await.is_err(), began.elapsed()) },
        async { (fabric.read_events(SHARD, 1).await.is_err(), began.elapsed()) },
        async { (fabric.read_findings(FROM, 1).await.is_err(), began.elapsed()) },
        async { (fabric.deliver(&parcel).await.is_err(), began.elapsed()) },
        async { (fabric.beat(&node, bytes.clone()).await.is_err(), began.elapsed()) },
        async { (fabric.hear_beats().await.is_err(), began.elapsed()) },
    );
    let calls = [root, swap, put, get, remove, log, finding, delivered, beat, beats];
    let is_right = calls.iter().all(|(has_failed, took)| *has_failed && *took <= longest);
    check(is_right, format!("not all failed within {longest:?}: {calls:?}"))?;
    Ok(calls.iter().filter(|(_, took)| *took > SLACK).count())
}
