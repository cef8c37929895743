//! Its own traces, figures and logs: from the publisher to the story.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tapio_tests::text;

use super::{
    demo::{Demo, EVENTS, FLAGS},
    world::{Outcome, World, check},
};
use crate::observed::Receiver;

pub(super) async fn one_trace() -> Outcome {
    let receiver = Receiver::start()?;
    let grpc = text(&receiver.endpoints, "grpc").to_owned();
    let http = text(&receiver.endpoints, "http/protobuf").to_owned();
    let observe = ["--observe", &grpc, "--observe-protocol", "grpc"];
    let flags = [&FLAGS[..], &["--mode", "debug", "--log-json"], &observe].concat();
    let mut world = World::start(&["tapio-0"], &flags).await?;
    let demo = Demo::tell(&world)?;
    Demo::publish(&world, "4000", &["--sample", "1", "--observe", &http])?;
    let story = demo.told_by(&world).await?;
    let (status, _) = world.nodes[0].leave().await?;
    let log = world.nodes[0].said();
    check(status.success(), || log.clone())?;
    let taken = receiver.end()?;
    let trace = way(&taken, &story)?;
    figures(&taken)?;
    lines(&log, &story, &trace)
}

/// Finds a telling of the story, and goes back from it to whoever published. Returns the trace.
fn way(taken: &[Value], story: &Value) -> Outcome<String> {
    let spans = taken.iter().filter(|it| it["span"].is_string());
    let spans: BTreeMap<_, _> = spans.map(|span| (text(span, "id"), span)).collect();
    let mut ways = Vec::new();
    for tell in spans.values().filter(|span| span["span"] == "tell") {
        let mut way = vec![*tell];
        while let Some(above) = way.last().and_then(|last| spans.get(text(last, "parent"))) {
            way.push(*above);
        }
        let names: Vec<_> = way.iter().map(|span| text(span, "span")).collect();
        let is_one = way.iter().all(|span| span["trace"] == tell["trace"]);
        let is_of = tell["attributes"]["tapio.story"] == story["id"];
        let last = way.last().copied().unwrap_or(&Value::Null);
        let begins = text(last, "parent").is_empty()
            && text(&last["resource"], "service.instance.id").starts_with("publish-");
        let is_whole = names == ["tell", "deliver", "process", "publish"];
        if is_one && is_of && begins && is_whole {
            let is_here =
                |span: &&&Value| text(&span["resource"], "service.instance.id") == "tapio-0";
            check(way.iter().filter(is_here).count() == 3, || format!("{way:?}"))?;
            let said = &last["attributes"];
            let events = said["messaging.batch.message_count"].as_u64();
            let is_said = events > Some(0) && said["tapio.log.sequence"].as_u64() > Some(0);
            check(is_said, || last.to_string())?;
            return Ok(text(tell, "trace").to_owned());
        }
        ways.push(names);
    }
    Err(format!("no way from publisher to story: {ways:?}"))
}

/// The figures of both leave too.
fn figures(taken: &[Value]) -> Outcome {
    let last = |instance: &str, metric: &str| {
        let of = |it: &&Value| {
            it["metric"] == metric
                && text(&it["resource"], "service.instance.id").starts_with(instance)
        };
        taken.iter().rev().find(of).map(|it| it["points"].clone()).unwrap_or_default()
    };
    let received = last("tapio-0", "tapio_received_events_total");
    let published = last("publish-", "tapio_published_events_total");
    let all = json!([{ "labels": {}, "value": EVENTS }]);
    check(received == all && published == all, || format!("{received}, {published}"))?;
    let times = last("publish-", "tapio_publish_duration_seconds");
    let commits = last("tapio-0", "tapio_commit_duration_seconds");
    let is_timed = |points: &Value| points[0]["count"].as_u64() > Some(0);
    check(is_timed(&times) && is_timed(&commits), || format!("{times}, {commits}"))
}

/// Every line of the log names the node; those of a shard name it, and the trace where it is known.
fn lines(log: &str, story: &Value, trace: &str) -> Outcome {
    let lines: Vec<Value> = log
        .lines()
        // What people are told when it begins is no line of the log.
        .filter(|line| !line.starts_with("tapio: "))
        .map(|line| serde_json::from_str(line).map_err(|why| format!("{why}: {line}")))
        .collect::<Result<_, _>>()?;
    let nameless = lines.iter().find(|line| line["node"] != "tapio-0" || !line["time"].is_string());
    check(nameless.is_none(), || format!("{nameless:?}"))?;
    let claimed = lines.iter().filter(|line| line["message"] == "claimed");
    let shards: Vec<_> = claimed.filter_map(|line| line["shard"].as_str()).collect();
    check(shards.len() == 16, || format!("claimed were {shards:?}"))?;
    let is_telling = |line: &&Value| line["message"] == "told" && line["story"] == story["id"];
    let mut tellings = lines.iter().filter(is_telling);
    let is_traced = tellings.any(|line| line["trace_id"] == trace && line["shard"].is_string());
    check(is_traced, || log.to_owned())
}
