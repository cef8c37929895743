//! What is acknowledged when, and how much is on its way.

use std::{sync::Arc, time::Duration};

use tapio_bus::{Bus as _, PublishError, Start, SubscribeError};
use tapio_model::ShardId;
use tapio_telemetry::spawn_named;
use tokio::time::timeout;

use super::{GateSink, batch, id, serve};
use crate::{DirectBus, DirectConfig, ServeConfig};

/// What must happen happens within it.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn is_acknowledged_once_the_sink_has_it_and_not_before() {
    let sink = GateSink::new(false);
    let server = serve(&sink, ServeConfig::default()).await.unwrap();
    let bus = Arc::new(DirectBus::start(DirectConfig::to([server.address().to_string()])).unwrap());
    let publisher = Arc::clone(&bus);
    let publishing = spawn_named("test", async move { publisher.publish(batch(1)).await });
    sink.has_come(1).await;
    assert_eq!(server.figures().kept, 0);
    assert!(!publishing.is_finished(), "the sink has not answered");
    sink.open();
    let offset = timeout(PATIENCE, publishing).await.unwrap().unwrap().unwrap();
    assert_eq!((offset.0, sink.kept().len()), (1, 1));
    assert_eq!(bus.stats().accepted_events, 1);
    bus.close().await;
    assert_eq!(bus.publish(batch(2)).await, Err(PublishError::Closed));
}

#[tokio::test]
async fn never_more_is_unacknowledged_than_granted() {
    let sink = GateSink::new(false);
    let config = ServeConfig { window: 3, ..ServeConfig::default() };
    let server = serve(&sink, config).await.unwrap();
    let bus = Arc::new(DirectBus::start(DirectConfig::to([server.address().to_string()])).unwrap());
    let publishing: Vec<_> = (0..10)
        .map(|number| {
            let bus = Arc::clone(&bus);
            spawn_named("test", async move { bus.publish(batch(number)).await })
        })
        .collect();
    sink.has_come(3).await;
    // All ten are handed over, and the client holds what is not granted.
    while bus.figures().unacknowledged < 10 {
        tokio::task::yield_now().await;
    }
    assert_eq!((bus.figures().sent, server.figures().received), (3, 3));
    sink.open();
    for publishing in publishing {
        timeout(PATIENCE, publishing).await.unwrap().unwrap().unwrap();
    }
    let figures = server.figures();
    assert_eq!((figures.received, figures.kept, figures.in_flight), (10, 10, 0));
    assert!(figures.broken_streams.is_empty(), "{figures:?}");
}

#[tokio::test]
async fn no_room_is_a_reason_to_come_back() {
    let sink = GateSink::new(false);
    // Room for one envelope and not for two.
    let bytes = super::envelope(batch(1)).len();
    let config = ServeConfig {
        envelope_bytes_max: bytes + 8,
        in_flight_bytes_max: bytes + 8,
        ..ServeConfig::default()
    };
    let server = serve(&sink, config).await.unwrap();
    let bus = Arc::new(DirectBus::start(DirectConfig::to([server.address().to_string()])).unwrap());
    let publish = |number| {
        let bus = Arc::clone(&bus);
        spawn_named("test", async move { bus.publish(batch(number)).await })
    };
    let first = publish(1);
    sink.has_come(1).await;
    let second = publish(2);
    while bus.figures().busy == 0 {
        tokio::task::yield_now().await;
    }
    sink.open();
    for publishing in [first, second] {
        timeout(PATIENCE, publishing).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(sink.kept().into_keys().collect::<Vec<_>>(), [id(1), id(2)]);
    let figures = server.figures();
    assert_eq!(figures.received, figures.kept + figures.busy, "{figures:?}");
}

#[tokio::test]
async fn a_batch_beyond_an_envelope_travels_in_parts() {
    let sink = GateSink::new(true);
    let server = serve(&sink, ServeConfig::default()).await.unwrap();
    let whole = super::Batch {
        events: (0..40).flat_map(|number| batch(number).events).collect(),
        ..batch(0)
    };
    let config = DirectConfig {
        envelope_bytes_max: super::envelope(whole.clone()).len() / 3,
        ..DirectConfig::to([server.address().to_string()])
    };
    let bus = DirectBus::start(config).unwrap();
    timeout(PATIENCE, bus.publish(whole)).await.unwrap().unwrap();
    assert_eq!(sink.kept().len(), 40);
    assert_eq!((bus.figures().kept, bus.stats().accepted_events), (4, 40));
}

#[tokio::test]
async fn reading_from_it_is_refused_in_words() {
    let bus = DirectBus::start(DirectConfig::to(["127.0.0.1:1"])).unwrap();
    let refused = bus.subscribe(&[ShardId::new(0)], Start::New).await.unwrap_err();
    assert_eq!(refused, SubscribeError::WriteOnly);
    assert!(refused.to_string().contains("only takes events in"));
    // Nobody is there, and closing does not wait for anybody.
    timeout(PATIENCE, bus.close()).await.unwrap();
}
