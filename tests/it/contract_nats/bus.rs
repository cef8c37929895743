//! The bus on a real server.

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tapio_bus::{
    Batch, Bus, Offset, PublishError, Start, SubscribeError, Subscription, WhenFull, contract,
};
use tapio_chaos::real::{NatsCluster, NatsServerOptions};
use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Level, Place, Severity, ShardId,
    Source, Timestamp, TraceContext, TraceId,
};
use tapio_nats::{
    Acknowledge, Connection, NatsBus, NatsBusOptions, NatsConfig, Stream, StreamPlan, Subjects,
};
use tapio_shard::ShardCount;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Outcome, check, config, connect, plan, run, start};

const SHARD: ShardId = ShardId::new(0);

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to listen for what must not.
const SILENCE: Duration = Duration::from_millis(500);

/// An event that is told apart by `number`.
fn event(number: u64, impact: Impact) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::from_bytes(u128::from(number).to_be_bytes()),
        time: Timestamp::from_secs(1),
        source: Source::Otlp,
        kind: Kind::OomKill,
        trace: TraceContext {
            trace_id: TraceId::from_bytes([1; 16]),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Explicit,
        },
        place: Arc::new(Place::default()),
        severity: Severity::Info,
        impact,
        class: Class::Memory,
        attributes: Attributes::default(),
    })
}

fn batch(level: Level, numbers: Range<u64>) -> Batch {
    let impact = match level {
        Level::Normal => Impact::NONE,
        Level::High => Impact::new(0.8),
        Level::Critical => Impact::CRITICAL,
    };
    let events = numbers.map(|number| event(number, impact)).collect();
    Batch { shard: SHARD, level, time: Timestamp::from_secs(2), events }
}

fn bus(connection: &Connection, acknowledge: Acknowledge, when_full: WhenFull) -> NatsBus {
    let options = NatsBusOptions {
        shards: ShardCount::new(1),
        acknowledge,
        when_full,
        ..NatsBusOptions::default()
    };
    NatsBus::new(connection.clone(), options)
}

/// Reads so many events however long they take, then what nobody expects until nothing has come
/// for half a second, and returns the numbers of all.
async fn read(subscription: &mut dyn Subscription, expected: usize) -> Vec<u128> {
    let mut numbers = Vec::new();
    loop {
        let wait = if numbers.len() < expected { PATIENCE } else { SILENCE };
        let Ok(Some(delivery)) = timeout(wait, subscription.next()).await else { break };
        let events = delivery.batch.events.iter();
        numbers.extend(events.map(|event| u128::from_be_bytes(*event.id.as_bytes())));
    }
    numbers
}

async fn subscribe(bus: &NatsBus) -> Outcome<Box<dyn Subscription>> {
    bus.subscribe(&[SHARD], Start::Earliest).await.map_err(|why| why.to_string())
}

#[expect(clippy::panic, reason = "the contract takes no excuse for a bus that cannot be made")]
pub(super) fn keeps_the_contract() -> Outcome {
    run(async {
        let server = start(NatsServerOptions::default()).await?;
        let (url, made) = (server.url(), Arc::new(AtomicU64::new(0)));
        Box::pin(contract::run(|options| {
            // A prefix of its own is a stream of its own.
            let prefix = format!("contract-{}", made.fetch_add(1, Relaxed));
            let url = url.clone();
            async move {
                let bus = make(url, &prefix, options).await;
                bus.unwrap_or_else(|why| panic!("no bus {prefix}: {why}"))
            }
        }))
        .await;
        Ok(())
    })
}

async fn make(url: String, prefix: &str, options: contract::Options) -> Outcome<Arc<dyn Bus>> {
    let subjects = Subjects::new(prefix, "1").map_err(|why| why.to_string())?;
    let connection = connect(&NatsConfig { subjects, ..config(url) }, &plan()).await?;
    let options = NatsBusOptions {
        shards: options.shards,
        acknowledge: Acknowledge::Purge,
        events_max_per_shard: options.events_max_per_shard,
        when_full: options.when_full,
        ..NatsBusOptions::default()
    };
    Ok(Arc::new(NatsBus::new(connection, options)))
}

