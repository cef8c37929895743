//! Servers that die or leave while envelopes are on their way.

use std::{sync::Arc, time::Duration};

use futures::stream::{self, StreamExt as _};
use tapio_bus::Bus as _;
use tapio_telemetry::spawn_named;
use tokio::{runtime, time::timeout};

use super::{GateSink, batch, id, serve};
use crate::{DirectBus, DirectConfig, DirectServer, ServeConfig, Sink};

/// What must happen happens within it.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_server_killed_in_mid_stream_loses_nothing() {
    const BATCHES: u64 = 400;
    let threads = || runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (doomed, heir, client) = (threads().unwrap(), threads().unwrap(), threads().unwrap());
    // The first stops keeping anything after a while: what is under way dies with it.
    let dying = GateSink::dying_after(100);
    let first = doomed.block_on(serve(&dying, ServeConfig::default())).unwrap();
    let address = first.address();
    let bus = {
        let _inside = client.enter();
        Arc::new(DirectBus::start(DirectConfig::to([address.to_string()])).unwrap())
    };
    let publishing = client.spawn({
        let bus = Arc::clone(&bus);
        async move {
            let published = (0..BATCHES).map(|number| bus.publish(batch(number)));
            let published = stream::iter(published).buffer_unordered(32).collect::<Vec<_>>().await;
            published.into_iter().filter(Result::is_ok).count()
        }
    });
    doomed.block_on(dying.has_come(101));
    // As the kernel does it: no good-bye, and nothing is answered any more.
    doomed.shutdown_background();
    drop(first);
    let living = GateSink::new(true);
    let sink: Arc<dyn Sink> = Arc::<GateSink>::clone(&living);
    let second = heir.block_on(async {
        loop {
            let start =
                DirectServer::start(address, Arc::clone(&sink), ServeConfig::default()).await;
            match start {
                Ok(server) => break server,
                Err(_still_bound) => tokio::task::yield_now().await,
            }
        }
    });
    let accepted = client.block_on(async { timeout(PATIENCE, publishing).await }).unwrap();
    assert_eq!(accepted.unwrap(), usize::try_from(BATCHES).unwrap());
    let (before, after) = (dying.kept(), living.kept());
    let lost: Vec<_> = (0..BATCHES)
        .filter(|number| !before.contains_key(&id(*number)) && !after.contains_key(&id(*number)))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let figures = bus.figures();
    assert!(figures.sent_again > 0 && figures.connections == 2, "{figures:?}");
    // Each server has kept what it kept once: the same id again would be another's to drop.
    assert!(before.values().chain(after.values()).all(|times| *times == 1));
    client.block_on(bus.close());
    heir.block_on(second.stop());
}

#[tokio::test]
async fn a_server_that_stops_answers_what_it_has_and_the_rest_goes_elsewhere() {
    let (sink, other) = (GateSink::new(false), GateSink::new(true));
    let server = serve(&sink, ServeConfig::default()).await.unwrap();
    let second = serve(&other, ServeConfig::default()).await.unwrap();
    let addresses = [server.address().to_string(), second.address().to_string()];
    let bus = Arc::new(DirectBus::start(DirectConfig::to(addresses)).unwrap());
    let publish = |number| {
        let bus = Arc::clone(&bus);
        spawn_named("test", async move { bus.publish(batch(number)).await })
    };
    let early = publish(1);
    sink.has_come(1).await;
    let stopping = spawn_named("test", server.stop());
    // It takes nothing new from now on: what is published next waits, and is taken by the other.
    let late = publish(2);
    while bus.figures().unacknowledged < 2 {
        tokio::task::yield_now().await;
    }
    sink.open();
    for publishing in [early, late] {
        timeout(PATIENCE, publishing).await.unwrap().unwrap().unwrap();
    }
    let figures = timeout(PATIENCE, stopping).await.unwrap().unwrap();
    assert_eq!((figures.lost, figures.in_flight, figures.streams_open), (0, 0, 0), "{figures:?}");
    assert!(sink.kept().contains_key(&id(1)), "what was under way is finished");
    let kept: Vec<_> = sink.kept().into_keys().chain(other.kept().into_keys()).collect();
    assert!(kept.contains(&id(2)), "{kept:?}");
}
