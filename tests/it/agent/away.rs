//! A server that is away for a while.

use std::time::Duration;

use tapio_tests::say;
use tokio::time::sleep;

use super::{
    feed::{Feed, compare},
    world::{Mesh, Outcome, check, said, until},
};

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(10);

/// Events a second: a minute of them is a fifth of the spool.
const RATE: u64 = 2_000;

pub(super) async fn bridged() -> Outcome {
    let mut mesh = Mesh::start().await?;
    let feed = Feed::start(&mesh, RATE)?;
    let look = || feed.agent.status().switch;
    until(async || {
        let published = look().published_events;
        check(published >= RATE / 2, || format!("{published} are published"))
    })
    .await?;
    mesh.server.kill().await.map_err(said)?;
    let before = feed.ledger.count();
    // An absence is a time, and no event ends it.
    sleep(AWAY).await;
    let fed = feed.ledger.count() - before;
    let spooled = until(async || {
        let spooled = look().spooled_events;
        check(spooled > 0, || "nothing is spooled".to_owned())?;
        Ok(spooled)
    });
    let spooled = spooled.await?;
    mesh.server.restart().await.map_err(said)?;
    let drained = until(async || {
        let now = look();
        let held: u64 = now.spool.held_events.iter().sum();
        check(now.is_available && held == 0, || format!("{held} are held"))?;
        Ok(now.drained_events)
    });
    let drained = drained.await?;
    let (status, count) = feed.finish().await?;
    let dropped: u64 = status.switch.spool.dropped_events.iter().sum();
    check(dropped == 0 && drained >= spooled, || format!("{:?}", status.switch))?;
    let repeats = compare(&mesh, count).await?;
    let known = mesh.accounts(count).await?;
    say(&format!(
        "agent: NATS away for {AWAY:?}: {count} events, {fed} of them meanwhile, {spooled} \
         spooled by then, {drained} drained, 0 lost, {repeats} repeats that dedupe removed; the \
         node counts {count} once and {known} as seen before"
    ));
    Ok(())
}