pub(super) fn survives_a_restart() -> Outcome {
    const BATCHES: u64 = 400;
    run(async {
        let mut server = start(NatsServerOptions::default()).await?;
        let plan = StreamPlan { storage: tapio_nats::Storage::File, ..plan() };
        let connection = connect(&config(server.url()), &plan).await?;
        let bus = Arc::new(bus(&connection, Acknowledge::Keep, WhenFull::Block));
        let mut reader = subscribe(&bus).await?;
        let publishing = async {
            let mut publishers = JoinSet::new();
            for number in 0..BATCHES {
                let bus = Arc::clone(&bus);
                let batch = batch(Level::Normal, number * 2..number * 2 + 2);
                publishers.spawn(async move { bus.publish(batch).await });
                if number % 20 == 0 {
                    sleep(Duration::from_millis(20)).await;
                }
            }
            publishers.join_all().await
        };
        let failing = async {
            sleep(Duration::from_millis(150)).await;
            server.kill().await.map_err(|why| why.to_string())?;
            sleep(Duration::from_millis(300)).await;
            server.restart().await.map_err(|why| why.to_string())
        };
        let (answers, failed) = tokio::join!(publishing, failing);
        failed?;
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        check(refused == 0, || format!("{refused} batches refused"))?;
        // The server was away in the middle: the reader lost its consumer, and goes on.
        let expected = usize::try_from(BATCHES * 2).unwrap_or_default();
        let numbers = read(&mut *reader, expected).await;
        let figures = bus.figures();
        let distinct: BTreeSet<_> = numbers.iter().copied().collect();
        let what = || format!("{} read, {} distinct, {figures:?}", numbers.len(), distinct.len());
        check(distinct.len() == numbers.len(), what)?;
        check(distinct == (0..u128::from(BATCHES * 2)).collect(), what)?;
        check(figures.retries > 0 && figures.recreated_consumers > 0, what)?;
        check(connection.figures().reconnects() > 0, || format!("{:?}", connection.figures()))
    })
}

pub(super) fn meets_a_full_stream() -> Outcome {
    run(async {
        let server = start(NatsServerOptions::default()).await?;
        let small = StreamPlan { events_max_bytes: 16 << 10, ..plan() };
        let connection = connect(&config(server.url()), &small).await?;
        let shedding = bus(&connection, Acknowledge::Keep, WhenFull::ShedLowestFirst);
        let mut accepted = 0;
        let refusal = loop {
            let next = batch(Level::Normal, accepted * 10..accepted * 10 + 10);
            match shedding.publish(next).await {
                Ok(_) => accepted += 1,
                Err(why) => break why,
            }
        };
        check(accepted > 2 && refusal == PublishError::Full, || format!("{accepted}, {refusal}"))?;
        check(shedding.stats().refused_events == [10, 0, 0], || format!("{shedding:?}"))?;
        let blocking = bus(&connection, Acknowledge::Keep, WhenFull::Block);
        let late = batch(Level::Normal, 100_000..100_010);
        let publishing = async { blocking.publish(late).await };
        tokio::pin!(publishing);
        let early = timeout(Duration::from_millis(300), &mut publishing).await;
        check(early.is_err(), || format!("a full stream took it: {early:?}"))?;
        let name = connection.subjects().stream(Stream::Events);
        let stream = connection.jetstream().get_stream(name).await;
        let stream = stream.map_err(|why| why.to_string())?;
        stream.purge().await.map_err(|why| why.to_string())?;
        publishing.await.map_err(|why| why.to_string())?;
        check(blocking.figures().refused_full > 0, || format!("{:?}", blocking.figures()))
    })
}

pub(super) fn splits() -> Outcome {
    run(async {
        let options =
            NatsServerOptions { payload_bytes_max: Some(8 << 10), ..NatsServerOptions::default() };
        let server = start(options).await?;
        let connection = connect(&config(server.url()), &plan()).await?;
        let bus = bus(&connection, Acknowledge::Keep, WhenFull::Block);
        let mut reader = subscribe(&bus).await?;
        bus.publish(batch(Level::High, 0..500)).await.map_err(|why| why.to_string())?;
        let numbers = read(&mut *reader, 500).await;
        check(numbers == (0..500).collect::<Vec<u128>>(), || format!("{numbers:?}"))?;
        let figures = bus.figures();
        check(figures.published_envelopes > 1 && figures.published_events == 500, || {
            format!("{figures:?}")
        })
    })
}

