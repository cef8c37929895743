//! The promises, one function each.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use futures::{future::join, poll};
use tapio_model::{Level, ShardId};
use tokio::time::timeout;

use super::{
    FIRST, Kept, PATIENCE, SECOND, SHARDS, batch, expect, never, next, publish, same, settle,
    subscribe,
};
use crate::{Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError};

/// Returns three batches of one, two and three events.
fn three(shard: ShardId) -> [Batch; 3] {
    [(0..1), (1..3), (3..6)].map(|numbers| batch(shard, Level::Normal, numbers))
}

async fn publish_all(bus: &dyn Bus, batches: &[Batch]) -> Kept<Vec<Offset>> {
    let mut offsets = Vec::new();
    for batch in batches {
        offsets.push(publish(bus, batch).await?);
    }
    Ok(offsets)
}

pub(super) async fn order(bus: Arc<dyn Bus>) -> Kept {
    let mut published: BTreeMap<ShardId, Vec<(Offset, Batch)>> = BTreeMap::new();
    for number in 0..100 {
        let shard = if number % 3 == 0 { FIRST } else { SECOND };
        let level = if number % 7 == 0 { Level::Critical } else { Level::Normal };
        let batch = batch(shard, level, number..number + 1 + number % 4);
        let offset = publish(&*bus, &batch).await?;
        published.entry(shard).or_default().push((offset, batch));
    }
    let mut reader = subscribe(&*bus, &[FIRST, SECOND], Start::Earliest).await?;
    let mut read: BTreeMap<ShardId, Vec<(Offset, Batch)>> = BTreeMap::new();
    for _ in 0..100 {
        let delivery = next(&mut *reader).await?;
        let batch = Batch::clone(&delivery.batch);
        read.entry(batch.shard).or_default().push((delivery.offset, batch));
    }
    for batches in read.values() {
        let grows = batches.is_sorted_by(|(one, _), (other, _)| one < other);
        same("offsets grow", &grows, &true)?;
    }
    same("what was read", &read, &published)
}

pub(super) async fn only_subscribed(bus: Arc<dyn Bus>) -> Kept {
    let mut reader = subscribe(&*bus, &[SECOND], Start::Earliest).await?;
    publish_all(&*bus, &three(FIRST)).await?;
    publish_all(&*bus, &three(SECOND)).await?;
    expect(&mut *reader, &three(SECOND)).await?;
    never("a batch came of nowhere", reader.next()).await
}

pub(super) async fn replay_from_offset(bus: Arc<dyn Bus>) -> Kept {
    let batches = three(FIRST);
    let published = publish_all(&*bus, &batches).await?;
    for (at, offset) in published.iter().enumerate() {
        let mut reader = subscribe(&*bus, &[FIRST], Start::At(*offset)).await?;
        let read = expect(&mut *reader, batches.get(at..).unwrap_or_default()).await?;
        same("the first offset read", &read.first(), &Some(offset))?;
    }
    Ok(())
}

pub(super) async fn replay_all(bus: Arc<dyn Bus>) -> Kept {
    publish_all(&*bus, &three(FIRST)).await?;
    for _ in 0..2 {
        let mut reader = subscribe(&*bus, &[FIRST], Start::Earliest).await?;
        expect(&mut *reader, &three(FIRST)).await?;
        never("a batch came of nowhere", reader.next()).await?;
    }
    Ok(())
}

pub(super) async fn gone(bus: Arc<dyn Bus>) -> Kept {
    let batches = three(FIRST);
    publish_all(&*bus, &batches).await?;
    let mut reader = subscribe(&*bus, &[FIRST], Start::Earliest).await?;
    let offsets = expect(&mut *reader, &batches).await?;
    let [first, second, third] = offsets[..] else {
        return Err(format!("three batches, and these offsets: {offsets:?}"));
    };
    reader.acknowledge(FIRST, second);
    settle(&*bus, "three events acknowledged and three held", |stats| {
        (stats.acknowledged_events, stats.held_events) == (3, 3)
    })
    .await?;
    match bus.subscribe(&[FIRST], Start::At(first)).await {
        Err(SubscribeError::Gone { shard, wanted, earliest }) => {
            same("what is gone", &(shard, wanted), &(FIRST, first))?;
            same("what there is is later", &(earliest > second && earliest <= third), &true)?;
        }
        Err(why @ (SubscribeError::UnknownShard(_) | SubscribeError::WriteOnly)) => {
            return Err(format!("refused: {why}"));
        }
        Ok(_) => return Err("what was acknowledged is offered again".to_owned()),
    }
    for start in [Start::Earliest, Start::At(third)] {
        let mut reader = subscribe(&*bus, &[FIRST], start).await?;
        expect(&mut *reader, batches.get(2..).unwrap_or_default()).await?;
    }
    Ok(())
}

