//! Questions to the mesh, all the time a run lasts.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tapio_model::{Answer, Op, Request, Text, TraceId};
use tapio_nats::{Connection, Requester, RequesterError};
use tapio_shard::ShardCount;
use tapio_telemetry::spawn_named;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::RunClock;
use crate::record::{QueryAnswer, QuerySeen};

/// How often something is asked.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Asks until it is told to stop.
#[derive(Debug)]
pub(super) struct Asker {
    stop: Arc<watch::Sender<bool>>,
    task: JoinHandle<Vec<QuerySeen>>,
}

impl Asker {
    pub(super) fn start(connection: &Connection, clock: RunClock, seed: u64) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let requester = Requester::new(connection);
        let mut rng = StdRng::seed_from_u64(seed);
        let task = spawn_named("chaos ask", async move {
            let mut seen = Vec::new();
            let mut tick = interval(ASK_INTERVAL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = stopped.changed() => return seen,
                    _ = tick.tick() => {}
                }
                let (op, shards_needed) = draw(&mut rng);
                let at = clock.elapsed();
                let answer = requester.request(&Request::new(op)).await;
                let took = clock.elapsed().saturating_sub(at);
                seen.push(QuerySeen { at, took, shards_needed, answer: answer_of(answer) });
            }
        });
        Self { stop: Arc::new(stop), task }
    }

    /// Stops asking and returns what was answered.
    pub(super) async fn finish(self) -> Vec<QuerySeen> {
        self.stop.send_replace(true);
        self.task.await.unwrap_or_default()
    }
}

/// Seven of ten questions are after one trace, the others after all shards.
fn draw(rng: &mut StdRng) -> (Op, usize) {
    if rng.random_bool(0.7) {
        let trace = TraceId::from_bytes(rng.random());
        (Op::Trace(trace), 1)
    } else {
        (Op::List { limit: 20 }, usize::from(ShardCount::DEFAULT.get()))
    }
}

fn answer_of(answer: Result<Answer, RequesterError>) -> QueryAnswer {
    match answer {
        Ok(answer) => QueryAnswer::Answered {
            is_complete: answer.is_complete(),
            answered: answer.shards.answered.len(),
            stale: answer.shards.stale.len(),
            missing: answer.shards.missing.len(),
        },
        Err(RequesterError::Refused(refusal)) => QueryAnswer::Refused(refusal.reason.code().into()),
        Err(why @ RequesterError::Unreadable(_)) => {
            QueryAnswer::Refused(Text::from(why.to_string()))
        }
        Err(
            RequesterError::NoMesh | RequesterError::Timeout(_) | RequesterError::Unreachable(_),
        ) => QueryAnswer::Nothing,
    }
}
