//! Tellings: all of them, in order, whatever happens.

use tapio_bus::{Offset, Start};
use tapio_model::ShardId;
use tapio_nats::TellingFeed;

use super::world::{TRACEPARENT, World, check, said, story_id, telling};

const SHARD: ShardId = ShardId::new(3);
const OTHER: ShardId = ShardId::new(11);

pub(super) async fn story() -> Result<(), String> {
    let world = Box::pin(World::start()).await?;
    let (story, other) = (story_id(1), story_id(2));
    check(world.archive.story(story).await == Ok(Vec::new()), "a story nobody told")?;
    // It changes hands after its second telling.
    for (shard, id, n) in
        [(SHARD, story, 0), (OTHER, other, 0), (SHARD, story, 1), (OTHER, story, 2)]
    {
        world.tell(shard, &telling(id, n)).await?;
    }
    world.scribble(world.connection.subjects().telling(SHARD, story, 3)).await?;
    let told = world.archive.story(story).await.map_err(said)?;
    let is: Vec<_> =
        told.iter().map(|it| (it.sequence, it.shard, it.telling.story.telling)).collect();
    check(is == [(1, SHARD, 0), (3, SHARD, 1), (4, OTHER, 2)], format!("{is:?}"))?;
    let first = told.first().ok_or("nothing was told")?;
    let is_same =
        first.telling == telling(story, 0) && first.traceparent.as_deref() == Some(TRACEPARENT);
    check(is_same, format!("{first:?}"))
}

pub(super) async fn starts() -> Result<(), String> {
    let world = Box::pin(World::start()).await?;
    for n in 0..3 {
        world.tell(SHARD, &telling(story_id(1), n)).await?;
    }
    world.scribble(world.connection.subjects().telling(SHARD, story_id(1), 9)).await?;
    let archive = &world.archive;
    let mut all = archive.tellings(Start::Earliest).await.map_err(said)?;
    let mut some = archive.tellings(Start::At(Offset(3))).await.map_err(said)?;
    let mut new = archive.tellings(Start::New).await.map_err(said)?;
    check(new.read() == 4 && all.read() == 0 && all.first_kept() == 1, format!("{new:?}"))?;
    world.tell(OTHER, &telling(story_id(2), 0)).await?;
    for (feed, first) in [(&mut all, 1), (&mut some, 3), (&mut new, 5)] {
        for sequence in (first..=5).filter(|sequence| *sequence != 4) {
            let entry = feed.next().await.map_err(said)?;
            let shard = if sequence == 5 { OTHER } else { SHARD };
            check((entry.sequence, entry.shard) == (sequence, shard), format!("{entry:?}"))?;
        }
        let garbage = u64::from(first < 5);
        check((feed.read(), feed.unreadable()) == (5, garbage), format!("{feed:?}"))?;
    }
    Ok(())
}

pub(super) async fn over_restart() -> Result<(), String> {
    let mut world = Box::pin(World::start()).await?;
    let mut feed = world.archive.tellings(Start::Earliest).await.map_err(said)?;
    for round in 0..3 {
        let first = round * 50;
        for n in first..first + 50 {
            world.tell(SHARD, &telling(story_id(1), n)).await?;
        }
        // Half of them are read after the server has gone and come.
        read(&mut feed, first, first + 25).await?;
        world.server.kill().await.map_err(said)?;
        world.server.restart().await.map_err(said)?;
        read(&mut feed, first + 25, first + 50).await?;
    }
    check(feed.unreadable() == 0, format!("{feed:?}"))
}

/// Reads tellings `from` to before `until`: none is skipped, none repeated.
async fn read(feed: &mut TellingFeed, from: u32, until: u32) -> Result<(), String> {
    for n in from..until {
        let entry = feed.next().await.map_err(said)?;
        let is_next = entry.telling.story.telling == n && entry.sequence == u64::from(n) + 1;
        check(
            is_next,
            format!("{} {} instead of {n}", entry.sequence, entry.telling.story.telling),
        )?;
    }
    Ok(())
}
