//! An output that is switched again and again under load.

use tapio_tests::say;
use tokio::time::Instant;

use super::{
    feed::{Feed, compare},
    world::{Mesh, Outcome, check, until},
};

const SWITCHES: u64 = 10;

/// Events a second that are aimed at. A debug build on a slow machine takes fewer: the rate that
/// was reached is printed.
const RATE: u64 = 20_000;

/// Events that an output has acknowledged before the next takes its place.
const EVENTS_MIN: u64 = 2_000;

pub(super) async fn ten_times() -> Outcome {
    let mesh = Mesh::start().await?;
    let feed = Feed::start(&mesh, RATE)?;
    carries(&feed, "nats", 1).await?;
    let (begun, from) = (Instant::now(), feed.ledger.count());
    for turn in 1..=SWITCHES {
        let mode = if turn.is_multiple_of(2) { "nats" } else { "direct" };
        feed.point_to(&mesh, mode)?;
        // The first switch was from no output at all.
        carries(&feed, mode, turn + 1).await?;
    }
    let (took, fed) = (begun.elapsed(), feed.ledger.count() - from);
    let rate = u128::from(fed) * 1_000 / took.as_millis().max(1);
    let (status, count) = feed.finish().await?;
    let repeats = compare(&mesh, count).await?;
    say(&format!(
        "agent: {count} events, {SWITCHES} switches, 0 lost, {repeats} repeats that dedupe removed"
    ));
    let known = mesh.accounts(count).await?;
    check(known == repeats, || format!("{repeats} repeats, and the node knows {known}"))?;
    let switch = &status.switch;
    say(&format!(
        "agent: {rate} events/s of {RATE} while it was switched; {} resent, {} spooled; the node \
         counts {count} once and {known} as seen before",
        switch.resent_events, switch.spooled_events
    ));
    check(status.reloads.applied == SWITCHES, || format!("{:?}", status.reloads))
}

/// Waits until the agent is switched to an output, and that has acknowledged enough.
async fn carries(feed: &Feed, mode: &str, switches: u64) -> Outcome {
    let look = || feed.agent.status().switch;
    let since = until(async || {
        let now = look();
        check(now.output == mode && now.switches == switches, || {
            format!("{mode}: {} of {switches} switches", now.switches)
        })?;
        Ok(now.published_events)
    });
    let since = since.await?;
    until(async || {
        let published = look().published_events - since;
        check(published >= EVENTS_MIN, || format!("{mode}: {published} are acknowledged"))
    })
    .await
}
