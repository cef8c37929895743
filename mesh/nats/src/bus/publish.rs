//! Publishing: room, envelopes, acknowledgements, and everything that can go wrong with them.

use std::{error::Error as _, sync::Arc, time::Duration};

use async_nats::jetstream::{
    Error as ApiError, ErrorCode,
    context::{PublishError as SendError, PublishErrorKind},
    message::PublishMessage,
    publish::PublishAck,
};
use tapio_bus::{Batch, Offset, PublishError, WhenFull};
use tapio_model::{ShardId, Text};
use tapio_telemetry::{SpanKey, SpanName, spawn_named};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tracing::{error, warn};

use super::{
    Acknowledge,
    envelope::{Envelope, seal},
    figures::add,
    shared::{Shard, Shared},
};
use crate::backoff::Backoff;

/// Delays between attempts to publish. A leader that left is replaced within tenths of a second, one
/// that crashed within nine seconds.
const DELAYS: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

/// Attempts after which an envelope that still waits is worth a line in the log: some ten seconds.
const ATTEMPTS_QUIET: usize = 16;

/// The header of W3C Trace Context.
const TRACEPARENT: &str = "traceparent";

/// Publishes a batch.
///
/// Once there is room the rest is a task of its own: a caller that goes away leaves the whole
/// batch published, never half of the book-keeping.
pub(super) async fn publish(shared: &Arc<Shared>, batch: Batch) -> Result<Offset, PublishError> {
    let shard = shared.shard(batch.shard).ok_or(PublishError::UnknownShard(batch.shard))?;
    let count = batch.events.len();
    if count == 0 {
        return Err(PublishError::Empty);
    }
    let events_max = shared.options.events_max_per_shard;
    if count > events_max {
        return Err(PublishError::TooLarge { events: count, events_max });
    }
    if shared.is_closed() {
        return Err(PublishError::Closed);
    }
    let events = u64::try_from(count).unwrap_or(u64::MAX);
    let mut reservation = Reservation { shard: Arc::clone(shard), events: 0 };
    if let Some(room) = &shard.room {
        let permits = u32::try_from(count).unwrap_or(u32::MAX);
        let permits = room.acquire_many(permits).await.map_err(|_closed| PublishError::Closed)?;
        permits.forget();
        reservation.events = events;
    }
    let slot = Arc::clone(&shared.in_flight).acquire_owned().await;
    let slot = slot.map_err(|_closed| PublishError::Closed)?;
    if shared.is_closed() {
        return Err(PublishError::Closed);
    }
    let mut victims = Vec::new();
    if is_shedding(shared) {
        let events_max = u64::try_from(events_max).unwrap_or(u64::MAX);
        victims = shard.lock().reserve(batch.level, events, events_max)?;
        reservation.events = events;
    }
    let shipment = Shipment { shared: Arc::clone(shared), reservation, _slot: slot };
    let shipping = spawn_named("nats publish", shipment.ship(batch, victims));
    shipping.await.unwrap_or_else(|why| {
        error!(%why, "publishing died; what became of a batch is not known");
        Err(PublishError::Closed)
    })
}

/// Says whether a full shard sheds what is less urgent.
fn is_shedding(shared: &Shared) -> bool {
    match (shared.options.acknowledge, shared.options.when_full) {
        (Acknowledge::Purge, WhenFull::ShedLowestFirst) => true,
        (Acknowledge::Purge, WhenFull::Block)
        | (Acknowledge::Keep, WhenFull::Block | WhenFull::ShedLowestFirst) => false,
    }
}

/// Room for events; what is not used goes back.
#[derive(Debug)]
struct Reservation {
    shard: Arc<Shard>,
    events: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.events > 0 {
            self.shard.release(self.events);
        }
    }
}

/// A batch with room for it and a place among those in flight.
struct Shipment {
    shared: Arc<Shared>,
    reservation: Reservation,
    _slot: OwnedSemaphorePermit,
}

/// What became of an attempt.
#[derive(Debug)]
enum Failure {
    /// It may lie there and may not: the same id again finds out.
    Unsure(String),
    /// The stream takes nothing more until it is worked off or ages.
    Full(String),
    /// It will never be taken.
    TooLarge,
}

impl Shipment {
    async fn ship(mut self, batch: Batch, victims: Vec<Offset>) -> Result<Offset, PublishError> {
        let shared = Arc::clone(&self.shared);
        if !victims.is_empty() {
            shared.purger.delete(&victims).await;
        }
        let (id, level, events) = (batch.shard, batch.level, batch.events.len());
        let bytes_max = shared.connection.client().max_payload();
        let envelopes = seal(batch, shared.connection.subjects(), bytes_max)?;
        let mut last = Offset::default();
        for envelope in &envelopes {
            let stored = self.store(id, envelope).await;
            if stored == Err(PublishError::Full) {
                let events = u64::try_from(events).unwrap_or(u64::MAX);
                shared.refuse(&self.reservation.shard, level, events);
            }
            last = stored?;
        }
        Ok(last)
    }

