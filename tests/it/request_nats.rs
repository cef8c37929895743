//! Is `correlation.request` answered over a real NATS, to any client, whatever a node does?
#![expect(
    clippy::indexing_slicing,
    reason = "JSON that lacks what is asked for gives null, and the test fails"
)]

mod world;

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Message};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tapio_bus::{Serve, Served};
use tapio_chaos::real::NatsBinary;
use tapio_model::{Op, RefusalReason, Request, ShardId};
use tapio_nats::{Connection, NatsConfig, REQUESTS_MAX, RequestService, Requester, RequesterError};
use tapio_tests::Need;
use tokio::{
    runtime::Builder,
    time::{Instant, timeout},
};

use crate::Case;

use self::world::{Node, World, check, said};

/// No test here takes a tenth of it; a hang shall not be waited for.
const TEST_MAX: Duration = Duration::from_secs(60);
/// What a busy machine may take beyond a deadline to send most of its answers.
const SLACK: Duration = Duration::from_millis(400);

/// A deadline that no machine misses: who waits for it has waited for nothing.
const NEVER: Duration = Duration::from_secs(5);

pub(crate) fn cases() -> Vec<Case> {
    let need = NatsBinary::find_or_install().map(drop);
    let need = need.map_err(|need| Need::NotInstalled(need.to_string()));
    let case = |name, test| Case::with_need(name, need.clone(), test);
    vec![
        case("request_nats::any_client_asks_in_json", || run(json())),
        case("request_nats::garbage_gets_a_code_and_a_cure", || run(garbage())),
        case("request_nats::the_service_can_be_discovered", || run(discovery())),
        case("request_nats::shards_without_owner_are_named_in_time", || run(dropped())),
        case("request_nats::a_silent_node_is_named_at_the_deadline", || run(silent())),
        case("request_nats::a_moved_shard_is_found", || run(moved())),
        case("request_nats::a_node_that_is_full_says_busy", || run(busy())),
        case("request_nats::without_a_mesh_there_is_no_wait", || run(no_mesh())),
    ]
}

fn run(test: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        timeout(TEST_MAX, test).await.unwrap_or_else(|_| Err("it hangs".to_owned()))
    })
}

/// Asks as `nats request` does: one message, one reply, nothing of ours in between.
async fn ask(client: &Client, request: &'static str) -> Result<(Value, Message), String> {
    let message = client.request("correlation.request", request.into()).await.map_err(said)?;
    let value = serde_json::from_slice(&message.payload).map_err(said)?;
    Ok((value, message))
}

