//! Shards of a node among several: where they run, who may read them, and how they end.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::{self, ThreadId},
};

use tapio_actors::{ActorBrain, MeshActors, Unread};
use tapio_engine::{IncidentsRestored, Limits, Output, Rules, Shard};
use tapio_model::{Entity, Findings, Sent, ShardId};
use tapio_owner::{Brain, BrainGone, IncidentShard, Related};
use tokio::{sync::oneshot, task::yield_now};

use crate::support::{Sketch, Toy, at, breaking, event, millis, rules, secs, trace_id};

fn pod(number: u8) -> Entity {
    Entity::Pod { uid: format!("p{number}").into() }
}

/// Has a brain take over an empty shard.
async fn open(brain: &mut ActorBrain, shard: ShardId, rules: &Arc<Rules>) -> Result<(), BrainGone> {
    let none = IncidentsRestored::default();
    let incidents = IncidentShard::restore(shard, Arc::clone(rules), none);
    brain.adopt(Shard::follow(Arc::clone(rules)), incidents).await
}

/// Breaks a toy, and has the shard's incidents hear of it.
async fn find(brain: &mut ActorBrain, shard: ShardId, trace: u8) -> Result<usize, BrainGone> {
    let events = breaking(trace, secs(0)).map(|sketch| event(&sketch)).to_vec();
    brain.take_in(u64::from(trace), at(secs(0)), events).await?;
    brain.advance(at(secs(2))).await?;
    let outputs = brain.cut(at(secs(0))).await?.traces.outputs;
    let sent = outputs.into_iter().filter_map(|output| match output {
        Output::Found(found) => {
            Some(Sent::Found { finding: Box::new(found.finding), events: found.events })
        }
        Output::Retracted(..) | Output::Dead { .. } => None,
    });
    let findings = Findings { from: shard, commit: 1, now: at(secs(1)), sent: sent.collect() };
    let found = findings.sent.len();
    brain.hear(findings, at(secs(1))).await?;
    Ok(found)
}

async fn start(arbiters: usize, toy: &Arc<Toy>) -> Option<(MeshActors, Arc<Rules>)> {
    let rules = rules(toy, Limits::default());
    Some((MeshActors::start(arbiters, Arc::clone(&rules)).await.ok()?, rules))
}

#[tokio::test]
async fn a_shard_runs_on_the_thread_it_is_pinned_to() {
    let (mesh, _) = start(2, &Arc::default()).await.expect("threads");
    let mut threads: Vec<ThreadId> = Vec::new();
    for shard in 0..4 {
        let running = mesh.run_on(ShardId::new(shard), |_| async { thread::current().id() });
        threads.push(running.await.expect("a thread"));
    }
    assert_eq!((threads[0], threads[1]), (threads[2], threads[3]));
    assert_ne!(threads[0], threads[1]);
    assert!(!threads.contains(&thread::current().id()));
}

#[tokio::test]
async fn a_running_shard_is_read_from_elsewhere_until_it_stops() {
    let (mesh, rules) = start(2, &Arc::default()).await.expect("threads");
    let shard = ShardId::new(3);
    let (ready, found) = oneshot::channel();
    let for_shard = Arc::clone(&rules);
    let running = mesh.run_on(shard, move |mut brain| async move {
        open(&mut brain, shard, &for_shard).await?;
        let found = find(&mut brain, shard, 7).await?;
        ready.send(found).unwrap_or_default();
        std::future::pending::<Result<(), BrainGone>>().await
    });
    assert_eq!(found.await, Ok(1));
    let reader = mesh.reader(shard).expect("a shard");
    assert_eq!(mesh.readers().len(), 1);
    assert!(mesh.reader(ShardId::new(2)).is_none(), "nobody thinks for it here");
    let trace = reader.trace(trace_id(7)).await.expect("an answer").expect("a trace");
    assert_eq!((trace.upto, trace.events.len()), (7, 2));
    assert_eq!(reader.trace(trace_id(8)).await, Ok(None));
    let traces = reader.traces_of(pod(7), 10).await.expect("an answer");
    assert_eq!((traces.traces, traces.is_truncated), (vec![trace_id(7)], false));
    assert!(reader.traces_of(pod(8), 10).await.expect("an answer").traces.is_empty());
    assert!(reader.traces_of(pod(7), 0).await.expect("an answer").is_truncated);
    assert_eq!(reader.stats().await.map(|stats| stats.ledger.story), Ok(2));
    let incidents = reader.incidents().await.expect("an answer");
    assert_eq!(reader.incidents_of(vec![pod(8), pod(7)]).await.as_ref(), Ok(&incidents));
    assert_eq!(reader.incidents_of(vec![pod(8)]).await, Ok(Vec::new()));
    let [incident] = &incidents[..] else { panic!("one incident") };
    assert!(!incident.is_told, "other shards were not asked yet");
    let index = mesh.open_incidents();
    let related = index.related(&[pod(8), pod(7)], Some(at(secs(1))));
    let [known] = &related[..] else { panic!("found before it is told: {related:?}") };
    assert_eq!((known.shard, known.incident.id), (shard, incident.id));
    assert_eq!(known.incident.touches, [pod(7)], "of those asked for");
    assert_eq!(index.related(&[pod(7)], Some(at(secs(1_000)))), [], "long after");
    assert_eq!(running.stop().await, None);
    while reader.is_open() {
        yield_now().await;
    }
    assert_eq!(reader.trace(trace_id(7)).await, Err(Unread::Gone));
    assert!(mesh.reader(shard).is_none());
    while !index.is_empty() {
        yield_now().await;
    }
    assert_eq!(index.related(&[pod(7)], None), []);
    assert!(mesh.shutdown(secs(10)).await);
    assert_eq!(Arc::strong_count(&rules), 1, "nothing is left behind");
}