    /// Puts an envelope into the stream, and has a span of it.
    async fn store(&mut self, id: ShardId, envelope: &Envelope) -> Result<Offset, PublishError> {
        let options = &self.shared.options;
        let above = options.traceparent.as_ref().and_then(|of| of());
        let mut span = options.telemetry.start(SpanName::Publish, above.as_deref());
        span.set(SpanKey::Shard, u64::from(id.number()));
        span.set(SpanKey::Level, envelope.level.name());
        span.set(SpanKey::Messages, envelope.events);
        span.set(SpanKey::BodyBytes, envelope.body.len() as u64);
        span.set(SpanKey::Destination, envelope.subject.as_str());
        let trail = span.traceparent().or_else(|| above.map(Text::from));
        let stored = self.insist(id, envelope, trail.as_deref()).await;
        match &stored {
            Ok(offset) => span.set(SpanKey::Sequence, offset.0),
            Err(PublishError::Closed) => span.fail("closed"),
            Err(PublishError::Full) => span.fail("full"),
            Err(PublishError::TooLarge { .. }) => span.fail("too_large"),
            Err(PublishError::Empty | PublishError::UnknownShard(_)) => span.fail("refused"),
        }
        stored
    }

    /// Puts an envelope into the stream, however often that takes.
    async fn insist(
        &mut self,
        id: ShardId,
        envelope: &Envelope,
        trail: Option<&str>,
    ) -> Result<Offset, PublishError> {
        let shared = Arc::clone(&self.shared);
        let counters = &shared.counters;
        let backoff = Backoff::new(DELAYS[0], DELAYS[1], shared.connection.seed());
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failure = match self.attempt(envelope, trail).await {
                Ok(ack) => return Ok(self.settle(envelope, &ack, attempts > 1)),
                Err(failure) => failure,
            };
            let why = match failure {
                Failure::TooLarge => {
                    return Err(PublishError::TooLarge {
                        events: usize::try_from(envelope.events).unwrap_or(usize::MAX),
                        events_max: 0,
                    });
                }
                Failure::Full(why) => {
                    add(&counters.refused_full, 1);
                    match shared.options.when_full {
                        WhenFull::Block => why,
                        WhenFull::ShedLowestFirst => return Err(PublishError::Full),
                    }
                }
                Failure::Unsure(why) => why,
            };
            if attempts == ATTEMPTS_QUIET {
                warn!(shard = %id, attempts, why, "the stream does not take an envelope; waiting");
            }
            let is_over = tokio::select! {
                () = shared.closed() => true,
                () = sleep(backoff.delay(attempts)) => false,
            };
            if is_over {
                warn!(shard = %id, attempts, why, "closed before an envelope was taken");
                return Err(PublishError::Closed);
            }
            add(&counters.retries, 1);
        }
    }

    async fn attempt(
        &self,
        envelope: &Envelope,
        trail: Option<&str>,
    ) -> Result<PublishAck, Failure> {
        let connection = &self.shared.connection;
        // While it is away the client would queue what we repeat: once is enough.
        if !connection.is_connected() {
            return Err(Failure::Unsure("not connected".to_owned()));
        }
        let mut message = PublishMessage::build()
            .payload(envelope.body.clone())
            .message_id(&envelope.id)
            .expected_stream(&self.shared.stream);
        if let Some(traceparent) = trail {
            message = message.header(TRACEPARENT, traceparent);
        }
        let subject = envelope.subject.clone();
        let sending = async {
            let ack = connection.jetstream().send_publish(subject, message).await?;
            ack.await
        };
        // The client bounds both halves on its own; the wait for a place in its queue it does not.
        match timeout(connection.patience().saturating_mul(2), sending).await {
            Ok(Ok(ack)) => Ok(ack),
            Ok(Err(why)) => Err(judge(&why)),
            Err(_elapsed) => Err(Failure::Unsure("not sent in time".to_owned())),
        }
    }

    /// Enters an envelope that lies in the stream into the books.
    fn settle(&mut self, envelope: &Envelope, ack: &PublishAck, is_retry: bool) -> Offset {
        let Envelope { body, level, events, .. } = envelope;
        let offset = Offset(ack.sequence);
        let counters = &self.shared.counters;
        if ack.duplicate {
            add(&counters.repeated_envelopes, 1);
        }
        // The same content twice is accepted once; our own retry is the first time it is told.
        if ack.duplicate && !is_retry {
            return offset;
        }
        add(&counters.published_envelopes, 1);
        add(&counters.published_events, usize::try_from(*events).unwrap_or(usize::MAX));
        add(&counters.published_bytes, body.len());
        let reservation = &mut self.reservation;
        let mut ledger = reservation.shard.lock();
        match self.shared.options.acknowledge {
            Acknowledge::Keep => ledger.settle_kept(*events),
            Acknowledge::Purge => {
                let held = ledger.settle(offset, *level, *events);
                // Where publishers wait for room, the acknowledgement gives it back; where they do
                // not, what is held counts itself and the reservation is over.
                if reservation.shard.room.is_some() {
                    reservation.events -= held.min(reservation.events);
                } else {
                    let over = (*events).min(reservation.events);
                    ledger.release(over);
                    reservation.events -= over;
                }
            }
        }
        offset
    }
}

/// Says what an answer of the server means.
fn judge(why: &SendError) -> Failure {
    let text = why.to_string();
    match why.kind() {
        PublishErrorKind::MaxPayloadExceeded => Failure::TooLarge,
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => Failure::Unsure(text),
        PublishErrorKind::Other => {
            let api = why.source().and_then(|source| source.downcast_ref::<ApiError>());
            match api.map(ApiError::error_code) {
                // 10077 is "maximum bytes exceeded", and a full disk.
                Some(
                    ErrorCode::STREAM_STORE_FAILED
                    | ErrorCode::STORAGE_RESOURCES_EXCEEDED
                    | ErrorCode::MEMORY_RESOURCES_EXCEEDED
                    | ErrorCode::INSUFFICIENT_RESOURCES,
                ) => Failure::Full(text),
                Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => Failure::TooLarge,
                Some(ErrorCode(_)) | None => Failure::Unsure(text),
            }
        }
    }
}