pub(super) fn gone() -> Outcome {
    run(async {
        let server = start(NatsServerOptions::default()).await?;
        let connection = connect(&config(server.url()), &plan()).await?;
        let bus = bus(&connection, Acknowledge::Keep, WhenFull::Block);
        for number in 0..3 {
            let published = bus.publish(batch(Level::Normal, number..number + 1)).await;
            published.map_err(|why| why.to_string())?;
        }
        let mut reader = subscribe(&bus).await?;
        reader.acknowledge(SHARD, Offset(3));
        check(read(&mut *reader, 3).await == [0, 1, 2], || "acknowledging removes".to_owned())?;
        let name = connection.subjects().stream(Stream::Events);
        let stream = connection.jetstream().get_stream(name).await;
        let stream = stream.map_err(|why| why.to_string())?;
        stream.purge().sequence(3).await.map_err(|why| why.to_string())?;
        for (wanted, is_gone) in [(0, true), (2, true), (3, false), (4, false)] {
            let answer = bus.subscribe(&[SHARD], Start::At(Offset(wanted))).await.err();
            let gone =
                SubscribeError::Gone { shard: SHARD, wanted: Offset(wanted), earliest: Offset(3) };
            check(answer == is_gone.then_some(gone), || format!("{wanted}: {answer:?}"))?;
        }
        Ok(())
    })
}

pub(super) fn carries_the_trace() -> Outcome {
    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    run(async {
        let server = start(NatsServerOptions::default()).await?;
        let connection = connect(&config(server.url()), &plan()).await?;
        let options = NatsBusOptions {
            traceparent: Some(Arc::new(|| Some(TRACEPARENT.to_owned()))),
            ..NatsBusOptions::default()
        };
        let bus = NatsBus::new(connection.clone(), options);
        // The same content twice is one envelope.
        for _ in 0..2 {
            let published = bus.publish(batch(Level::Critical, 0..1)).await;
            check(published == Ok(Offset(1)), || format!("{published:?}"))?;
        }
        let figures = bus.figures();
        let counted = (figures.published_envelopes, figures.repeated_envelopes);
        check(counted == (1, 1), || format!("{figures:?}"))?;
        let name = connection.subjects().stream(Stream::Events);
        let stream = connection.jetstream().get_stream(name).await;
        let message = stream.map_err(|why| why.to_string())?.get_raw_message(1).await;
        let message = message.map_err(|why| why.to_string())?;
        let header = message.headers.get("traceparent").map(|value| value.as_str().to_owned());
        check(header.as_deref() == Some(TRACEPARENT), || format!("{header:?}"))
    })
}

pub(super) fn over_three_servers() -> Outcome {
    run(async {
        let cluster = NatsCluster::start(3, NatsServerOptions::default()).await;
        let cluster = cluster.map_err(|why| why.to_string())?;
        let config = NatsConfig { urls: cluster.urls(), ..config(String::new()) };
        let config = NatsConfig { startup: Duration::from_secs(20), ..config };
        let plan = StreamPlan { replicas: 3, ..plan() };
        // Two nodes of one mesh that start together.
        let (one, other) = tokio::join!(connect(&config, &plan), connect(&config, &plan));
        let (one, other) = (one?, other?);
        let writer = bus(&one, Acknowledge::Keep, WhenFull::Block);
        let mut reader = subscribe(&bus(&other, Acknowledge::Keep, WhenFull::Block)).await?;
        for number in 0..20 {
            let published = writer.publish(batch(Level::High, number..number + 1)).await;
            published.map_err(|why| why.to_string())?;
        }
        let numbers = read(&mut *reader, 20).await;
        check(numbers == (0..20).collect::<Vec<u128>>(), || format!("{numbers:?}"))
    })
}

pub(super) fn high_stream() -> Outcome {
    run(async {
        let server = start(NatsServerOptions::default()).await?;
        let connection = connect(&config(server.url()), &plan()).await?;
        let bus = bus(&connection, Acknowledge::Keep, WhenFull::Block);
        for (number, level) in
            (0..).zip([Level::Normal, Level::High, Level::Normal, Level::Critical])
        {
            let published = bus.publish(batch(level, number..number + 1)).await;
            published.map_err(|why| why.to_string())?;
        }
        let name = connection.subjects().stream(Stream::High);
        let stream = connection.jetstream().get_stream(name).await;
        let stream = stream.map_err(|why| why.to_string())?;
        // A source is drawn from in the background.
        let mut messages = 0;
        for _ in 0..100 {
            let info = stream.get_info().await.map_err(|why| why.to_string())?;
            messages = info.state.messages;
            if messages >= 2 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        check(messages == 2, || format!("{messages} messages"))?;
        for (sequence, level) in [(1, "high"), (2, "critical")] {
            let message = stream.get_raw_message(sequence).await;
            let subject = message.map_err(|why| why.to_string())?.subject;
            check(*subject == *format!("tapio.events.1.otlp.{level}.0"), || subject.to_string())?;
        }
        Ok(())
    })
}
