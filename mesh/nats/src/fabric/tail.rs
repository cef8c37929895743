//! Reads one subject of a stream as it grows, over whatever happens to servers and connections.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{
    Message, StatusCode, Subject, Subscriber,
    jetstream::{
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        stream::ConsumerErrorKind,
    },
};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use super::{
    calls::Calls,
    cursor::{Cursor, Delivery, PULL, Step},
    failure::Failure,
    figures::{Cause, count},
};
use crate::backoff::Backoff;

/// How often an idle consumer says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Silence after which a consumer is given up: two heartbeats and a half.
const SILENCE_MAX: Duration = Duration::from_millis(2500);

/// How long a request for messages stands. Renewed by the reader; bounds what a dead one leaves.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// How long the server keeps a consumer nobody asks. Each one costs every write a look, so the
/// consumers of readers that went away shall not stay.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// How often a reader looks at its connection while nothing arrives.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a stream may be unknown to a server we reach before it is held for deleted. Elections
/// and restarts hide a stream too, for ten seconds or so.
const MISSING_MAX: Duration = Duration::from_secs(60);

/// The first and the longest wait before a consumer is made anew. Without one a server that does
/// not know the stream yet is asked thousands of times a second.
const DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(1600)];

/// What is read.
#[derive(Debug, Clone)]
pub(super) struct Course {
    /// The stream.
    pub(super) stream: String,
    /// The subjects.
    pub(super) filter: String,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At a sequence, from 1.
    At(u64),
    /// With the last message of each subject.
    LastOfEach,
}

/// A reader that makes its consumer anew whenever that is of no use any more.
pub(super) struct Tail {
    calls: Arc<Calls>,
    course: Course,
    start: Start,
    phase: Phase,
    backoff: Backoff,
    failures: usize,
    missing_since: Option<Instant>,
}

enum Phase {
    Live(Box<Live>),
    // Kept here, so that a caller that stops waiting does not stop the opening.
    Opening(BoxFuture<'static, Result<Live, Failure>>),
}

/// A consumer, and how far it has been read.
struct Live {
    consumer: PullConsumer,
    subscriber: Subscriber,
    inbox: Subject,
    cursor: Cursor,
    connects: u64,
    heard_at: Instant,
    look: Interval,
}

enum Event {
    Message(Box<Message>),
    Reopen(Cause),
    Closed,
    Nothing,
}

impl Tail {
    /// Opens a consumer; fails within the patience of `calls`.
    pub(super) async fn open(
        calls: Arc<Calls>,
        course: Course,
        start: Start,
        seed: u64,
    ) -> Result<Self, Failure> {
        let live = Live::open(Arc::clone(&calls), course.clone(), start).await?;
        count(&calls.counters.readers_opened);
        let [first, longest] = DELAYS;
        Ok(Self {
            calls,
            course,
            start,
            phase: Phase::Live(Box::new(live)),
            backoff: Backoff::new(first, longest, seed),
            failures: 0,
            missing_since: None,
        })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`Failure::Refused`] if there will never be one.
    /// # Cancel safety
    /// Dropping the future loses nothing: what was begun is kept and gone on with.
    pub(super) async fn next(&mut self) -> Result<(Delivery, Box<Message>), Failure> {
        loop {
            let event = match &mut self.phase {
                Phase::Live(live) => live.event(&self.calls).await,
                Phase::Opening(opening) => {
                    let opened = opening.await;
                    self.opened(opened)?;
                    continue;
                }
            };
            match event {
                Event::Message(message) => {
                    if let Some(delivery) = self.take(&message) {
                        return Ok((delivery, message));
                    }
                }
                Event::Reopen(cause) => self.reopen(cause),
                Event::Closed => return Err(Failure::Refused("the connection was closed".into())),
                Event::Nothing => {}
            }
        }
    }

    fn take(&mut self, message: &Message) -> Option<Delivery> {
        let Phase::Live(live) = &mut self.phase else { return None };
        let status = message.status.unwrap_or(StatusCode::OK);
        if status != StatusCode::OK {
            let said = message.description.as_deref().unwrap_or_default();
            match live.cursor.status(status.as_u16(), said, message.headers.as_ref()) {
                Step::Reopen(cause) => self.reopen(cause),
                Step::Take | Step::Repeat | Step::Alive => self.failures = 0,
            }
            return None;
        }
        let Some(delivery) = message.reply.as_deref().and_then(Delivery::parse) else {
            count(&self.calls.counters.malformed_dropped);
            return None;
        };
        match live.cursor.deliver(&delivery) {
            Step::Take => {
                self.start = Start::At(live.cursor.next());
                self.failures = 0;
                self.calls.clock.hear(delivery.time);
                return Some(delivery);
            }
            Step::Repeat => count(&self.calls.counters.repeats_dropped),
            Step::Reopen(cause) => self.reopen(cause),
            Step::Alive => {}
        }
        None
    }

