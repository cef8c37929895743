//! What the kubelet sees of a node: while it joins, while NATS is away, and afterwards.

use serde_json::Value;

use super::{
    demo::{Demo, EVENTS, FLAGS},
    world::{Node, Outcome, World, check, lines, said, told, until},
};

pub(super) async fn outlives_nats() -> Outcome {
    let mut world = World::empty().await?;
    let demo = Demo::tell(&world)?;
    let node = Node::start("tapio-0", &world.server.url(), &FLAGS).await?;
    let (status, text) = node.get("/readyz").await?;
    check(status == 503 && text.contains("watching who else is there"), || text)?;
    let (status, text) = node.get("/readyz?verbose").await?;
    let verbose: Value = serde_json::from_str(&text).map_err(said)?;
    let is_told = verbose["ok"] == false && verbose["reasons"][0].is_string();
    check(status == 503 && is_told, || text)?;
    check(node.get("/livez").await?.0 == 200, || "it joins, and does not live".to_owned())?;
    node.says(200).await?;

    // Half of it before, half of it after: who publishes waits.
    let publishing = world.background(&[
        "publish",
        &Demo::recording(),
        "--now",
        "--rate",
        "400",
        "-o",
        "json",
    ])?;
    until(async || {
        let events = node.metrics().await?.count("tapio_received_events_total");
        check(events > EVENTS / 8, || format!("{events} events are there"))
    })
    .await?;
    world.server.kill().await.map_err(said)?;
    until(async || {
        let text = node.says(503).await?;
        check(text.contains("NATS does not answer"), || text)
    })
    .await?;
    check(node.get("/livez").await?.0 == 200, || "its NATS died, and it with it".to_owned())?;
    world.server.restart().await.map_err(said)?;
    node.says(200).await?;

    let output = publishing.await.map_err(said)?;
    let summary = lines(&output).pop().unwrap_or_default();
    let published = &summary["published"];
    let is_whole = output.status.success() && published["published"] == EVENTS;
    check(is_whole && published["retried"].as_u64() > Some(0), || told(&output))?;
    let story = demo.told_by(&world).await?;
    demo.kept_by(&node, &world, &story).await?;
    let metrics = node.metrics().await?;
    let (received, reconnects, broken) = (
        metrics.count("tapio_received_events_total"),
        metrics.count("tapio_nats_reconnects_total"),
        metrics.count("tapio_nats_errors_total{kind=\"disconnected\"}"),
    );
    let is_seen = received == EVENTS && reconnects > 0 && broken > 0;
    check(is_seen, || format!("{metrics:?}"))
}
