use std::time::Duration;

use tapio_model::{StoryId, Timestamp};
use tapio_shard::{Content, NodeId, ShardCount};

use super::*;
use crate::{
    draft::chunk_name,
    fixture::{Middle, Swap, at},
};

const SHARD: ShardId = ShardId::new(0);

fn node(name: &str) -> NodeId {
    NodeId { name: name.into(), boot: 1 }
}

/// A shard that was claimed, and whoever claimed it.
fn owned(outbox: Vec<Posted>) -> (Arc<Middle>, Committer) {
    let middle = Middle::new();
    middle.lay(Root::default());
    let root = Root { outbox, ..Root::default().claimed_by(&node("tapio-0")) };
    let revision = middle.lay(root.clone());
    let setting = Setting { shard: SHARD, shards: ShardCount::new(1), is_audited: false };
    let tools = (OwnerLimits::default(), Arc::default(), Telemetry::off());
    let fabric: SharedFabric = Arc::<Middle>::clone(&middle);
    let committer = Committer::new(fabric, setting, tools, (root, Some(revision)));
    (middle, committer)
}

fn next(committer: &Committer, outbox: Vec<Posted>) -> Draft {
    let root = Root { commit: committer.root.commit + 1, outbox, ..committer.root.clone() };
    Draft { root, chunks: Vec::new() }
}

fn posted(address: Address) -> Posted {
    Posted { commit: 2, address, content: Content::Inline(vec![1]), traceparent: None }
}

fn findings(commit: u64) -> Posted {
    posted(Address::Findings { from: SHARD, to: ShardId::new(1), commit })
}

fn telling(telling: u32) -> Posted {
    posted(Address::Telling { shard: SHARD, story: StoryId::new(at(1), [0; 10]), telling })
}