    fn opened(&mut self, opened: Result<Live, Failure>) -> Result<(), Failure> {
        let failure = match opened {
            Ok(live) => {
                self.missing_since = None;
                self.phase = Phase::Live(Box::new(live));
                return Ok(());
            }
            Err(failure) => failure,
        };
        count(&self.calls.counters.reopenings_failed);
        debug!(stream = %self.course.stream, ?failure, "no consumer yet");
        // Ready for another try whatever is answered now: a future that has ended is not polled.
        self.wait_and_open();
        match failure {
            Failure::Refused(_) => Err(failure),
            Failure::Missing(said) => {
                let since = *self.missing_since.get_or_insert_with(Instant::now);
                if since.elapsed() < MISSING_MAX { Ok(()) } else { Err(Failure::Refused(said)) }
            }
            Failure::Lost | Failure::Busy(_) | Failure::Unreachable(_) | Failure::Full(_) => {
                self.missing_since = None;
                Ok(())
            }
        }
    }

    fn reopen(&mut self, cause: Cause) {
        count(cause.counter(&self.calls.counters));
        let course = &self.course;
        warn!(stream = %course.stream, filter = %course.filter, ?cause, from = ?self.start, "reading goes on with a new consumer");
        self.wait_and_open();
    }

    fn wait_and_open(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let wait = self.backoff.delay(self.failures);
        let (calls, course, start) = (Arc::clone(&self.calls), self.course.clone(), self.start);
        let opening = async move {
            sleep(wait).await;
            // Without a connection there is nothing to try, and nothing to count as tried.
            while !calls.connection.is_connected() {
                sleep(LOOK_EVERY).await;
            }
            Live::open(calls, course, start).await
        };
        self.phase = Phase::Opening(opening.boxed());
    }
}

impl Live {
    async fn open(calls: Arc<Calls>, course: Course, start: Start) -> Result<Self, Failure> {
        let patience = calls.patience();
        let opening = Self::open_unbounded(&calls, course, start);
        timeout(patience, opening).await.unwrap_or_else(|_elapsed| {
            Err(Failure::Unreachable(format!("no consumer within {} ms", patience.as_millis())))
        })
    }

    async fn open_unbounded(calls: &Calls, course: Course, start: Start) -> Result<Self, Failure> {
        let client = calls.connection.client();
        // Read before anything is asked: a connection lost from here on shows.
        let connects = client.statistics().connects.load(Ordering::Relaxed);
        let inbox = Subject::from(client.new_inbox());
        let subscriber = client.subscribe(inbox.clone()).await;
        let subscriber = subscriber.map_err(|error| Failure::Refused(error.to_string()))?;
        let config = pull::Config {
            description: Some("tapio".to_owned()),
            filter_subject: course.filter,
            // The truth about what was read is in the shard's root.
            ack_policy: AckPolicy::None,
            deliver_policy: match start {
                Start::At(sequence) => {
                    DeliverPolicy::ByStartSequence { start_sequence: sequence.max(1) }
                }
                Start::LastOfEach => DeliverPolicy::LastPerSubject,
            },
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: IDLE_MAX,
            ..Default::default()
        };
        let created = calls.connection.jetstream().create_consumer_on_stream(config, course.stream);
        let consumer = created.await.map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(error) => Failure::from(error),
            ConsumerErrorKind::InvalidConsumerType | ConsumerErrorKind::InvalidName => {
                Failure::Refused(error.to_string())
            }
            ConsumerErrorKind::TimedOut | ConsumerErrorKind::Request | ConsumerErrorKind::Other => {
                Failure::Unreachable(error.to_string())
            }
        })?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let cursor = Cursor::new(match start {
            Start::At(sequence) => sequence,
            Start::LastOfEach => 0,
        });
        let heard_at = Instant::now();
        Ok(Self { consumer, subscriber, inbox, cursor, connects, heard_at, look })
    }

    async fn event(&mut self, calls: &Calls) -> Event {
        if self.cursor.wants_more() && !self.ask().await {
            return Event::Reopen(Cause::Silent);
        }
        tokio::select! {
            // Whatever has arrived comes first: a caller that was busy elsewhere has not missed
            // the heartbeats that lie here.
            biased;
            message = self.subscriber.next() => match message {
                Some(message) => {
                    self.heard_at = Instant::now();
                    Event::Message(Box::new(message))
                }
                None => Event::Closed,
            },
            _ = self.look.tick() => self.look_around(calls),
        }
    }

    /// Asks for more, and says whether it could.
    async fn ask(&mut self) -> bool {
        let batch = pull::BatchConfig {
            batch: PULL,
            expires: Some(REQUEST_MAX),
            idle_heartbeat: HEARTBEAT,
            ..Default::default()
        };
        let asked = self.consumer.request_batch(batch, self.inbox.clone());
        let is_sent = matches!(timeout(SILENCE_MAX, asked).await, Ok(Ok(())));
        if is_sent {
            self.cursor.asked();
        }
        is_sent
    }

    fn look_around(&self, calls: &Calls) -> Event {
        let connects = calls.connection.client().statistics().connects.load(Ordering::Relaxed);
        if connects != self.connects {
            Event::Reopen(Cause::Reconnected)
        } else if self.heard_at.elapsed() > SILENCE_MAX {
            Event::Reopen(Cause::Silent)
        } else {
            Event::Nothing
        }
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_live = matches!(self.phase, Phase::Live(_));
        f.debug_struct("Tail")
            .field("course", &self.course)
            .field("start", &self.start)
            .field("is_live", &is_live)
            .finish_non_exhaustive()
    }
}
