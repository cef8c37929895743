//! Nodes that die, leave and come back.

use std::time::Duration;

use serde_json::Value;
use tapio_tests::say;
use tokio::time::Instant;

use super::{
    demo::{Demo, FLAGS},
    world::{Node, Outcome, World, check, said, until},
};

const SHARDS: u64 = 16;

/// Asks the mesh over and over: every answer is complete, or names what it lacks.
struct Asker(async_nats::Client);

impl Asker {
    async fn connect(world: &World) -> Outcome<Self> {
        Ok(Self(async_nats::connect(world.server.url()).await.map_err(said)?))
    }

    async fn ask(&self) -> Outcome<bool> {
        let request = r#"{"op":"query","list":{"limit":10},"deadline_ms":500}"#;
        let begun = Instant::now();
        let reply = self.0.request("correlation.request", request.into()).await.map_err(said)?;
        let took = begun.elapsed();
        let answer: Value = serde_json::from_slice(&reply.payload).map_err(said)?;
        let list = |field: &str| answer["shards"][field].as_array().cloned().unwrap_or_default();
        let lacks = [list("stale"), list("missing")].concat();
        let mut all = [list("answered"), lacks.clone()].concat();
        all.sort_by_key(Value::as_u64);
        let all_there = all == (0..SHARDS).map(Value::from).collect::<Vec<_>>();
        let is_complete = answer["complete"] == true;
        // A partial answer is one of the mesh's too, and comes when it is due.
        let is_honest = is_complete == (lacks.is_empty() && answer["omitted"] == 0);
        check(is_honest && all_there && took < Duration::from_secs(5), || {
            format!("after {took:?}: {answer}")
        })?;
        Ok(is_complete)
    }

    /// Asks until these nodes own everything between them, and returns how long that took and how
    /// many answers were complete and partial.
    async fn ask_until_owned(&self, nodes: &[&Node]) -> Outcome<(Duration, u32, u32)> {
        let begun = Instant::now();
        let (mut complete, mut partial) = (0, 0);
        until(async || {
            *(if self.ask().await? { &mut complete } else { &mut partial }) += 1;
            let mut owned = 0;
            for node in nodes {
                let (status, text) = node.get("/readyz").await?;
                check(status == 200, || text)?;
                owned += node.shards().await?;
            }
            check(owned == SHARDS, || format!("{owned} shards are owned"))
        })
        .await?;
        Ok((begun.elapsed(), complete, partial))
    }
}

pub(super) async fn kill_and_leave() -> Outcome {
    let mut world = World::start(&["tapio-0", "tapio-1", "tapio-2"], &FLAGS).await?;
    let demo = Demo::tell(&world)?;
    let asker = Asker::connect(&world).await?;
    Demo::publish(&world, "4000", &[])?;

    world.nodes[0].process.kill().await.map_err(said)?;
    let left = [&world.nodes[1], &world.nodes[2]];
    let (takeover, complete, partial) = asker.ask_until_owned(&left).await?;
    say(&format!(
        "mesh: taken over {takeover:?} after kill -9; {complete} complete and {partial} partial answers"
    ));

    let (status, drain) = world.nodes[1].leave().await?;
    let said = world.nodes[1].said();
    check(status.success(), || format!("it ended with {status}: {said}"))?;
    let (handover, complete, partial) = asker.ask_until_owned(&[&world.nodes[2]]).await?;
    say(&format!(
        "mesh: left {drain:?} after SIGTERM, all owned {handover:?} later; {complete} complete and \
         {partial} partial answers"
    ));

    let story = demo.told_by(&world).await?;
    demo.kept_by(&world.nodes[2], &world, &story).await?;
    let metrics = world.nodes[2].metrics().await?;
    let differing = metrics.count("tapio_differing_parcels_total");
    let mismatches = metrics.count("tapio_replay_mismatches_total");
    check((differing, mismatches) == (0, 0), || format!("{metrics:?}"))?;
    check(metrics.count("tapio_takeovers_total") > 0, || format!("{metrics:?}"))
}

pub(super) async fn comes_back() -> Outcome {
    let mut world = World::start(&["tapio-0", "tapio-1"], &FLAGS).await?;
    let asker = Asker::connect(&world).await?;
    let before = world.nodes[0].shards().await?;
    let killed_at = Instant::now();
    let url = world.server.url();
    world.nodes[0].restart(&url, &FLAGS).await?;
    // Its new boot says that the last one is gone: nobody waits for a silence to be long enough.
    let owned = until(async || {
        let owned = world.nodes[0].shards().await? + world.nodes[1].shards().await?;
        check(owned == SHARDS, || format!("{owned} shards are owned"))?;
        Ok(killed_at.elapsed())
    })
    .await?;
    asker.ask_until_owned(&[&world.nodes[0], &world.nodes[1]]).await?;
    // It takes its share again, and holds nothing of its own past against itself.
    let share = until(async || {
        let share = world.nodes[0].shards().await?;
        check(share > 0, || format!("it owned {before} shards, and owns none"))?;
        Ok(share)
    })
    .await?;
    let back = killed_at.elapsed();
    say(&format!(
        "mesh: killed and started again: all owned {owned:?} after the kill; {share} of its {before} \
         shards back after {back:?}"
    ));
    Ok(())
}
