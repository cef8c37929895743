use serde_json::json;
use tapio_bus::{Batch, MemoryBus, MemoryBusLimits};
use tapio_engine::Limits;
use tapio_model::{Clock, Event};
use tapio_patterns::{fixture, patterns};
use tokio::time::timeout;

use super::*;
use crate::{Client, Streamed};

/// An out-of-memory kill, as the kernel, the control group and the container's status tell it.
const OOM: &str = "
    0s    shop/db-1/db@n1%db OomKill constraint=memcg pid=4242 proc=postgres init=true
    100ms shop/db-1/db@n1%db OomKillCounted count=1
    300ms shop/db-1/db@n1%db ContainerTerminated reason=OOMKilled exit=137";
const SHARDS: ShardCount = ShardCount::new(4);
/// Longer than any of this takes; a test that waits so long has failed.
const SOON: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Standing(Timestamp);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn parts(bus: &Arc<dyn Bus>, time: TimeSource, store: &Arc<StoryStore>) -> NodeParts {
    NodeParts {
        rules: Arc::new(Rules::new(&patterns(), Limits::default())),
        shards: SHARDS,
        arbiters: 2,
        bus: Arc::clone(bus),
        time,
        store: Arc::clone(store),
    }
}

fn memory_bus() -> Arc<dyn Bus> {
    Arc::new(MemoryBus::new(MemoryBusLimits { shards: SHARDS, ..MemoryBusLimits::default() }))
}

async fn publish(bus: &dyn Bus, events: Vec<Event>) {
    for event in events {
        let shard = SHARDS.shard_of(event.trace.trace_id);
        let (level, time) = (event.level(), event.time);
        let batch = Batch { shard, level, time, events: vec![Arc::new(event)] };
        bus.publish(batch).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oom_kill_becomes_one_story_with_its_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("tapio.sock");
    let (bus, store) = (memory_bus(), Arc::new(StoryStore::in_memory().unwrap()));
    let clock = TimeSource::Clock(Arc::new(Standing(Timestamp::from_secs(1))));
    let mut node = Node::start(parts(&bus, clock, &store)).await.unwrap();
    node.serve(&socket, Arc::new(|| json!([]))).await.unwrap();
    let client = Client::connect(&socket).await.unwrap();
    let (mut heard, mut streamed) = (node.subscribe(), client.stream().await.unwrap());
    assert_eq!(client.status().await.unwrap()["is_current"], true);

    let events = fixture::events(OOM).unwrap();
    let count = events.len() as u64;
    publish(&*bus, events).await;
    let stats = timeout(SOON, node.shutdown()).await.unwrap();
    assert_eq!((stats.ledger.received, stats.ledger.balances()), (count, true), "{stats:?}");

    let stories = store.stories(10).unwrap();
    let [story] = stories.as_slice() else { panic!("{stories:?}") };
    assert_eq!(story.pattern, "container_oom");
    let evidence = store.events_of(story).unwrap();
    assert!(!evidence.is_empty());
    assert_eq!(evidence.len(), story.event_ids.len());
    assert_eq!(stats.ledger.story, evidence.len() as u64);

    // Who listened heard the same, to the end.
    let mut last = None;
    while let Ok(telling) = heard.recv().await {
        last = Some(telling);
    }
    assert_eq!(last.as_deref(), Some(story));
    let Some(Streamed::Story(line)) = streamed.next().await.unwrap() else { panic!("no line") };
    assert_eq!(line["id"], story.id.to_string());
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_is_told_without_a_clock() {
    let (bus, store) = (memory_bus(), Arc::new(StoryStore::in_memory().unwrap()));
    let node = Node::start(parts(&bus, TimeSource::Batches, &store)).await.unwrap();
    let mut heard = node.subscribe();
    publish(&*bus, fixture::events(OOM).unwrap()).await;
    let told = async {
        loop {
            // A batch may still be under way: its time, then, has yet to pass.
            node.advance(Timestamp::from_secs(1)).await;
            if let Ok(story) = heard.try_recv() {
                return story;
            }
            tokio::task::yield_now().await;
        }
    };
    let story = timeout(SOON, told).await.unwrap();
    assert_eq!(story.pattern, "container_oom");
    timeout(SOON, node.shutdown()).await.unwrap();
    assert_eq!(store.stories(10).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_with_other_shards_is_refused() {
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusLimits {
        shards: ShardCount::new(1),
        ..MemoryBusLimits::default()
    }));
    let store = Arc::new(StoryStore::in_memory().unwrap());
    let error = Node::start(parts(&bus, TimeSource::Batches, &store)).await.unwrap_err();
    assert!(error.to_string().contains("there is no shard"), "{error}");
}
