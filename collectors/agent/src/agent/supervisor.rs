//! One collector: started, watched, made again when it breaks, stopped.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tapio_collect::{Account, CollectorError, Outlet, Stop, Stopper, stop_signal};
use tapio_config::Live;
use tapio_telemetry::spawn_named;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::warn;

use super::{CollectorSpec, CollectorState, CollectorStatus};
use crate::AgentConfig;

/// The first pause before a broken collector is made again.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest; an absent source is looked for this often. One that ran as long is healthy again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long a collector that was told to stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What is known of a collector.
#[derive(Debug, Default)]
pub(super) struct Watched {
    state: Mutex<CollectorState>,
    restarts: AtomicU64,
    pub(super) account: Arc<Account>,
}

impl Watched {
    pub(super) fn status(&self) -> CollectorStatus {
        CollectorStatus {
            state: self.state.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            restarts: self.restarts.load(Relaxed),
            accounts: self.account.snapshot(),
        }
    }

    pub(super) fn set(&self, state: CollectorState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// A collector that is wanted.
#[derive(Debug)]
pub(super) struct Supervisor {
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl Supervisor {
    pub(super) fn start(
        spec: Arc<CollectorSpec>,
        config: Live<AgentConfig>,
        outlet: Outlet,
        watched: Arc<Watched>,
    ) -> Self {
        let (stopper, stop) = stop_signal();
        let keeping = Keeping { spec, config, outlet, watched };
        Self { stopper, task: spawn_named("collector", keeping.run(stop)) }
    }

    /// Stops the collector and waits until it is; one that does not listen is cut off.
    pub(super) async fn stop(mut self) {
        self.stopper.stop();
        if timeout(STOP_WITHIN, &mut self.task).await.is_err() {
            warn!("a collector does not stop: it is cut off");
            self.task.abort();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

struct Keeping {
    spec: Arc<CollectorSpec>,
    config: Live<AgentConfig>,
    outlet: Outlet,
    watched: Arc<Watched>,
}

/// What to do after a run.
enum Next {
    Over(CollectorState),
    Again(CollectorState),
    LookLater(CollectorState),
}

impl Keeping {
    async fn run(self, mut stop: Stop) {
        let (mut pause, mut absent) = (PAUSE_MIN, None);
        loop {
            let started = Instant::now();
            let next = self.run_once(&stop).await;
            if started.elapsed() >= PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            let wait = match next {
                Next::Over(state) => return self.watched.set(state),
                Next::Again(state) => {
                    warn!(collector = self.spec.name, ?state, ?pause, "it is made again");
                    self.watched.set(state);
                    self.watched.restarts.fetch_add(1, Relaxed);
                    pause
                }
                Next::LookLater(state) => {
                    // Normal, and said once.
                    if absent.as_ref() != Some(&state) {
                        warn!(collector = self.spec.name, ?state, "it is looked for again");
                        absent = Some(state.clone());
                    }
                    self.watched.set(state);
                    PAUSE_MAX
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.stopped() => return self.watched.set(CollectorState::Off),
            }
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    async fn run_once(&self, stop: &Stop) -> Next {
        let collector = match (self.spec.make)(&self.config.current()) {
            Ok(Some(collector)) => collector,
            Ok(None) => return Next::Over(CollectorState::Off),
            Err(why) => return after(&why),
        };
        self.watched.set(CollectorState::Running);
        // A task of its own: a panic ends the run, not the one who watches it. Cut off together.
        let run = collector.run(self.outlet.clone(), stop.clone());
        let mut task = Cut(spawn_named("collecting", run));
        match (&mut task.0).await {
            Ok(Ok(())) if stop.is_stopped() => Next::Over(CollectorState::Off),
            Ok(Ok(())) => Next::Over(CollectorState::Ended),
            Ok(Err(why)) => after(&why),
            Err(why) => Next::Again(CollectorState::Broken(why.to_string())),
        }
    }
}

/// A task that ends with whoever waits for it.
struct Cut<T>(JoinHandle<T>);

impl<T> Drop for Cut<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn after(why: &CollectorError) -> Next {
    match why {
        CollectorError::Absent { .. } => Next::LookLater(CollectorState::Absent(why.to_string())),
        CollectorError::Broken { .. } => Next::Again(CollectorState::Broken(why.to_string())),
        CollectorError::Closed => Next::Over(CollectorState::Ended),
    }
}