async fn json() -> Result<(), String> {
    let world = World::start().await?;
    let stranger = world.stranger().await?;
    let (answer, _) =
        ask(&stranger, r#"{"op":"query","list":{"limit":10},"deadline_ms":5000}"#).await?;
    let covered = json!({ "answered": [0, 1, 2, 3], "stale": [], "missing": [] });
    check(answer["complete"] == true && answer["shards"] == covered, &answer)?;
    let shards = answer["results"].as_array().map(Vec::len);
    check(shards == Some(4) && answer["results"][0]["incident"]["id"].is_string(), &answer)?;
    check(answer["coordinator"] == "a" || answer["coordinator"] == "b", &answer)?;

    let (answer, _) = ask(&stranger, r#"{"op":"who_owns","shard":3}"#).await?;
    check(answer["results"] == json!([{"owner":{"shard":3,"owner":"b","epoch":1}}]), &answer)
}

async fn garbage() -> Result<(), String> {
    let world = World::start().await?;
    let stranger = world.stranger().await?;
    for (request, code, status) in [
        ("{", "malformed", "400"),
        (r#"{"op":"conquer"}"#, "unknown_op", "400"),
        (r#"{"version":9,"op":"query","list":{}}"#, "unknown_version", "400"),
        (r#"{"op":"who_owns","shard":99}"#, "not_found", "404"),
    ] {
        let (answer, message) = ask(&stranger, request).await?;
        let cure = answer["error"]["cure"].as_str().unwrap_or_default();
        check(answer["error"]["code"] == code && !cure.is_empty(), &answer)?;
        let header = |name| message.headers.as_ref()?.get(name).map(|value| value.as_str());
        check(header("Nats-Service-Error") == Some(code), "the header lacks the error")?;
        check(header("Nats-Service-Error-Code") == Some(status), "the header lacks the code")?;
    }
    let refused: u64 =
        world.nodes.iter().flat_map(|it| it.desk.figures().refused).map(|it| it.1).sum();
    check(refused == 4, format!("{refused} counted"))
}

async fn discovery() -> Result<(), String> {
    let world = World::start().await?;
    let stranger = world.stranger().await?;
    ask(&stranger, r#"{"op":"query","list":{}}"#).await?;
    for verb in ["PING", "INFO", "STATS"] {
        let inbox = stranger.new_inbox();
        let mut replies = stranger.subscribe(inbox.clone()).await.map_err(said)?;
        let subject = format!("$SRV.{verb}.tapio-correlation");
        stranger.publish_with_reply(subject, inbox, "".into()).await.map_err(said)?;
        let (mut nodes, mut requests) = (Vec::new(), 0);
        for _ in &world.nodes {
            let reply = timeout(Duration::from_secs(5), replies.next()).await.map_err(said)?;
            let reply = reply.ok_or("the inbox ended")?;
            let reply: Value = serde_json::from_slice(&reply.payload).map_err(said)?;
            check(reply["name"] == "tapio-correlation", &reply)?;
            nodes.push(reply["metadata"]["node"].as_str().unwrap_or_default().to_owned());
            if verb != "PING" {
                check(reply["endpoints"][0]["subject"] == "correlation.request", &reply)?;
                requests += reply["endpoints"][0]["num_requests"].as_u64().unwrap_or_default();
            }
        }
        nodes.sort();
        check(verb == "STATS" || nodes == ["a", "b"], format!("{verb}: {nodes:?}"))?;
        check(verb != "STATS" || requests == 1, format!("{requests} requests"))?;
    }
    Ok(())
}

async fn dropped() -> Result<(), String> {
    let world = World::start().await?;
    let [_, Node { service, .. }] = &world.nodes;
    for shard in [1, 3].map(ShardId::new) {
        service.disown(shard).await;
    }
    let stranger = world.stranger().await?;
    // Both nodes coordinate in turn; only what b is asked by b itself is still answered by it.
    let mut partial = 0;
    for _ in 0..40 {
        let request = r#"{"op":"query","list":{},"deadline_ms":5000}"#;
        let (answer, _) = ask(&stranger, request).await?;
        if answer["coordinator"] == "a" {
            check(answer["complete"] == false, &answer)?;
            let covered = json!({ "answered": [0, 2], "stale": [1], "missing": [3] });
            check(answer["shards"] == covered, &answer)?;
            // The server says at once that nobody listens: that is no reason to wait.
            let took_ms = answer["took_ms"].as_f64().unwrap_or(f64::MAX);
            check(took_ms < NEVER.as_secs_f64() * 500.0, &answer)?;
            partial += 1;
        }
    }
    check(partial > 0, "node a never coordinated")
}

async fn silent() -> Result<(), String> {
    let world = World::start().await?;
    let [_, b] = &world.nodes;
    b.pause();
    let requester = Requester::new(&world.connection().await?);
    let deadline = Duration::from_millis(60);
    let mut in_time = Vec::new();
    for _ in 0..20 {
        let request = Request { deadline: Some(deadline), ..Request::new(Op::List { limit: 9 }) };
        let begun = Instant::now();
        let answer = requester.request(&request).await.map_err(said)?;
        let took = begun.elapsed();
        // Who is asked again has a little less time, for the way back.
        let waited = deadline - deadline / 10..deadline + SLACK;
        check(took >= waited.start && !answer.is_complete(), format!("{took:?}: {answer:?}"))?;
        // What a machine that stands still makes late is missing as well; never is it answered.
        let (stale, missing) = (&answer.shards.stale, &answer.shards.missing);
        let silent = [1, 3].map(ShardId::new);
        let is_named = |shard| stale.contains(shard) || missing.contains(shard);
        check(silent.iter().all(is_named), format!("{answer:?}"))?;
        let is_right = *stale == silent[..1] && *missing == silent[1..];
        in_time.push(waited.contains(&took) && is_right);
    }
    let most = in_time.iter().filter(|it| **it).count() > in_time.len() / 2;
    check(most, format!("{in_time:?}"))
}

async fn moved() -> Result<(), String> {
    let world = World::start().await?;
    let [a, b] = &world.nodes;
    let shard = ShardId::new(1);
    a.service.own(shard).await.map_err(said)?;
    world.owns(shard, "a", 2);
    b.service.disown(shard).await;
    let requester = Requester::new(&world.connection().await?);
    let request = Request { deadline: Some(NEVER), ..Request::new(Op::List { limit: 9 }) };
    for _ in 0..20 {
        let answer = requester.request(&request).await.map_err(said)?;
        check(answer.is_complete(), format!("{answer:?}"))?;
    }
    Ok(())
}

/// Never answers.
#[derive(Debug)]
struct Stuck;

#[async_trait]
impl Serve for Stuck {
    async fn coordinate(&self, _: Bytes) -> Served {
        std::future::pending().await
    }
    async fn answer(&self, _: ShardId, _: Bytes) -> Served {
        std::future::pending().await
    }
}

async fn busy() -> Result<(), String> {
    let server = world::server().await?;
    let connection = Connection::open(&NatsConfig::to(server.url())).await.map_err(said)?;
    let service = RequestService::start(&connection, &"stuck".into(), Arc::new(Stuck)).await;
    let service = service.map_err(said)?;
    let stranger = async_nats::connect(server.url()).await.map_err(said)?;
    for _ in 0..REQUESTS_MAX {
        let (subject, reply) = ("correlation.request", stranger.new_inbox());
        stranger.publish_with_reply(subject, reply, "{}".into()).await.map_err(said)?;
    }
    let (answer, _) = ask(&stranger, "{}").await?;
    check(answer["error"]["code"] == RefusalReason::Busy.code(), &answer)?;
    check(service.figures().busy == 1, format!("{:?}", service.figures()))
}

async fn no_mesh() -> Result<(), String> {
    let server = world::server().await?;
    let connection = Connection::open(&NatsConfig::to(server.url())).await.map_err(said)?;
    let begun = Instant::now();
    let request = Request { deadline: Some(NEVER), ..Request::new(Op::List { limit: 9 }) };
    let answer = Requester::new(&connection).request(&request).await;
    check(matches!(answer, Err(RequesterError::NoMesh)), format!("{answer:?}"))?;
    check(begun.elapsed() < NEVER / 2, format!("{:?}", begun.elapsed()))
}
