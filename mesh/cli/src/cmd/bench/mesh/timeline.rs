//! How the seconds of a stage went.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tapio_telemetry::spawn_named;
use tokio::{task::JoinHandle, time::interval};

use super::{resident_bytes, world::Recorder};

/// One second.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Second {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    resident_mib: u64,
}

/// Writes a line down every second until it is ended.
#[derive(Debug)]
pub(super) struct Timeline {
    seconds: Arc<Mutex<Vec<Second>>>,
    task: JoinHandle<()>,
}

impl Timeline {
    pub(super) fn begin(recorder: Arc<Recorder>) -> Self {
        let seconds: Arc<Mutex<Vec<Second>>> = Arc::default();
        let lines = Arc::clone(&seconds);
        let task = spawn_named("bench timeline", async move {
            let mut tick = interval(Duration::from_secs(1));
            tick.tick().await;
            loop {
                tick.tick().await;
                let [p50_ms, p99_ms, max_ms] = recorder.take_second();
                let resident_mib = resident_bytes().0 >> 20;
                let second = Second { p50_ms, p99_ms, max_ms, resident_mib };
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(second);
            }
        });
        Self { seconds, task }
    }

    pub(super) fn end(self) -> Vec<Second> {
        self.task.abort();
        std::mem::take(&mut self.seconds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
