//! One resource, watched: the requests, and what they bring.

mod follow;
mod list;
mod tell;

use std::{sync::Arc, time::Duration};

use kube::Client;
use rand::{SeedableRng as _, rngs::StdRng};
use tapio_collect::{CollectorError, Outlet};
use tapio_model::Clock;
use tapio_telemetry::spawn_named;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    KubeConfig, Marks, Resource, Rule, StatusBoard, WatchCache, WatchState,
    course::{Course, Ended, Step},
    known::Known,
    trim::Watched,
    trouble::Trouble,
    version::Version,
};

/// What is watched, and where.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) resource: Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) fields: Option<String>,
}

impl Scope {
    /// Returns the name in the status and among the positions.
    pub(crate) fn name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}", self.resource.name()),
            None => self.resource.name(),
        }
    }
}

/// What all watches share.
#[derive(Clone)]
pub(crate) struct Senses {
    pub(crate) client: Client,
    pub(crate) outlet: Outlet,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Arc<WatchCache>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) config: Arc<KubeConfig>,
    /// How far an earlier run told.
    pub(crate) marks: Arc<Marks>,
    /// Whether the server serves listings as streams.
    pub(crate) is_streaming: bool,
}

/// A watch and what it holds.
struct Watcher<K> {
    scope: Scope,
    name: String,
    url: String,
    senses: Senses,
    known: Known<K>,
    course: Course,
    /// How far an earlier run told; nothing once the first listing is done.
    told_before: Option<Version>,
    has_listed: bool,
    is_streaming: bool,
    listed_at: Instant,
    /// The last thing that the watch told.
    moved_at: Instant,
    start: Instant,
    said: Option<String>,
}

/// Watches until the task is aborted, or nobody takes events any more.
pub(crate) fn watch<K: Watched>(
    scope: Scope,
    senses: Senses,
) -> JoinHandle<Result<(), CollectorError>> {
    spawn_named("kube-watch", Watcher::<K>::new(scope, senses).run())
}

impl<K: Watched> Watcher<K> {
    fn new(scope: Scope, senses: Senses) -> Self {
        let name = scope.name();
        let now = Instant::now();
        let told_before = Version::new(senses.marks.versions.get(&name).map(String::as_str));
        // Each its own jitter, or all would come back at one moment.
        let seed = name.bytes().fold(senses.config.seed, |seed, byte| {
            seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        let rng = StdRng::seed_from_u64(seed);
        senses.board.write(&name, |row| {
            *row = crate::status::Row { begun: Some(now), ..crate::status::Row::default() };
            row.told_to.clone_from(&told_before);
            row.go_blind(now);
        });
        Self {
            url: K::url_path(&(), scope.namespace.as_deref()),
            known: Known::new(senses.config.objects_max),
            course: Course::new(senses.config.timing, told_before.clone(), rng),
            told_before,
            has_listed: false,
            is_streaming: senses.is_streaming,
            listed_at: now,
            moved_at: now,
            start: now,
            said: None,
            name,
            scope,
            senses,
        }
    }

    async fn run(mut self) -> Result<(), CollectorError> {
        self.await_owners().await;
        loop {
            let ended = match self.course.step() {
                Step::ListAt(version) => Box::pin(self.list(Some(version))).await?,
                Step::List if self.is_streaming => Box::pin(self.stream()).await?,
                Step::List => Box::pin(self.list(None)).await?,
                Step::Watch(version) => Box::pin(self.follow(version)).await?,
            };
            let wait = self.end(ended);
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
    }

    /// Waits for the first listing of what places come from.
    async fn await_owners(&self) {
        let owners = self.scope.resource.after().iter();
        let named =
            owners.map(|resource| Scope { resource: *resource, ..self.scope.clone() }.name());
        let named: Vec<String> = named.collect();
        let settled = self.senses.board.wait_settled(&named);
        // Without them places are less complete; that is better than to say nothing.
        drop(timeout(self.senses.config.timing.owners, settled).await);
    }

    fn end(&mut self, ended: Ended) -> Duration {
        let now = Instant::now();
        let blind_since = match &ended {
            Ended::Listed(_) | Ended::Due => None,
            Ended::Closed { .. } | Ended::Failed { trouble: Trouble::Gone, .. } => Some(now),
            // Nobody can say when the watch began to miss things.
            Ended::Rebuilt => Some(self.moved_at),
            Ended::Failed { trouble: Trouble::Silent, .. } => Some(self.heard().unwrap_or(now)),
            Ended::Failed { .. } => Some(now),
        };
        self.senses.board.write(&self.name, |row| {
            if let Some(since) = blind_since {
                row.go_blind(since);
            }
        });
        if matches!(&ended, Ended::Failed { trouble: Trouble::Refused(_), .. }) {
            self.is_streaming = false;
        }
        let trouble = match &ended {
            Ended::Failed { trouble, .. } => Some(trouble.clone()),
            Ended::Listed(_) | Ended::Closed { .. } | Ended::Rebuilt | Ended::Due => None,
        };
        let wait = self.course.end(ended, self.start.elapsed());
        if let Some(trouble) = trouble {
            self.note(&trouble);
        }
        wait
    }

    fn heard(&self) -> Option<Instant> {
        self.senses.board.write(&self.name, |row| row.heard)
    }

    /// Writes trouble down, and says it once.
    fn note(&mut self, trouble: &Trouble) {
        let state = self.course.state.clone();
        let text = trouble.text();
        let rule = Rule::to_watch(self.scope.resource, self.scope.namespace.as_deref());
        let is_lasting = matches!(state, WatchState::Refused | WatchState::NotServed);
        self.senses.board.write(&self.name, |row| {
            row.status.state = state.clone();
            row.status.failures += 1;
            row.status.trouble = Some(text.clone());
            row.status.refused = (state == WatchState::Refused).then(|| rule.clone());
            row.is_settled |= is_lasting;
            if trouble.is_sign_of_life() && !is_lasting {
                row.hear(Instant::now());
            }
        });
        let key = format!("{state:?} {text}");
        if self.said.as_ref() == Some(&key) || *trouble == Trouble::Gone {
            return;
        }
        self.said = Some(key);
        let resource = &self.name;
        match state {
            WatchState::Refused => warn!(resource, add = %rule, "not allowed; goes on without"),
            WatchState::NotServed => info!(resource, "not served here; goes on without"),
            WatchState::Standby
            | WatchState::Listing
            | WatchState::Watching
            | WatchState::Retrying => warn!(resource, why = text, "asks again"),
        }
    }

    /// Takes note of a sign of life.
    fn hear(&self) {
        self.senses.board.write(&self.name, |row| row.hear(Instant::now()));
    }

    /// Takes note that it works.
    fn work(&mut self, state: WatchState) {
        let now = Instant::now();
        if self.said.take().is_some() {
            info!(resource = self.name, "works again");
        }
        let known = self.known.len();
        self.course.state = state.clone();
        self.senses.board.write(&self.name, |row| {
            row.hear(now);
            row.status.known = known;
            row.status.state = state;
            (row.status.trouble, row.status.refused) = (None, None);
        });
    }

    fn told_to(&self, version: &Version) {
        self.senses.board.write(&self.name, |row| {
            row.told_to = Some(version.clone());
            row.status.known = self.known.len();
        });
    }

    fn see(&self) {
        self.senses.board.write(&self.name, |row| row.see(Instant::now()));
    }
}
