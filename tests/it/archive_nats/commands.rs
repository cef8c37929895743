//! The commands, as people run them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tapio_bus::{Bus as _, Start, Subscription};
use tapio_model::{Clock as _, DeadLetter, DeadReason, Event, EventId, ShardId};
use tapio_nats::{NatsBus, NatsBusOptions};
use tapio_telemetry::SystemClock;
use tapio_tests::root;
use tempfile::TempDir;

use super::world::{SHARDS, World, batch, check, event, letter, poison, said, shard_of};

/// What a command printed, and its exit code.
struct Ran {
    code: i32,
    lines: Vec<Value>,
    errors: String,
}

/// Runs the binary against the world's server, for programs.
async fn tapio(world: &World, arguments: &[&str]) -> Result<Ran, String> {
    let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    all.extend(["-o", "json", "--nats"].map(str::to_owned));
    all.push(world.server.url());
    let run = tokio::task::spawn_blocking(move || {
        let home = TempDir::new().map_err(said)?;
        tapio_tests::run(&home, &all.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let output = run.await.map_err(said)??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    Ok(Ran {
        code: output.status.code().ok_or("it was killed")?,
        lines: lines.map_err(|error| format!("{error}: {text}"))?,
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Returns what became of each letter.
fn fates(ran: &Ran) -> Vec<&str> {
    ran.lines.iter().map(|line| tapio_tests::text(line, "what")).collect()
}

/// Reads everything that is published from now on.
async fn listen(world: &World) -> Result<Box<dyn Subscription>, String> {
    let bus = NatsBus::new(world.connection.clone(), NatsBusOptions::default());
    let shards: Vec<_> = SHARDS.shards().collect();
    bus.subscribe(&shards, Start::Earliest).await.map_err(said)
}

/// Waits for so many events, and returns them with the shard they came in.
async fn hear(
    subscription: &mut dyn Subscription,
    count: usize,
) -> Result<Vec<(ShardId, Event)>, String> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let delivery = subscription.next().await.ok_or("the bus is closed")?;
        let shard = delivery.batch.shard;
        heard.extend(delivery.batch.events.iter().map(|event| (shard, (**event).clone())));
    }
    Ok(heard)
}

pub(super) async fn lists_and_shows() -> Result<(), String> {
    let world = Box::pin(World::start()).await?;
    world.post(&poison(10, 1), 0).await?;
    let unreadable = DeadLetter { original: vec![9, 1], ..letter(11, DeadReason::BadBatch, 2) };
    world.post(&unreadable, 0).await?;

    let list = tapio(&world, &["dlq", "list"]).await?;
    let sequences: Vec<_> = list.lines.iter().filter_map(|line| line.get("sequence")).collect();
    check(list.code == 0 && sequences == [&json!(2), &json!(1)], format!("{:?}", list.lines))?;
    let list = tapio(&world, &["dlq", "list", "--reason", "poison"]).await?;
    let events = list.lines.first().and_then(|line| line.get("events_readable"));
    check(list.lines.len() == 1 && events == Some(&json!(2)), format!("{:?}", list.lines))?;

    let shown = tapio(&world, &["dlq", "show", "2"]).await?;
    let page = shown.lines.first().ok_or(shown.errors)?;
    let original = page.get("original_base64");
    check(original == Some(&json!("CQE=")), format!("{page}"))?;
    let why = page.pointer("/unreadable/0/reason");
    check(why == Some(&json!("unknown_version")), format!("{page}"))?;
    let events = tapio(&world, &["dlq", "show", "1", "--events"]).await?;
    let ids: Vec<_> = events.lines.iter().filter_map(|line| line.get("id")).collect();
    check(ids == [&json!("01".repeat(16)), &json!("02".repeat(16))], format!("{ids:?}"))?;

    let gone = tapio(&world, &["dlq", "show", "99"]).await?;
    let is_told = gone.code == 69 && gone.errors.contains("there is no dead letter 99");
    check(is_told, gone.errors)
}

pub(super) async fn gives_back_once() -> Result<(), String> {
    let world = Box::pin(World::start()).await?;
    let mut log = listen(&world).await?;
    world.post(&poison(10, 1), 0).await?;
    let crash =
        DeadLetter { original: batch(2, vec![event(7, 2)]), ..letter(11, DeadReason::Crash, 2) };
    world.post(&crash, 0).await?;
    let dry = tapio(&world, &["dlq", "replay", "--all", "--dry-run"]).await?;
    check(fates(&dry) == ["would_be_given_back"; 2], format!("{:?}", dry.lines))?;
    let one = tapio(&world, &["dlq", "replay", "1"]).await?;
    check(fates(&one) == ["given_back"], format!("{:?}", one.lines))?;
    // What a dry run had published would come first.
    let heard = hear(log.as_mut(), 2).await?;
    let expected = [event(1, 1), event(2, 1)].map(|event| (shard_of(1), (*event).clone()));
    check(heard == expected, format!("{heard:?}"))?;
    let all = tapio(&world, &["dlq", "replay", "--all"]).await?;
    check(
        all.code == 0 && fates(&all) == ["already_there", "given_back"],
        format!("{:?}", all.lines),
    )?;
    let heard = hear(log.as_mut(), 1).await?;
    check(heard == [(shard_of(2), (*event(7, 2)).clone())], format!("{heard:?}"))?;
    check(world.archive.dead_letter_count().await == Ok(2), "a letter is gone")
}

pub(super) async fn refuses() -> Result<(), String> {
    let world = Box::pin(World::start()).await?;
    let mut log = listen(&world).await?;
    let unreadable = DeadLetter { original: vec![9], ..letter(11, DeadReason::BadBatch, 2) };
    world.post(&unreadable, 0).await?;
    world.post(&poison(12, 1), 0).await?;
    let all = tapio(&world, &["dlq", "replay", "--all"]).await?;
    check(fates(&all) == ["refused", "given_back"], format!("{:?}", all.lines))?;
    let is_told = all.code == 64 && all.errors.contains("1 of 2 dead letters cannot");
    check(is_told, all.errors)?;
    // One bad letter does not keep the others back.
    hear(log.as_mut(), 2).await?;
    let wrong = tapio(&world, &["dlq", "replay", "2", "--shards", "1"]).await?;
    let is_explained = wrong.lines.iter().any(|line| line.to_string().contains("set --shards"));
    let has_moved = shard_of(1) != ShardId::new(0);
    let is_right = has_moved && wrong.code == 64 && is_explained;
    check(is_right, format!("{:?} {}", wrong.lines, wrong.errors))
}

pub(super) async fn publishes() -> Result<(), String> {
    let world = Box::pin(World::bare()).await?;
    let recording = root().join("mesh/cli/src/cmd/demo/checkout.jsonl");
    let ran = tapio(&world, &["publish", &recording.to_string_lossy()]).await?;
    let account = ran.lines.first().and_then(|line| line.get("published")).ok_or(ran.errors)?;
    let figure = |name: &str| account.get(name).and_then(Value::as_u64);
    let published = figure("published").ok_or("no figure")?;
    let is_whole = figure("rows") == Some(published) && figure("refused") == Some(0);
    check(is_whole && published > 800, format!("{account}"))?;
    let mut log = listen(&world).await?;
    let heard = hear(log.as_mut(), usize::try_from(published).map_err(said)?).await?;
    let ids: BTreeSet<EventId> = heard.iter().map(|(_, event)| event.id).collect();
    check(ids.len() == heard.len(), "some event was published twice")?;
    let is_home =
        |(shard, event): &(ShardId, Event)| *shard == SHARDS.shard_of(event.trace.trace_id);
    check(heard.iter().all(is_home), "some event is in the wrong shard")
}

pub(super) async fn publishes_now() -> Result<(), String> {
    let world = Box::pin(World::start()).await?;
    let recording = TempDir::new().map_err(said)?;
    let recording = recording.path().join("two.jsonl");
    let lines = r#"{"time":"2020-01-01T00:00:00Z","source":"kernel","kind":"oom_kill"}
{"time":"2020-01-01T00:00:01Z","source":"kernel","kind":"oom_kill"}
"#;
    std::fs::write(&recording, lines).map_err(said)?;
    let mut log = listen(&world).await?;
    let before = SystemClock.now();
    let ran = tapio(&world, &["publish", &recording.to_string_lossy(), "--now"]).await?;
    check(ran.code == 0, ran.errors)?;
    let heard = hear(log.as_mut(), 2).await?;
    let times: Vec<_> = heard.iter().map(|(_, event)| event.time).collect();
    let [first, second] = *times.as_slice() else { return Err(format!("{times:?}")) };
    let is_now = first >= before && second <= SystemClock.now();
    check(is_now && second.since(first).as_secs() == 1, format!("{before:?} {times:?}"))
}
