//! What a node refuses, and that two generations do not know each other.

use super::{
    demo::{Demo, EVENTS, FLAGS},
    world::{Node, Outcome, World, check, told, until},
};

pub(super) async fn refused() -> Outcome {
    let world = World::start(&["tapio-0"], &FLAGS).await?;
    let url = world.server.url();
    let nobody = ["--nats", "nats://127.0.0.1:9", "--nats-wait", "1s"];
    type Words<'a> = &'a [&'a str];
    let table: [(Words<'_>, i32, Words<'_>); 3] = [
        (&nobody, 69, &["127.0.0.1:9", "NATS_URL"]),
        (&["--nats", &url, "--events-max-age", "2h"], 64, &["TAPIO_EVENTS_1", "--max-age=7200s"]),
        (&["--nats", &url, "--replicas", "3"], 64, &["replicas"]),
    ];
    for (flags, code, words) in table {
        let all = [&["node", "--http", "127.0.0.1:0", "--name", "tapio-9"], flags].concat();
        let output = world.elsewhere(&all)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_so = output.status.code() == Some(code) && words.iter().all(|it| said.contains(it));
        check(is_so, || format!("{flags:?}: {}", told(&output)))?;
    }
    // What was refused has changed nothing.
    world.nodes[0].says(200).await.map(drop)
}

pub(super) async fn generations() -> Outcome {
    let mut world = World::start(&["tapio-0"], &FLAGS).await?;
    let second = ["--generation", "2", "--shards", "8"];
    let flags = [&FLAGS[..], &second].concat();
    let node = Node::start("tapio-0", &world.server.url(), &flags).await?;
    node.says(200).await?;
    world.nodes.push(node);
    let owned = (world.nodes[0].shards().await?, world.nodes[1].shards().await?);
    check(owned == (16, 8), || format!("they own {owned:?}"))?;

    Demo::publish(&world, "4000", &second)?;
    until(async || {
        let events = world.nodes[1].metrics().await?.count("tapio_received_events_total");
        check(events == EVENTS, || format!("{events} events are there"))
    })
    .await?;
    let (first, second) = (world.nodes[0].metrics().await?, world.nodes[1].metrics().await?);
    check(first.count("tapio_received_events_total") == 0, || format!("{first:?}"))?;
    check(second.count("tapio_takeovers_total") == 0, || format!("{second:?}"))
}
