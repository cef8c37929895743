//! The agent's task: applies what the configuration says, and ends in order.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::join_all;
use tapio_bus::{Batch, Bus, BusStats, Offset, PublishError, Start, SubscribeError, Subscription};
use tapio_collect::{Pump, Pumped};
use tapio_config::Live;
use tapio_model::ShardId;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{AgentParts, Board, CollectorSpec, MakeOutput, SetLogLevel, supervisor::Supervisor};
use crate::{AgentConfig, SwitchBus};

/// The pause before an output that could not be made is made again, at first and at last.
const OUTPUT_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

pub(super) struct Body {
    config: Live<AgentConfig>,
    specs: Vec<Arc<CollectorSpec>>,
    outputs: MakeOutput,
    log_level: SetLogLevel,
    bus: Arc<SwitchBus>,
    pump: Pump,
    board: Arc<Board>,
    running: BTreeMap<&'static str, Supervisor>,
}

/// An output that is to be made again.
struct Retry {
    at: Instant,
    pause: Duration,
}

impl Body {
    pub(super) fn new(
        parts: AgentParts,
        bus: Arc<SwitchBus>,
        pump: Pump,
        board: Arc<Board>,
    ) -> Self {
        let AgentParts { config, collectors, outputs, log_level, .. } = parts;
        let specs: Vec<_> = collectors.into_iter().map(Arc::new).collect();
        // Whoever asks before the task's first turn finds every collector, off.
        let mut known = board.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        for spec in &specs {
            known.entry(spec.name).or_default();
        }
        drop(known);
        Self { config, specs, outputs, log_level, bus, pump, board, running: BTreeMap::new() }
    }

    /// Runs until told to stop; returns what the pump published.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<Option<Duration>>) -> Pumped {
        let mut now = self.config.current();
        for index in 0..self.specs.len() {
            self.start_collector(index);
        }
        let mut retry = Some(Retry { at: Instant::now(), pause: OUTPUT_PAUSE.0 });
        loop {
            let due = retry.as_ref().map(|retry| retry.at);
            tokio::select! {
                biased;
                within = stopped(&mut stop) => return self.end(within).await,
                next = changed(&mut self.config) => {
                    if now.output != next.output {
                        retry = Some(Retry { at: Instant::now(), pause: OUTPUT_PAUSE.0 });
                    }
                    self.apply(&now, &next).await;
                    now = next;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let making = (self.outputs)(Arc::clone(&now));
                    // A change or the end does not wait for a server that does not answer.
                    tokio::select! {
                        made = making => {
                            retry = self.connect(&now, made, retry.as_ref()).await;
                        }
                        () = restless(&mut self.config, &mut stop) => {}
                    }
                }
            }
        }
    }

    /// Switches to an output that was made, or says why it was not and when it is tried again.
    async fn connect(
        &self,
        config: &AgentConfig,
        made: Result<Arc<dyn Bus>, super::OutputError>,
        retry: Option<&Retry>,
    ) -> Option<Retry> {
        let problem = made.as_ref().err().map(ToString::to_string);
        *self.board.output_problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        let before = match made {
            Ok(bus) => self.bus.switch(config.output.mode.name(), bus),
            Err(why) => {
                let output = self.bus.figures().output;
                warn!(%why, "the output cannot be made: `{output}` stays");
                let pause = retry.map_or(OUTPUT_PAUSE.0, |retry| retry.pause);
                let next = pause.saturating_mul(2).min(OUTPUT_PAUSE.1);
                return Some(Retry { at: Instant::now() + pause, pause: next });
            }
        };
        before.close().await;
        None
    }

    /// Applies what differs between two configurations, but for the output.
    async fn apply(&mut self, now: &AgentConfig, next: &AgentConfig) {
        if now.log_level != next.log_level {
            (self.log_level)(&next.log_level);
        }
        for index in 0..self.specs.len() {
            let Some(spec) = self.specs.get(index).map(Arc::clone) else { continue };
            if (spec.differs)(now, next) {
                info!(collector = spec.name, "its configuration changed: it is made again");
                if let Some(running) = self.running.remove(spec.name) {
                    running.stop().await;
                }
                self.start_collector(index);
            }
        }
    }

    fn start_collector(&mut self, index: usize) {
        let Some(spec) = self.specs.get(index).map(Arc::clone) else { return };
        let watched = {
            let mut board = self.board.collectors.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(board.entry(spec.name).or_default())
        };
        let outlet = self.pump.outlet(Arc::clone(&watched.account));
        let name = spec.name;
        let supervisor = Supervisor::start(spec, self.config.clone(), outlet, watched);
        self.running.insert(name, supervisor);
    }

    /// Stops everything, from the source to the output.
    async fn end(mut self, within: Duration) -> Pumped {
        let until = Instant::now() + within;
        join_all(std::mem::take(&mut self.running).into_values().map(Supervisor::stop)).await;
        let meter = self.pump.meter();
        let mut draining = Box::pin(self.pump.drain());
        if timeout(until - Instant::now(), &mut draining).await.is_err() {
            warn!("neither output nor spool takes what the pump holds: it is lost, and counted");
            self.bus.close().await;
            // The bus being closed, the pump ends at once.
            draining.await;
        }
        self.bus.drained(until - Instant::now()).await;
        self.bus.close().await;
        meter()
    }
}

async fn stopped(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(within) => within.unwrap_or_default(),
        // The handle is gone, and with it whoever would wait.
        Err(_) => Duration::ZERO,
    }
}

async fn changed(config: &mut Live<AgentConfig>) -> Arc<AgentConfig> {
    match config.changed().await {
        Some(next) => next,
        None => std::future::pending().await,
    }
}

/// Waits until there is something else to do, without taking it.
async fn restless(config: &mut Live<AgentConfig>, stop: &mut watch::Receiver<Option<Duration>>) {
    tokio::select! {
        () = config.waiting() => {}
        _ = stopped(stop) => {}
    }
}

/// The output before there is one: takes nothing.
#[derive(Debug)]
pub(super) struct NoOutput;

#[async_trait]
impl Bus for NoOutput {
    async fn publish(&self, _batch: Batch) -> Result<Offset, PublishError> {
        Err(PublishError::Closed)
    }

    async fn subscribe(
        &self,
        shards: &[ShardId],
        _start: Start,
    ) -> Result<Box<dyn Subscription>, SubscribeError> {
        Err(SubscribeError::UnknownShard(shards.first().copied().unwrap_or(ShardId::new(0))))
    }

    async fn close(&self) {}

    fn stats(&self) -> BusStats {
        BusStats::default()
    }
}