pub(super) async fn new_only(bus: Arc<dyn Bus>) -> Kept {
    let [old, new, _] = three(FIRST);
    publish(&*bus, &old).await?;
    let mut reader = subscribe(&*bus, &[FIRST], Start::New).await?;
    publish(&*bus, &new).await?;
    expect(&mut *reader, &[new]).await?;
    never("a batch came of nowhere", reader.next()).await
}

pub(super) async fn dropped_next(bus: Arc<dyn Bus>) -> Kept {
    let mut reader = subscribe(&*bus, &[FIRST, SECOND], Start::Earliest).await?;
    never("a batch came of nowhere", reader.next()).await?;
    for batch in three(FIRST) {
        {
            // Dropped after it was woken and before it could look.
            let mut waiting = pin!(reader.next());
            same("a batch before any was published", &poll!(&mut waiting).is_pending(), &true)?;
            publish(&*bus, &batch).await?;
        }
        expect(&mut *reader, &[batch]).await?;
    }
    let [last, ..] = three(SECOND);
    let (read, published) = join(next(&mut *reader), publish(&*bus, &last)).await;
    published?;
    same("what a waiting reader is woken for", &*read?.batch, &last)
}

pub(super) async fn nonsense(bus: Arc<dyn Bus>) -> Kept {
    let unknown = ShardId::new(SHARDS.get());
    let table = [
        (batch(FIRST, Level::Critical, 0..0), PublishError::Empty),
        (batch(FIRST, Level::Critical, 0..5), PublishError::TooLarge { events: 5, events_max: 4 }),
        (batch(unknown, Level::Critical, 0..1), PublishError::UnknownShard(unknown)),
    ];
    for (batch, why) in table {
        let answer = timeout(PATIENCE, bus.publish(batch)).await;
        let answer = answer.map_err(|_elapsed| format!("no answer instead of: {why}"))?;
        same("the answer", &answer, &Err(why))?;
    }
    let refusal = bus.subscribe(&[FIRST, unknown], Start::Earliest).await.err();
    same("the refusal", &refusal, &Some(SubscribeError::UnknownShard(unknown)))?;
    same("the figures", &bus.stats(), &BusStats::default())
}

pub(super) async fn frees_room(bus: Arc<dyn Bus>) -> Kept {
    let [one, two, three] = [0..2, 2..4, 4..6].map(|events| batch(FIRST, Level::Normal, events));
    publish_all(&*bus, &[one, two.clone()]).await?;
    let mut blocked = pin!(publish(&*bus, &three));
    never("a full bus took a batch", &mut blocked).await?;
    publish(&*bus, &batch(SECOND, Level::Normal, 0..4)).await?;
    let mut reader = subscribe(&*bus, &[FIRST], Start::Earliest).await?;
    let first = next(&mut *reader).await?;
    never("reading alone made room", &mut blocked).await?;
    reader.acknowledge(FIRST, first.offset);
    blocked.await?;
    expect(&mut *reader, &[two, three.clone()]).await.map(drop)
}

pub(super) async fn dropped_publish(bus: Arc<dyn Bus>) -> Kept {
    let [full, dropped, last] = [0..4, 4..7, 7..8].map(|n| batch(FIRST, Level::Normal, n));
    publish(&*bus, &full).await?;
    never("a full bus took a batch", publish(&*bus, &dropped)).await?;
    let mut reader = subscribe(&*bus, &[FIRST], Start::Earliest).await?;
    let first = next(&mut *reader).await?;
    reader.acknowledge(FIRST, first.offset);
    publish(&*bus, &last).await?;
    let second = next(&mut *reader).await?;
    if *second.batch == dropped {
        expect(&mut *reader, &[last]).await?;
    } else {
        same("what follows a dropped publish", &*second.batch, &last)?;
    }
    never("a batch came of nowhere", reader.next()).await
}

pub(super) async fn refusals(bus: Arc<dyn Bus>) -> Kept {
    publish(&*bus, &batch(FIRST, Level::Critical, 0..4)).await?;
    for (level, events) in [(Level::Normal, 1), (Level::High, 2), (Level::Critical, 3)] {
        let answer = bus.publish(batch(FIRST, level, 9..9 + events)).await;
        same("the answer", &answer, &Err(PublishError::Full))?;
    }
    settle(&*bus, "1, 2 and 3 events refused, and none evicted", |stats| {
        let figures = (stats.refused_events, stats.held_events, stats.evicted_events);
        figures == ([1, 2, 3], 4, 0)
    })
    .await
}

