//! Keeps what the actors tell, and passes stories on.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tapio_engine::Told;
use tapio_model::{Story, StoryId};
use tapio_telemetry::spawn_named;
use tokio::{
    sync::{broadcast, mpsc},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tracing::error;

use crate::store::{Record, StoryStore};

/// Tellings that wait for the store; the actors wait once it is full.
pub(crate) const TOLD_MAX: usize = 1_024;
/// Tellings kept in one transaction.
const TELLINGS_MAX: usize = 64;
/// Stories that a subscriber may be behind before it misses some.
const BEHIND_MAX: usize = 256;
/// How long a story waits for the store before it is passed on unkept: a person waits for it.
const PATIENCE: Duration = Duration::from_millis(20);

/// The one task that keeps and passes on.
#[derive(Debug)]
pub(crate) struct Teller {
    told: mpsc::Receiver<Told>,
    store: Arc<StoryStore>,
    /// The only sender that counts: subscribers learn from its end that nothing more comes.
    stories: broadcast::Sender<Arc<Story>>,
    open: BTreeSet<StoryId>,
    figures: Arc<TellFigures>,
}

/// What was told since the start.
#[derive(Debug, Default)]
pub(crate) struct TellFigures {
    /// Tellings of stories.
    pub(crate) tellings: AtomicU64,
    /// Stories that can still change.
    pub(crate) open: AtomicU64,
}

/// Where stories can be had from.
#[derive(Debug, Clone)]
pub(crate) struct Tellings(broadcast::WeakSender<Arc<Story>>);

impl Tellings {
    /// Returns the stories told from now on; none if nothing more will be told.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Story>> {
        self.0.upgrade().map_or_else(|| broadcast::channel(1).1, |stories| stories.subscribe())
    }
}

impl Teller {
    /// Makes the task's state.
    pub(crate) fn new(
        told: mpsc::Receiver<Told>,
        store: Arc<StoryStore>,
        figures: Arc<TellFigures>,
    ) -> Self {
        let (stories, _) = broadcast::channel(BEHIND_MAX);
        Self { told, store, stories, open: BTreeSet::new(), figures }
    }

    /// Returns where the stories can be had from.
    pub(crate) fn tellings(&self) -> Tellings {
        Tellings(self.stories.downgrade())
    }

    /// Starts the task. It ends when nobody can tell anything any more and all is kept.
    pub(crate) fn spawn(self) -> JoinHandle<()> {
        spawn_named("tell", self.run())
    }

    async fn run(mut self) {
        let mut told = Vec::with_capacity(TELLINGS_MAX);
        while self.told.recv_many(&mut told, TELLINGS_MAX).await > 0 {
            let records: Vec<Record> = told.drain(..).map(record).collect();
            let stories: Vec<_> = records.iter().filter_map(told_story).collect();
            let store = Arc::clone(&self.store);
            let mut keeping = spawn_blocking(move || store.keep(&records));
            // Kept first, so that whoever hears of a story can ask for its evidence.
            let kept = timeout(PATIENCE, &mut keeping).await;
            for story in stories {
                self.pass_on(story);
            }
            let kept = match kept {
                Ok(kept) => kept,
                Err(_elapsed) => keeping.await,
            };
            match kept {
                Ok(Ok(())) => {}
                Ok(Err(error)) => error!(%error, "stories were told and not kept"),
                Err(error) => error!(%error, "stories were told, and the store panicked"),
            }
        }
    }

    fn pass_on(&mut self, story: Arc<Story>) {
        if story.state.is_open() {
            self.open.insert(story.id);
        } else {
            self.open.remove(&story.id);
        }
        self.figures.tellings.fetch_add(1, Ordering::Relaxed);
        self.figures.open.store(self.open.len() as u64, Ordering::Relaxed);
        // Without subscribers nobody hears it, and the store still has it.
        drop(self.stories.send(story));
    }
}

fn record(told: Told) -> Record {
    match told {
        Told::Evidence(events) => Record::Evidence(events),
        Told::Story(story) => Record::Story(Arc::from(story)),
        Told::Dead { trace, events } => Record::Dead { trace, events },
    }
}

fn told_story(record: &Record) -> Option<Arc<Story>> {
    match record {
        Record::Story(story) => Some(Arc::clone(story)),
        Record::Evidence(_) | Record::Dead { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::RecvError;

    use super::*;
    use crate::{fixture, store::Lookup};

    #[tokio::test]
    async fn a_story_is_kept_before_it_is_heard_of_and_the_end_is_heard_too() {
        let store = Arc::new(StoryStore::in_memory().unwrap());
        let (sender, told) = mpsc::channel(TOLD_MAX);
        let figures = Arc::new(TellFigures::default());
        let teller = Teller::new(told, Arc::clone(&store), Arc::clone(&figures));
        let tellings = teller.tellings();
        let mut stories = tellings.subscribe();
        let task = teller.spawn();

        let events = fixture::events(2);
        let story = fixture::story(1, &events);
        sender.send(Told::Evidence(events.clone())).await.unwrap();
        sender.send(Told::Story(Box::new(story.clone()))).await.unwrap();
        let trace = events[0].trace.trace_id;
        sender.send(Told::Dead { trace, events }).await.unwrap();
        assert_eq!(*stories.recv().await.unwrap(), story);
        let found = store.story(&story.id.to_string()).unwrap();
        assert_eq!(found, Lookup::Found(Box::new(story.clone())));
        assert_eq!(store.events_of(&story).unwrap().len(), 2);
        assert_eq!(figures.open.load(Ordering::Relaxed), 1);

        drop(sender);
        task.await.unwrap();
        assert_eq!(stories.recv().await, Err(RecvError::Closed));
        assert_eq!(tellings.subscribe().recv().await, Err(RecvError::Closed));
        assert_eq!(store.stats().unwrap().dead_letters, 2);
    }

    #[tokio::test]
    async fn who_lags_is_told_how_many_it_missed() {
        let store = Arc::new(StoryStore::in_memory().unwrap());
        let (sender, told) = mpsc::channel(TOLD_MAX);
        let teller = Teller::new(told, store, Arc::default());
        let mut stories = teller.tellings().subscribe();
        for number in 0..=BEHIND_MAX {
            let story = fixture::story(u8::try_from(number % 200).unwrap(), &[]);
            sender.send(Told::Story(Box::new(story))).await.unwrap();
        }
        drop(sender);
        teller.spawn().await.unwrap();
        assert_eq!(stories.recv().await, Err(RecvError::Lagged(1)));
    }
}
