//! A configuration that changes while it is used.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::de::DeserializeOwned;
use tapio_telemetry::spawn_named;
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tracing::{info, warn};

use crate::{ConfigError, Origin, Problem, Validate, Whence, load, load::parse};

/// How often the file is looked at: two looks that agree make a change, so one takes a second. The
/// whole file is read each time, which a page cache serves in some 20 µs and which no coarse clock,
/// swapped link or reused inode can deceive.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What became of the changes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reloads {
    /// Changes that took effect.
    pub applied: u64,
    /// Changes that were refused; the value stayed as it was.
    pub refused: u64,
}

/// The newest good value of a configuration.
pub struct Live<T> {
    values: watch::Receiver<Arc<T>>,
    account: Arc<Account>,
}

/// What feeds a [`Live`].
#[derive(Debug)]
pub struct LiveSender<T> {
    values: watch::Sender<Arc<T>>,
    account: Arc<Account>,
}

#[derive(Debug, Default)]
struct Account {
    applied: AtomicU64,
    refused: AtomicU64,
    /// Why the newest content is not the value; none if it is.
    refusal: Mutex<Option<ConfigError>>,
}

impl<T> Live<T> {
    /// Makes a value and what changes it.
    #[must_use]
    pub fn new(value: T) -> (LiveSender<T>, Self) {
        let (sender, values) = watch::channel(Arc::new(value));
        let account = Arc::<Account>::default();
        let live = Self { values, account: Arc::clone(&account) };
        (LiveSender { values: sender, account }, live)
    }

    /// Makes a value that never changes.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        Self::new(value).1
    }

    /// Returns the value of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.values.borrow())
    }

    /// Waits for a value this handle has not returned yet; `None` once there will be none.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Option<Arc<T>> {
        self.values.changed().await.ok()?;
        Some(Arc::clone(&self.values.borrow_and_update()))
    }

    /// Waits as [`Live::changed`] does, and leaves the value to be returned by it; for ever once
    /// there will be none.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn waiting(&mut self) {
        if self.values.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.values.mark_changed();
    }

    /// Returns what became of the changes so far.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        Reloads {
            applied: self.account.applied.load(Relaxed),
            refused: self.account.refused.load(Relaxed),
        }
    }

    /// Returns why what the file says now is not in effect; none if it is.
    #[must_use]
    pub fn refusal(&self) -> Option<ConfigError> {
        self.account.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), account: Arc::clone(&self.account) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("value", &*self.values.borrow()).finish_non_exhaustive()
    }
}

impl<T> LiveSender<T> {
    /// Puts a good value into effect.
    pub fn apply(&self, value: T) {
        self.account.applied.fetch_add(1, Relaxed);
        *self.account.refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.values.send_replace(Arc::new(value));
    }

    /// Keeps the value, and why.
    pub fn refuse(&self, why: ConfigError) {
        self.account.refused.fetch_add(1, Relaxed);
        *self.account.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Returns the value in effect.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.values.borrow())
    }
}

/// The task that looks at a file; it ends when this is dropped.
#[derive(Debug)]
pub struct Watching(Option<JoinHandle<()>>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Loads a configuration and keeps looking at its file. The environment is read once: it cannot
/// change under a process.
///
/// # Errors
/// [`ConfigError`] if there is no good value to begin with.
pub fn watch<T>(origin: Origin) -> Result<(Live<T>, Watching), ConfigError>
where
    T: DeserializeOwned + Default + Validate + Send + Sync,
{
    let Some(path) = origin.path.clone() else {
        return Ok((Live::fixed(load::<T>(&origin)?), Watching(None)));
    };
    // One look for both: a change between two would never be noticed.
    let judged = Look::at(&path);
    let (sender, live) = match &judged {
        Look::Content(bytes) => Live::new(parse::<T>(bytes, &origin)?),
        Look::Unreadable(why) => return Err(why.clone()),
    };
    let watcher = Watcher { path, origin, sender, judged, candidate: None };
    Ok((live, Watching(Some(spawn_named("config", watcher.run())))))
}

/// What a look at the file found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    Content(Vec<u8>),
    Unreadable(ConfigError),
}

impl Look {
    fn at(path: &std::path::Path) -> Self {
        match load::read(path) {
            Ok(bytes) => Self::Content(bytes),
            Err(why) => Self::Unreadable(load::unreadable(path, &why)),
        }
    }
}

struct Watcher<T> {
    path: PathBuf,
    origin: Origin,
    sender: LiveSender<T>,
    /// What was last applied or refused.
    judged: Look,
    /// What the last look found, if that was something else.
    candidate: Option<Look>,
}

impl<T: DeserializeOwned + Default + Validate> Watcher<T> {
    async fn run(mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            let look = Look::at(&self.path);
            if look == self.judged {
                self.candidate = None;
            } else if self.candidate.as_ref() == Some(&look) {
                self.candidate = None;
                self.judge(&look);
                self.judged = look;
            } else {
                self.candidate = Some(look);
            }
        }
    }

    fn judge(&self, look: &Look) {
        match self.next_value(look) {
            Ok(value) => {
                self.sender.apply(value);
                info!(path = %self.path.display(), "a new configuration is in effect");
            }
            Err(why) => {
                warn!(%why, "the configuration stays as it was");
                self.sender.refuse(why);
            }
        }
    }

    fn next_value(&self, look: &Look) -> Result<T, ConfigError> {
        let bytes = match look {
            Look::Content(bytes) => bytes,
            Look::Unreadable(why) => return Err(why.clone()),
        };
        let value: T = parse(bytes, &self.origin)?;
        let problem = |field: &str| Problem {
            whence: Whence::File { path: self.path.clone(), line: None },
            field: field.to_owned(),
            what: "takes effect only at a start".to_owned(),
            cure: "restart, or put the old value back".to_owned(),
        };
        let fixed = self.sender.current().needs_restart(&value);
        if fixed.is_empty() {
            return Ok(value);
        }
        Err(ConfigError { problems: fixed.into_iter().map(problem).collect() })
    }
}

#[cfg(test)]
mod tests;
