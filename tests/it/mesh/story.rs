//! One story: from every side that can be asked, and in the figures.

use std::collections::BTreeSet;

use serde_json::Value;
use tapio_telemetry::Metric;

use super::{
    demo::{Demo, EVENTS, FLAGS},
    world::{Metrics, Outcome, World, check, said, until},
};

pub(super) async fn one_story() -> Outcome {
    let world = World::start(&["tapio-0", "tapio-1", "tapio-2"], &FLAGS).await?;
    let demo = Demo::tell(&world)?;
    Demo::publish(&world, "4000", &[])?;
    live_trace(&world).await?;
    let story = demo.told_by(&world).await?;
    asked_in_words(&world, &demo, &story)?;
    asked_plainly(&world, &story).await?;
    for node in &world.nodes {
        demo.kept_by(node, &world, &story).await?;
    }
    figures(&world).await
}

/// A trace of the incident lives, and is shown as it is.
async fn live_trace(world: &World) -> Outcome {
    let answer = until(async || {
        let (_, open) = world.query(&["list"])?;
        let trace = open["results"][0]["story"]["trace_ids"][0].as_str();
        let trace = trace.ok_or_else(|| format!("no story: {open}"))?;
        let (code, answer) = world.query(&["trace", trace])?;
        check(code == 0, || format!("{code}, {answer}"))?;
        Ok(answer)
    })
    .await?;
    let trace = &answer["results"][0]["trace"];
    check(
        trace["events_total"].as_u64() > Some(0) && trace["events"][0]["kind"].is_string(),
        || answer.to_string(),
    )
}

/// `tapio query`, from any machine.
fn asked_in_words(world: &World, demo: &Demo, story: &Value) -> Outcome {
    let id = story["id"].as_str().unwrap_or_default();
    let asked: [&[&str]; 4] = [
        &["story", id],
        &["entity", "service", "shop", "payments"],
        &["entity", "workload", "shop", "Deployment", "payments"],
        &["list", "--limit", "1"],
    ];
    for words in asked {
        let (code, answer) = world.query(words)?;
        let found = answer["results"].as_array().into_iter().flatten();
        let mut stories = found.filter(|it| it["story"].is_object());
        let is_told = stories.any(|it| it["story"]["id"] == id && demo.is_told_by(&it["story"]));
        check(code == 0 && answer["complete"] == true && is_told, || {
            format!("{words:?}: {code}, {answer}")
        })?;
    }
    let trace = story["trace_ids"][0].as_str().unwrap_or_default();
    let (code, answer) = world.query(&["owner", trace])?;
    let owner = answer["results"][0]["owner"]["owner"].as_str();
    let is_known = owner.is_some_and(|owner| owner.starts_with("tapio-"));
    check(code == 0 && is_known, || answer.to_string())
}

/// Any NATS client, with what `nats request` can send.
async fn asked_plainly(world: &World, story: &Value) -> Outcome {
    let client = async_nats::connect(world.server.url()).await.map_err(said)?;
    let request = format!(r#"{{"op":"query","story":{},"deadline_ms":2000}}"#, story["id"]);
    let reply = client.request("correlation.request", request.into()).await.map_err(said)?;
    let answer: Value = serde_json::from_slice(&reply.payload).map_err(said)?;
    let answered = answer["shards"]["answered"].as_array().map(Vec::len);
    let is_so = answer["complete"] == true
        && answered == Some(16)
        && answer["results"][0]["story"]["summary"] == story["summary"];
    check(is_so, || answer.to_string())
}

/// What happened shows in the figures of the nodes, and nothing shows that no node can know.
async fn figures(world: &World) -> Outcome {
    until(async || {
        let mut all = Vec::new();
        for node in &world.nodes {
            all.push(node.metrics().await?);
        }
        all.iter().try_for_each(complete)?;
        let sum = |series: &str| all.iter().map(|it| it.count(series)).sum::<u64>();
        let outcomes = ["story", "open", "expired", "duplicate", "late", "dead_letter", "shed"];
        let outcomes = outcomes.map(|it| sum(&format!("tapio_outcome_events{{outcome=\"{it}\"}}")));
        let findings = |fate: &str| sum(&format!("tapio_findings_total{{fate=\"{fate}\"}}"));
        let commits = sum("tapio_commits_total{result=\"ok\"}");
        let queries = sum("tapio_requests_total{op=\"query\",result=\"complete\"}");
        let table = [
            ("received", sum("tapio_received_events_total") == EVENTS),
            ("in their accounts", outcomes.iter().sum::<u64>() == EVENTS && outcomes[0] > 0),
            ("owned", sum("tapio_owned_shards") == 16 && sum("tapio_claims_total") >= 16),
            ("open", sum("tapio_open_incidents") == 1),
            ("told", sum("tapio_told_stories_total") > 0),
            ("handed over", findings("sent") > 0 && findings("sent") == findings("received")),
            ("committed", commits > 0 && sum("tapio_commit_duration_seconds_count") == commits),
            ("taken in", sum("tapio_publish_to_actor_seconds_count") > 0),
            ("asked", queries >= 6 && sum("tapio_shard_requests_total{op=\"query\"}") > 0),
            ("timed", sum("tapio_request_duration_seconds_count{op=\"query\"}") >= queries),
            ("as expected", sum("tapio_differing_parcels_total") == 0),
            ("read again", sum("tapio_replay_mismatches_total") == 0),
            ("taken over", sum("tapio_takeovers_total") == 0),
            ("given up", sum("tapio_dead_letters_total") == 0),
        ];
        let wrong: Vec<_> =
            table.iter().filter(|(_, is_so)| !is_so).map(|(what, _)| what).collect();
        check(wrong.is_empty(), || format!("{wrong:?}: {all:?}"))
    })
    .await
}

/// A node shows every metric but those of who collects and publishes.
fn complete(page: &Metrics) -> Outcome {
    let not_here = [
        Metric::CollectedEvents,
        Metric::LostEvents,
        Metric::RefusedEvents,
        Metric::PublishDuration,
        // No agent hands anything over here, and nobody receives spans.
        Metric::DirectEnvelopes,
        Metric::DirectStreams,
        Metric::Spans,
    ];
    let bare = |series: &String| series.split('{').next().unwrap_or_default().to_owned();
    let shown: BTreeSet<_> = page.0.keys().map(bare).collect();
    for metric in Metric::ALL {
        let is_shown = shown.iter().any(|name| name.starts_with(metric.name()));
        // A node that nobody has asked yet shows no times of answers.
        let may_be_silent = [Metric::RequestDuration, Metric::ShardRequests].contains(metric);
        let is_right = is_shown != not_here.contains(metric) || may_be_silent;
        check(is_right, || format!("{}: {shown:?}", metric.name()))?;
    }
    Ok(())
}