#[tokio::test]
async fn a_shard_that_is_claimed_again_keeps_its_incidents_when_its_past_ends() {
    let (mesh, rules) = start(1, &Arc::default()).await.expect("threads");
    let shard = ShardId::new(0);
    let mut lives = Vec::new();
    for _ in 0..2 {
        let (ready, found) = oneshot::channel();
        let for_shard = Arc::clone(&rules);
        lives.push(mesh.run_on(shard, move |mut brain| async move {
            open(&mut brain, shard, &for_shard).await?;
            let found = find(&mut brain, shard, 7).await?;
            ready.send(found).unwrap_or_default();
            std::future::pending::<Result<(), BrainGone>>().await
        }));
        assert_eq!(found.await, Ok(1));
    }
    let index = mesh.open_incidents();
    assert_eq!(index.len(), 1, "the same incident, read again");
    lives.remove(0).stop().await;
    let reader = mesh.reader(shard).expect("the second life");
    reader.stats().await.expect("behind the end of the first life");
    assert_eq!(index.related(&[pod(7)], None).len(), 1);
}

#[tokio::test]
async fn what_a_commit_would_publish_is_news() {
    let (mesh, rules) = start(1, &Arc::default()).await.expect("threads");
    let shard = ShardId::new(0);
    let running = mesh.run_on(shard, move |mut brain| async move {
        open(&mut brain, shard, &rules).await?;
        let mut news = vec![brain.has_news().await?];
        let events = breaking(1, secs(0)).map(|sketch| event(&sketch)).to_vec();
        brain.take_in(1, at(secs(0)), events).await?;
        news.push(brain.has_news().await?);
        assert!(!brain.advance(at(millis(100))).await?, "nothing is due");
        assert!(brain.advance(at(secs(1))).await?);
        news.push(brain.has_news().await?);
        brain.cut(at(secs(0))).await?;
        news.push(brain.has_news().await?);
        assert_eq!(find(&mut brain, shard, 2).await?, 1);
        let questions = brain.take_questions().await?;
        let story = questions.first().ok_or(BrainGone)?.story;
        brain
            .answer(story, Related { is_complete: true, ..Related::default() }, at(secs(1)))
            .await?;
        news.push(brain.has_news().await?);
        let cut = brain.cut(at(secs(0))).await?;
        news.push(brain.has_news().await?);
        Ok::<_, BrainGone>((news, cut.incidents.tellings.len()))
    });
    let (news, tellings) = running.await.expect("a result").expect("a brain");
    assert_eq!(news, [false, false, true, false, true, false]);
    assert_eq!(tellings, 1);
}

#[tokio::test]
async fn an_entry_of_many_events_for_one_trace_is_not_shed() {
    let limits = Limits { mailbox_events_max: 4, ..Limits::default() };
    let rules = rules(&Arc::default(), limits);
    let mesh = MeshActors::start(1, Arc::clone(&rules)).await.expect("threads");
    let running = mesh.run_on(ShardId::new(0), move |mut brain| async move {
        open(&mut brain, ShardId::new(0), &rules).await?;
        let beats = (0..100).map(|number| event(&Sketch { number, ..Sketch::default() }));
        brain.take_in(1, at(secs(0)), beats.collect()).await?;
        Ok::<_, BrainGone>(brain.cut(at(secs(0))).await?.traces.ledger)
    });
    let ledger = running.await.expect("a result").expect("a brain");
    assert_eq!((ledger.open, ledger.shed_total()), (100, 0));
}

#[tokio::test]
async fn a_brain_without_a_shard_says_so() {
    let (mesh, _) = start(1, &Arc::default()).await.expect("threads");
    let running = mesh.run_on(ShardId::new(0), |mut brain| async move {
        let reader = brain.reader();
        let refused = [
            brain.take_in(1, at(secs(0)), Vec::new()).await,
            brain.advance(at(secs(0))).await.map(drop),
            brain.cut(at(secs(0))).await.map(drop),
            brain.take_questions().await.map(drop),
        ];
        (refused, reader.incidents().await)
    });
    let (refused, read) = running.await.expect("a result");
    assert_eq!((refused, read), ([Err(BrainGone); 4], Err(Unread::Gone)));
}

#[tokio::test]
async fn an_owner_that_panics_takes_nobody_along() {
    crate::support::hush();
    let (mesh, _) = start(1, &Arc::default()).await.expect("threads");
    let panicking = mesh.run_on(ShardId::new(0), |_| async { panic!("told to panic") });
    let (): () = match panicking.await {
        Ok(never) => never,
        Err(stopped) => assert_eq!(stopped.to_string(), "stopped without a result"),
    };
    let after = mesh.run_on(ShardId::new(0), |_| async { 1 });
    assert_eq!(after.await, Ok(1));
}

#[tokio::test]
async fn a_shutdown_waits_for_its_time_and_no_longer() {
    let toy = Arc::new(Toy::default());
    let (mesh, rules) = start(1, &toy).await.expect("threads");
    toy.holds.store(true, Ordering::SeqCst);
    let running = mesh.run_on(ShardId::new(0), move |mut brain| async move {
        open(&mut brain, ShardId::new(0), &rules).await?;
        find(&mut brain, ShardId::new(0), 1).await
    });
    while !toy.is_holding.load(Ordering::SeqCst) {
        yield_now().await;
    }
    assert!(!mesh.shutdown(millis(20)).await, "a pattern does not return");
    toy.holds.store(false, Ordering::SeqCst);
    running.await.unwrap_or(Err(BrainGone)).unwrap_or_default();
    while Arc::strong_count(&toy) > 1 {
        yield_now().await;
    }
}
