//! A reader of some shards: one consumer, repaired as often as it breaks.

use std::{collections::BTreeSet, fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use async_nats::jetstream::{message::Message, response::Response, stream::Info};
use async_trait::async_trait;
use tapio_bus::{Batch, Delivery, Offset, Start, SubscribeError, Subscription};
use tapio_model::ShardId;
use tapio_wire::decode_batch;
use tokio::{
    sync::watch,
    task::coop::consume_budget,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{
    Acknowledge,
    figures::add,
    reader::{From, Reader, Received},
    shared::Shared,
};
use crate::backoff::Backoff;

/// Delays between attempts to make a consumer: a loop without cost 38,000 errors in an election.
const DELAYS: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];

/// How often a subscription of a closed bus looks whether it has read all.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Attempts of a subscription of a closed bus to find out whether it has read all.
const LAST_ATTEMPTS_MAX: usize = 10;

pub(super) struct NatsSubscription {
    shared: Arc<Shared>,
    shards: BTreeSet<ShardId>,
    filters: Vec<String>,
    closing: watch::Receiver<bool>,
    is_closing: bool,
    has_ended: bool,
    /// Where to go on.
    from: From,
    reader: Option<Reader>,
    /// A consumer in the making. Kept here, so that a caller that waits in small steps gets one
    /// in the end, and only one.
    opening: Option<Opening>,
    /// When a subscription of a closed bus next looks whether it has read all.
    look_at: Instant,
    failures: usize,
}

type Opening = Pin<Box<dyn Future<Output = Result<Reader, String>> + Send + Sync>>;

/// What woke a subscription.
enum Woken {
    By(Received),
    Closing,
    Look,
}

impl NatsSubscription {
    pub(super) async fn open(
        shared: &Arc<Shared>,
        shards: &[ShardId],
        start: Start,
    ) -> Result<Self, SubscribeError> {
        for shard in shards {
            shared.shard(*shard).ok_or(SubscribeError::UnknownShard(*shard))?;
        }
        let shards: BTreeSet<_> = shards.iter().copied().collect();
        let subjects = shared.connection.subjects();
        let mut subscription = Self {
            filters: shards.iter().map(|shard| subjects.events_of(*shard)).collect(),
            shards,
            shared: Arc::clone(shared),
            closing: shared.closing(),
            is_closing: shared.is_closed(),
            has_ended: false,
            from: match start {
                Start::Earliest => From::First,
                Start::New => From::New,
                Start::At(offset) => From::Sequence(offset.0),
            },
            reader: None,
            opening: None,
            look_at: Instant::now(),
            failures: 0,
        };
        if let Start::At(wanted) = start {
            subscription.check_kept(wanted).await?;
        }
        // A consumer without a filter would read every shard.
        if !subscription.shards.is_empty() {
            subscription.reopen().await;
        }
        Ok(subscription)
    }

    /// Refuses what was acknowledged, and what the stream no longer holds. Which shard's messages
    /// the stream lost it does not say, so a sequence before its first is gone for every shard.
    async fn check_kept(&mut self, wanted: Offset) -> Result<(), SubscribeError> {
        let first = self.first_kept().await;
        for &id in &self.shards {
            let Some(shard) = self.shared.shard(id) else { continue };
            let earliest = shard.lock().begin().max(first);
            if wanted < earliest {
                return Err(SubscribeError::Gone { shard: id, wanted, earliest });
            }
        }
        Ok(())
    }

    /// Returns the first offset the stream holds; zero if it never lost any, or once the bus is
    /// closed and does not say.
    async fn first_kept(&mut self) -> Offset {
        let connection = &self.shared.connection;
        let backoff = Backoff::new(DELAYS[0], DELAYS[1], connection.seed());
        let subject = format!("STREAM.INFO.{}", self.shared.stream);
        for attempt in 1.. {
            let asking = connection.jetstream().request(subject.clone(), &());
            match timeout(connection.patience(), asking).await {
                Ok(Ok(Response::<Info>::Ok(info))) => {
                    let first = info.state.first_sequence;
                    return Offset(if first > 1 { first } else { 0 });
                }
                Ok(Ok(Response::Err { error })) => warn!(%error, "where does the stream begin?"),
                Ok(Err(why)) => warn!(%why, "where does the stream begin?"),
                Err(_elapsed) => warn!("no answer where the stream begins"),
            }
            if self.shared.is_closed() {
                break;
            }
            sleep(backoff.delay(attempt)).await;
        }
        Offset::default()
    }

    /// Makes the consumer, however often that takes. Says whether there is one: once the bus is
    /// closed there is an end to trying.
    async fn reopen(&mut self) -> bool {
        loop {
            let opening = match &mut self.opening {
                Some(opening) => opening,
                none @ None => {
                    none.insert(open(&self.shared, &self.filters, self.from, self.failures))
                }
            };
            let opened = opening.await;
            self.opening = None;
            match opened {
                Ok(reader) => {
                    self.from = From::Sequence(reader.next);
                    self.reader = Some(reader);
                    return true;
                }
                Err(why) => {
                    self.failures += 1;
                    self.is_closing |= self.shared.is_closed();
                    warn!(why, failures = self.failures, "no consumer of the events yet");
                    if self.is_closing && self.failures > LAST_ATTEMPTS_MAX {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits for a consumer to say something, or for the end.
    async fn wake(&mut self) -> Woken {
        let Some(reader) = &mut self.reader else {
            return Woken::By(Received::Lost("no consumer".to_owned()));
        };
        tokio::select! {
            biased;
            received = reader.receive() => Woken::By(received),
            _ = self.closing.wait_for(|closed| *closed), if !self.is_closing => Woken::Closing,
            () = sleep_until(self.look_at), if self.is_closing => Woken::Look,
        }
    }

    /// Says whether a closed bus has nothing more for us.
    async fn has_read_all(&mut self) -> bool {
        let Some(reader) = &self.reader else { return false };
        match reader.is_drained().await {
            Ok(is_drained) => is_drained,
            Err(why) => {
                self.failures += 1;
                let is_over = self.failures > LAST_ATTEMPTS_MAX;
                warn!(why, is_over, "is there more of a closed bus?");
                is_over
            }
        }
    }

    /// Returns what a message carries, if it is for us to give out.
    fn accept(&self, message: &Message, sequence: u64) -> Option<Delivery> {
        let counters = &self.shared.counters;
        let decoded = match decode_batch(&message.payload) {
            Ok(decoded) => decoded,
            Err(why) => {
                add(&counters.malformed_envelopes, 1);
                warn!(sequence, %why, "an envelope that is none");
                return None;
            }
        };
        if !decoded.rejected.is_empty() {
            add(&counters.malformed_events, decoded.rejected.len());
            warn!(sequence, events = decoded.rejected.len(), "events that cannot be read");
        }
        let batch = decoded.batch;
        if !self.shards.contains(&batch.shard) || batch.events.is_empty() {
            add(&counters.malformed_envelopes, 1);
            return None;
        }
        let offset = Offset(sequence);
        let may = match self.shared.options.acknowledge {
            Acknowledge::Keep => true,
            Acknowledge::Purge => self.shared.shard(batch.shard)?.lock().give(offset),
        };
        let tapio_wire::EventBatch { shard, level, time, events } = batch;
        may.then(|| Delivery { offset, batch: Arc::new(Batch { shard, level, time, events }) })
    }

    /// Lets go of a consumer that is broken.
    fn lose(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.from = From::Sequence(reader.next);
            add(&self.shared.counters.recreated_consumers, 1);
        }
    }
}

/// Makes a consumer, after a wait that grows with the failures before.
fn open(shared: &Arc<Shared>, filters: &[String], from: From, failures: usize) -> Opening {
    let connection = shared.connection.clone();
    let backoff = Backoff::new(DELAYS[0], DELAYS[1], connection.seed());
    let delay = if failures > 0 { backoff.delay(failures) } else { Duration::ZERO };
    let (stream, filters) = (shared.stream.clone(), filters.to_vec());
    Box::pin(async move {
        sleep(delay).await;
        Reader::open(connection, stream, filters, from).await
    })
}

#[async_trait]
impl Subscription for NatsSubscription {
    async fn next(&mut self) -> Option<Delivery> {
        // A reader that never has to wait must still let others run. Nothing is awaited between
        // taking a message and returning what it carries, so a dropped future has taken none.
        consume_budget().await;
        if self.shards.is_empty() {
            self.shared.closed().await;
            return None;
        }
        while !self.has_ended {
            if self.reader.is_none() && !self.reopen().await {
                self.has_ended = true;
                break;
            }
            match self.wake().await {
                Woken::By(Received::Message(message, sequence)) => {
                    self.failures = 0;
                    if let Some(delivery) = self.accept(&message, sequence) {
                        return Some(delivery);
                    }
                }
                Woken::By(Received::Gap) => {
                    add(&self.shared.counters.gaps, 1);
                    self.lose();
                }
                Woken::By(Received::Lost(why)) => {
                    self.failures += 1;
                    info!(why, "a consumer of the events is lost; making another");
                    self.lose();
                }
                Woken::Closing => self.is_closing = true,
                Woken::Look => {
                    self.has_ended = self.has_read_all().await;
                    self.look_at = Instant::now() + LOOK_INTERVAL;
                }
            }
        }
        None
    }

    fn acknowledge(&mut self, shard: ShardId, offset: Offset) {
        // Only its own shards: the others are somebody else's to be done with.
        if !self.shards.contains(&shard) {
            return;
        }
        let Some(of_shard) = self.shared.shard(shard) else { return };
        match self.shared.options.acknowledge {
            Acknowledge::Keep => {}
            Acknowledge::Purge => {
                let (freed, begin) = {
                    let mut ledger = of_shard.lock();
                    let before = ledger.begin();
                    let freed = ledger.acknowledge(offset);
                    (freed, (ledger.begin() > before).then(|| ledger.begin()))
                };
                if let Some(room) = &of_shard.room {
                    room.add_permits(usize::try_from(freed).unwrap_or_default());
                }
                if let Some(begin) = begin {
                    self.shared.purger.purge(shard, begin);
                }
            }
        }
    }
}

impl fmt::Debug for NatsSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSubscription")
            .field("shards", &self.shards)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}
