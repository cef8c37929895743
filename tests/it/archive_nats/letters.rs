//! Dead letters: what is written is found.

use tapio_model::{DeadReason, Timestamp};
use tapio_nats::{ArchiveError, DeadLetterFilter, Stream};

use super::world::{TRACEPARENT, World, batch, check, event, letter, poison, said, shard_of};

pub(super) async fn found() -> Result<(), String> {
    let world = Box::pin(World::start()).await?;
    let archive = &world.archive;
    let none = archive.dead_letters(DeadLetterFilter::default()).await.map_err(said)?;
    check(none.entries.is_empty(), format!("letters nobody wrote: {none:?}"))?;
    let mut crash = letter(12, DeadReason::Crash, 3);
    crash.original = batch(3, vec![event(5, 3)]);
    let letters = [poison(10, 1), letter(11, DeadReason::BadBatch, 2), crash, poison(13, 3)];
    for (letter, part) in letters.iter().zip(0..) {
        world.post(letter, part).await?;
    }
    let subjects = world.connection.subjects();
    world.scribble(subjects.dead_letter(shard_of(2), 14, 0)).await?;

    let every = DeadLetterFilter::default();
    let table = [
        (every, vec![4, 3, 2, 1], 0, 1),
        (DeadLetterFilter { limit: 2, ..every }, vec![4, 3], 2, 1),
        (DeadLetterFilter { reason: Some(DeadReason::Poison), ..every }, vec![4, 1], 0, 1),
        (DeadLetterFilter { shard: Some(shard_of(3)), ..every }, vec![4, 3], 0, 0),
        (DeadLetterFilter { since: Some(Timestamp::MAX), ..every }, vec![], 0, 0),
    ];
    for (filter, sequences, omitted, unreadable) in table {
        let found = archive.dead_letters(filter).await.map_err(said)?;
        let is: Vec<u64> = found.entries.iter().map(|entry| entry.sequence).collect();
        let counts = (found.omitted, found.unreadable);
        check(
            is == sequences && counts == (omitted, unreadable),
            format!("{filter:?}: {found:?}"),
        )?;
        let all = archive.dead_letter_sequences(filter).await.map_err(said)?;
        let is_sorted = all.iter().rev().take(is.len()).eq(&is);
        check(is_sorted, format!("{filter:?}: {all:?}"))?;
    }
    for (letter, sequence) in letters.iter().zip(1..) {
        let entry = archive.dead_letter(sequence).await.map_err(said)?.ok_or("it is gone")?;
        let is_same = entry.letter == *letter
            && entry.sequence == sequence
            && entry.generation == "1"
            && entry.traceparent.as_deref() == Some(TRACEPARENT);
        check(is_same && entry.time > Timestamp::ZERO, format!("{entry:?}"))?;
    }
    let garbage = archive.dead_letter(5).await;
    let is_told = matches!(garbage, Err(ArchiveError::Unreadable { sequence: 5, .. }));
    check(is_told, format!("garbage: {garbage:?}"))?;
    check(archive.dead_letter(6).await == Ok(None), "a letter that nobody wrote")?;
    check(archive.dead_letter_count().await == Ok(5), "the count is wrong")
}

pub(super) async fn no_streams() -> Result<(), String> {
    let world = Box::pin(World::bare()).await?;
    check(world.archive.has(Stream::Events).await == Ok(false), "events that nobody wrote")?;
    let letters = world.archive.dead_letters(DeadLetterFilter::default()).await;
    let missing = ArchiveError::Missing { stream: "TAPIO_DLQ".to_owned() };
    check(letters == Err(missing), format!("{letters:?}"))
}
