//! Pods that write their logs, and a kubelet that rotates them.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tapio_telemetry::spawn_named;
use tokio::time::{MissedTickBehavior, interval};

use super::super::world::{Outcome, check, said, until};

/// What the lines say that are in no ledger.
pub(super) const PROBE: &str = "probe";

/// What the probes say that were there before anybody read.
pub(super) const LONG_AGO: &str = "long ago";

const PODS: u64 = 3;

/// How often lines are written, and how many at once: a thousand a second.
const TICK: Duration = Duration::from_millis(10);
const LINES: u64 = 10;

/// The pods; the one of its number writes each line.
pub(super) struct Pods(Arc<Mutex<Logs>>);

struct Logs {
    root: PathBuf,
    files: Vec<File>,
    written: u64,
    rotated: u64,
    is_enough: bool,
    failure: Option<String>,
}

impl Pods {
    /// Makes the logs of some pods; the first has written before.
    pub(super) fn create(root: &Path) -> Outcome<Self> {
        let mut logs = Logs {
            root: root.to_owned(),
            files: Vec::new(),
            written: 0,
            rotated: 0,
            is_enough: false,
            failure: None,
        };
        for pod in 0..PODS {
            let file = open(&logs.path(pod))?;
            logs.files.push(file);
        }
        for _ in 0..20 {
            logs.write(0, &format!("{} F INFO {PROBE} {LONG_AGO}\n", stamp(0)))?;
        }
        Ok(Self(Arc::new(Mutex::new(logs))))
    }

    /// Writes a line that is in no ledger.
    pub(super) fn probe(&self) -> Outcome {
        self.with(|logs| logs.write(0, &format!("{} F INFO {PROBE}\n", stamp(0))))
    }

    /// Has the pods write until it is enough.
    pub(super) fn start(&self) {
        let logs = Arc::clone(&self.0);
        let writing = async move {
            let mut tick = interval(TICK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let mut logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
                if logs.is_enough {
                    return;
                }
                if let Err(why) = logs.write_some() {
                    logs.failure = Some(why);
                    return;
                }
            }
        };
        drop(spawn_named("pods", writing));
    }

    /// Renames a pod's log and begins another, as the kubelet does.
    pub(super) fn rotate(&self, pod: u64) -> Outcome {
        self.with(|logs| {
            logs.rotated += 1;
            let path = logs.path(pod);
            let name = format!("0.log.20260102-{:06}", logs.rotated);
            fs::rename(&path, path.with_file_name(name)).map_err(said)?;
            let next = open(&path)?;
            let index = usize::try_from(pod).map_err(said)?;
            let file = logs.files.get_mut(index).ok_or("there is no such pod")?;
            *file = next;
            Ok(())
        })
    }

    /// Waits until so many lines more are written.
    pub(super) async fn some_more(&self, lines: u64) -> Outcome {
        let wanted = self.with(|logs| logs.written) + lines;
        until(async || {
            let (written, failure) = self.with(|logs| (logs.written, logs.failure.clone()));
            check(written >= wanted, || format!("{written} are written; {failure:?}"))
        })
        .await
    }

    /// Ends the writing, and returns how many lines were written.
    pub(super) fn finish(&self) -> u64 {
        self.with(|logs| {
            logs.is_enough = true;
            logs.written
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Logs) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Logs {
    fn path(&self, pod: u64) -> PathBuf {
        self.root
            .join(format!("shop_cart-{pod}_6d1b2f3a-8c4e-4a5b-9d6e-7f8091a2b3c{pod}/cart/0.log"))
    }

    fn write_some(&mut self) -> Outcome {
        for _ in 0..LINES {
            let (number, stamp) = (self.written, stamp(self.written));
            // Some are longer than what a runtime writes at once.
            let line = if number.is_multiple_of(10) {
                format!("{stamp} P INFO order {number} is \n{stamp} F placed\n")
            } else {
                format!("{stamp} F INFO order {number} is placed\n")
            };
            self.write(number % PODS, &line)?;
            self.written += 1;
        }
        Ok(())
    }

    fn write(&mut self, pod: u64, text: &str) -> Outcome {
        let index = usize::try_from(pod).map_err(said)?;
        let file = self.files.get_mut(index).ok_or("there is no such pod")?;
        file.write_all(text.as_bytes()).map_err(said)
    }
}

fn stamp(number: u64) -> String {
    format!("2026-01-02T03:04:{:02}.{:03}Z stdout", number / 1_000 % 60, number % 1_000)
}

fn open(path: &Path) -> Outcome<File> {
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(said)?;
    OpenOptions::new().append(true).create(true).open(path).map_err(said)
}