#[tokio::test(start_paused = true)]
async fn a_write_of_which_nothing_was_heard_is_looked_up() {
    let table = [
        vec![],
        vec![Swap::Unheard],
        vec![Swap::Astray],
        vec![Swap::Astray, Swap::Astray, Swap::Unheard],
    ];
    for swaps in table {
        let (middle, mut committer) = owned(Vec::new());
        let (unsure, before) = (swaps.len() as u64, middle.store().roots.len());
        middle.script().swaps = swaps.clone().into();
        middle.script().stale_reads = u32::try_from(unsure).unwrap();
        let draft = next(&committer, vec![telling(0)]);
        assert_eq!(committer.commit(draft).await, Ok(()), "{swaps:?}");
        assert_eq!(middle.store().roots.len(), before + 1, "written once: {swaps:?}");
        assert_eq!(middle.root().commit, 2);
        assert_eq!(committer.figures.unsure_commits.get(), unsure);
        assert_eq!(middle.store().arrivals, [telling(0).address]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_lost_the_shard_has_published_nothing() {
    let (middle, mut committer) = owned(Vec::new());
    let other = Box::new(committer.root.claimed_by(&node("tapio-1")));
    middle.script().swaps = [Swap::Unheard, Swap::After(other)].into();
    let draft = next(&committer, Vec::new());
    assert_eq!(committer.commit(draft).await, Ok(()), "its own write");
    let draft = next(&committer, vec![telling(0), findings(1)]);
    assert_eq!(committer.commit(draft).await, Err(Dropped::Lost));
    assert_eq!((committer.figures.lost_commits.get(), middle.store().arrivals.len()), (1, 0));
    assert_eq!(middle.root().owner, Some(node("tapio-1")));
}

#[tokio::test(start_paused = true)]
async fn a_root_of_the_same_number_by_another_is_not_ours() {
    let (middle, mut committer) = owned(Vec::new());
    let theirs = Root { commit: 2, ..committer.root.claimed_by(&node("tapio-1")) };
    middle.script().swaps = [Swap::After(Box::new(theirs))].into();
    let draft = next(&committer, vec![telling(0)]);
    assert_eq!(committer.commit(draft).await, Err(Dropped::Lost));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_writes_is_given_up_and_not_asked_for_ever() {
    let (middle, mut committer) = owned(Vec::new());
    middle.store().roots.pop();
    let draft = next(&committer, Vec::new());
    let begun = Instant::now();
    assert_eq!(committer.commit(draft).await, Err(Dropped::Lost));
    let limits = OwnerLimits::default();
    assert!(begun.elapsed() >= limits.stale_max && begun.elapsed() < 2 * limits.stale_max);
}

#[tokio::test(start_paused = true)]
async fn a_refused_root_is_dropped() {
    let (middle, mut committer) = owned(Vec::new());
    middle.script().swaps = [Swap::Refused].into();
    let draft = next(&committer, Vec::new());
    assert_eq!(committer.commit(draft).await, Err(Dropped::Refused("scripted".into())));
}

#[tokio::test(start_paused = true)]
async fn messages_to_one_shard_arrive_in_their_order_whatever_is_repeated() {
    let (middle, mut committer) = owned(Vec::new());
    middle.script().unheard_deliveries = 3;
    let numbers = 1..40;
    let outbox: Vec<_> = numbers
        .clone()
        .flat_map(|it| [findings(it), telling(u32::try_from(it).unwrap())])
        .collect();
    let draft = next(&committer, outbox);
    assert_eq!(committer.commit(draft).await, Ok(()));
    let arrivals = middle.store().arrivals.clone();
    let mut arrived: Vec<_> = arrivals
        .iter()
        .filter_map(|it| match it {
            Address::Findings { commit, .. } => Some(*commit),
            Address::Telling { .. } | Address::DeadLetter { .. } | Address::Audit { .. } => None,
        })
        .collect();
    assert!(arrived.is_sorted(), "{arrived:?}");
    arrived.dedup();
    assert_eq!(arrived, numbers.collect::<Vec<_>>());
    assert_eq!(committer.figures.delivered.get() + committer.figures.were_there.get(), 78);
}

#[tokio::test(start_paused = true)]
async fn what_the_last_owner_decided_is_delivered_before_anything_else() {
    let (middle, mut committer) = owned(vec![findings(1), telling(0)]);
    committer.deliver().await.unwrap();
    assert_eq!(middle.store().arrivals.len(), 2);
    let draft = next(&committer, vec![findings(2)]);
    committer.commit(draft).await.unwrap();
    assert_eq!(middle.root().outbox, [findings(2)], "the next write clears what was delivered");
}

#[tokio::test(start_paused = true)]
async fn who_woke_up_looks_before_it_delivers() {
    for (is_lost, delivered) in [(false, Ok(())), (true, Err(Dropped::Lost))] {
        let (middle, mut committer) = owned(vec![telling(0)]);
        if is_lost {
            middle.lay(committer.root.claimed_by(&node("tapio-1")));
        }
        sleep(OwnerLimits::default().belief * 2).await;
        assert_eq!(committer.deliver().await, delivered);
        assert_eq!(middle.store().arrivals.len(), usize::from(!is_lost));
        assert_eq!(committer.root.outbox.len(), usize::from(is_lost), "nothing is forgotten");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parcel_that_nobody_takes_does_not_hold_the_shard_up_for_ever() {
    let (middle, mut committer) = owned(vec![findings(1), findings(2), telling(0)]);
    middle.script().refused = [findings(1).address].into();
    committer.deliver().await.unwrap();
    assert_eq!(committer.figures.refused_parcels.get(), 1);
    assert_eq!(middle.store().arrivals.len(), 2);
    assert_eq!(committer.root.outbox, []);
}

#[tokio::test(start_paused = true)]
async fn chunks_go_once_no_root_has_named_them_for_a_while() {
    let (middle, mut committer) = owned(Vec::new());
    let chunk = |byte: u8| (chunk_name(&[byte]), Bytes::from(vec![byte]));
    let named = |byte| Content::Chunks { names: vec![chunk(byte).0], until: Timestamp::MAX };
    let kept = |middle: &Middle| [1, 2].map(|it| middle.store().chunks.contains_key(&chunk(it).0));

    let mut first = next(&committer, vec![Posted { content: named(1), ..telling(0) }]);
    first.root.pieces.insert(tapio_shard::PieceKey::Resolved, named(2));
    first.chunks = vec![chunk(1), chunk(2)];
    committer.commit(first).await.unwrap();
    let grace = OwnerLimits::default().chunk_grace;
    sleep(grace * 2).await;
    committer.sweep().await;
    assert_eq!(kept(&middle), [true, true], "the root names them, what is delivered too");
    let mut second = next(&committer, Vec::new());
    second.root.pieces.clear();
    committer.commit(second).await.unwrap();
    sleep(grace - Duration::from_secs(1)).await;
    committer.sweep().await;
    assert_eq!(kept(&middle), [true, true], "somebody may read by an older root");
    sleep(Duration::from_secs(2)).await;
    committer.sweep().await;
    assert_eq!(kept(&middle), [false, false]);
}