pub(super) async fn displaces(bus: Arc<dyn Bus>) -> Kept {
    publish_all(&*bus, &[0..2, 2..4].map(|n| batch(FIRST, Level::Normal, n))).await?;
    let critical = batch(FIRST, Level::Critical, 4..6);
    publish(&*bus, &critical).await?;
    let answer = bus.publish(batch(FIRST, Level::Normal, 6..9)).await;
    same("the answer to normal events", &answer, &Err(PublishError::Full))?;
    settle(&*bus, "2 events evicted and 4 held", |stats| {
        (stats.evicted_events, stats.held_events) == (2, 4)
    })
    .await?;
    let mut reader = subscribe(&*bus, &[FIRST], Start::Earliest).await?;
    let read = [next(&mut *reader).await?.batch, next(&mut *reader).await?.batch];
    same("the critical batch is read", &read.iter().any(|batch| **batch == critical), &true)
}

pub(super) async fn accounts(bus: Arc<dyn Bus>) -> Kept {
    let mut reader = subscribe(&*bus, &[FIRST, SECOND], Start::Earliest).await?;
    let (mut offered, mut accepted) = (0, 0);
    for number in 0..60 {
        let shard = if number % 2 == 0 { FIRST } else { SECOND };
        let level = if number % 5 == 0 { Level::High } else { Level::Normal };
        let events = 1 + number % 3;
        offered += events;
        match bus.publish(batch(shard, level, number * 3..number * 3 + events)).await {
            Ok(_) => accepted += events,
            Err(PublishError::Full) => {}
            Err(why) => return Err(format!("refused: {why}")),
        }
        if number % 4 == 3 {
            let delivery = next(&mut *reader).await?;
            if number % 8 == 7 {
                reader.acknowledge(delivery.batch.shard, delivery.offset);
            }
        }
    }
    settle(&*bus, "accepted = acknowledged + held + evicted, offered = accepted + refused", |s| {
        let kept = s.acknowledged_events + s.held_events + s.evicted_events;
        let refused = s.refused_events.iter().sum::<u64>();
        (s.accepted_events, kept, accepted + refused) == (accepted, accepted, offered)
    })
    .await?;
    // What the figures say is held can be read.
    let held = bus.stats().held_events;
    let mut again = subscribe(&*bus, &[FIRST, SECOND], Start::Earliest).await?;
    let mut read = 0;
    while read < held {
        read += u64::try_from(next(&mut *again).await?.batch.events.len()).unwrap_or_default();
    }
    same("events read again", &read, &held)?;
    never("a batch came of nowhere", again.next()).await
}

pub(super) async fn close_ends(bus: Arc<dyn Bus>) -> Kept {
    let mut early = subscribe(&*bus, &[FIRST, SECOND], Start::Earliest).await?;
    publish_all(&*bus, &three(FIRST)).await?;
    bus.close().await;
    let answer = bus.publish(batch(SECOND, Level::Critical, 0..1)).await;
    same("the answer of a closed bus", &answer, &Err(PublishError::Closed))?;
    expect(&mut *early, &three(FIRST)).await?;
    for _ in 0..2 {
        let end = timeout(PATIENCE, early.next()).await;
        same("the end", &end.map_err(|_elapsed| "never came"), &Ok(None))?;
    }
    Ok(())
}

pub(super) async fn close_wakes(bus: Arc<dyn Bus>) -> Kept {
    let full = batch(FIRST, Level::Normal, 0..4);
    publish(&*bus, &full).await?;
    let mut reader = subscribe(&*bus, &[SECOND], Start::Earliest).await?;
    {
        let mut reading = pin!(timeout(PATIENCE, reader.next()));
        let mut publishing = pin!(timeout(PATIENCE, bus.publish(full)));
        same("reading waits", &poll!(&mut reading).is_pending(), &true)?;
        same("publishing waits", &poll!(&mut publishing).is_pending(), &true)?;
        bus.close().await;
        let (read, published) = join(reading, publishing).await;
        same("reading", &read.map_err(|_elapsed| "waits on"), &Ok(None))?;
        let published = published.map_err(|_elapsed| "waits on");
        same("publishing", &published, &Ok(Err(PublishError::Closed)))
    }
}
