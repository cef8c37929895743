//! One client's stream: parcels in, answers out, and never more under way than granted.

use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt as _};
use tapio_bus::{Offset, PublishError};
use tapio_wire::{DecodedBatch, decode_batch};
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        mpsc::{self, error::TrySendError},
    },
    time::timeout,
};
use tonic::{Status, Streaming};
use tracing::{debug, warn};

use super::{Shared, account::count};
use crate::protocol::{Answer, Outcome, Parcel};

type Answers = mpsc::Sender<Result<Answer, Status>>;

/// Serves one client until it goes, breaks the rules, or the server leaves.
pub(super) async fn talk(shared: Arc<Shared>, parcels: Streaming<Parcel>, answers: Answers) {
    shared.account.enter(|books| {
        books.streams += 1;
        books.streams_open += 1;
    });
    let mut leaving = shared.leaving.clone();
    let mut talk =
        Talk { shared: &shared, answers, under_way: FuturesUnordered::new(), is_overrun: false };
    let end = {
        let mut parcels = parcels;
        talk.say(Answer::grant(shared.window()));
        loop {
            tokio::select! {
                // What is done first: it makes room.
                biased;
                Some(kept) = talk.under_way.next() => talk.settle(&kept),
                gone = leaving.wait_for(|leaving| *leaving) => {
                    drop(gone);
                    break End::Leaving;
                }
                parcel = parcels.message() => match parcel {
                    Ok(Some(parcel)) if talk.is_within_window() => talk.take(parcel),
                    Ok(Some(_)) => break End::Broken("over_window"),
                    Ok(None) => break End::Gone,
                    Err(status) => break judge(&status),
                },
            }
        }
    };
    talk.end(end).await;
    shared.account.enter(|books| books.streams_open -= 1);
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has gone.
    Gone,
    /// The server is going.
    Leaving,
    /// The client broke the rules.
    Broken(&'static str),
}

/// Says what tonic's refusal of what came means: bytes that are no message, or a lost connection.
fn judge(status: &Status) -> End {
    debug!(%status, "a stream of envelopes has ended");
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => End::Broken("too_large"),
        tonic::Code::Internal if status.message().contains("decode") => End::Broken("malformed"),
        tonic::Code::Ok
        | tonic::Code::Cancelled
        | tonic::Code::Unknown
        | tonic::Code::InvalidArgument
        | tonic::Code::DeadlineExceeded
        | tonic::Code::NotFound
        | tonic::Code::AlreadyExists
        | tonic::Code::PermissionDenied
        | tonic::Code::FailedPrecondition
        | tonic::Code::Aborted
        | tonic::Code::Unimplemented
        | tonic::Code::Internal
        | tonic::Code::Unavailable
        | tonic::Code::DataLoss
        | tonic::Code::Unauthenticated => End::Gone,
    }
}

/// What the sink said to a parcel.
struct Kept {
    sequence: u64,
    events: u64,
    rejected_events: u32,
    outcome: Result<Offset, PublishError>,
}

type Keeping<'a> = futures::future::BoxFuture<'a, Kept>;

struct Talk<'a> {
    shared: &'a Shared,
    answers: Answers,
    under_way: FuturesUnordered<Keeping<'a>>,
    /// Whether the client has sent more than it reads answers to.
    is_overrun: bool,
}

impl Talk<'_> {
    fn is_within_window(&self) -> bool {
        let window = usize::try_from(self.shared.window()).unwrap_or(usize::MAX);
        self.under_way.len() < window && !self.is_overrun
    }

    /// Reads a parcel, and gives it to the sink or refuses it.
    fn take(&mut self, parcel: Parcel) {
        let Parcel { sequence, envelope } = parcel;
        self.shared.account.enter(|books| books.received += 1);
        let (bytes, bytes_max) = (envelope.len(), self.shared.config.envelope_bytes_max);
        if bytes > bytes_max {
            let why = format!("an envelope of {bytes} bytes; this node takes {bytes_max}");
            return self.refuse(sequence, "too_large", &why);
        }
        let DecodedBatch { batch, rejected } = match decode_batch(&envelope) {
            Ok(decoded) => decoded,
            Err(why) => return self.refuse(sequence, why.reason(), &why),
        };
        self.shared.account.enter(|books| {
            for (_, why) in &rejected {
                count(&mut books.rejected_events, why.reason(), 1);
            }
        });
        if batch.events.is_empty() {
            let why = rejected.first().map(|(_, why)| why.to_string());
            let why = why.unwrap_or_else(|| "a batch without events".to_owned());
            return self.refuse(sequence, "empty", &why);
        }
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.shared.room).try_acquire_many_owned(wanted) else {
            self.shared.account.enter(|books| books.busy += 1);
            return self.say(Answer::to(sequence, Outcome::Busy));
        };
        self.shared.account.enter(|books| books.in_flight += 1);
        let kept = Kept {
            sequence,
            events: u64::try_from(batch.events.len()).unwrap_or(u64::MAX),
            rejected_events: u32::try_from(rejected.len()).unwrap_or(u32::MAX),
            outcome: Err(PublishError::Closed),
        };
        let sink = &self.shared.sink;
        self.under_way.push(Box::pin(async move {
            let outcome = sink.keep(batch).await;
            let _room: OwnedSemaphorePermit = room;
            Kept { outcome, ..kept }
        }));
    }

    /// Answers a parcel that the sink has answered.
    fn settle(&mut self, kept: &Kept) {
        let Kept { sequence, events, rejected_events, outcome } = kept;
        self.shared.account.enter(|books| books.in_flight -= 1);
        let (code, why) = match outcome {
            Ok(offset) => {
                self.shared.account.enter(|books| {
                    books.kept += 1;
                    books.kept_events += events;
                });
                return self.say(Answer {
                    offset: offset.0,
                    rejected_events: *rejected_events,
                    ..Answer::to(*sequence, Outcome::Kept)
                });
            }
            Err(PublishError::Full) => {
                self.shared.account.enter(|books| books.busy += 1);
                return self.say(Answer::to(*sequence, Outcome::Busy));
            }
            Err(PublishError::Closed) => {
                self.shared.account.enter(|books| books.leaving += 1);
                return self.say(Answer::to(*sequence, Outcome::Leaving));
            }
            Err(why @ PublishError::Empty) => ("empty", why),
            Err(why @ PublishError::TooLarge { .. }) => ("too_large", why),
            Err(why @ PublishError::UnknownShard(_)) => ("unknown_shard", why),
        };
        self.refuse(*sequence, code, &why);
    }

    fn refuse(&mut self, sequence: u64, code: &'static str, why: &impl ToString) {
        self.shared.account.enter(|books| count(&mut books.refused, code, 1));
        self.say(Answer::refuse(sequence, code, why));
    }

    fn say(&mut self, answer: Answer) {
        // There is room unless the client sends and never reads. One that is gone needs no answer.
        if let Err(TrySendError::Full(_)) = self.answers.try_send(Ok(answer)) {
            self.is_overrun = true;
        }
    }

    /// Waits for what is under way, for as long as a server may take to stop, and says good-bye.
    async fn end(mut self, end: End) {
        if let End::Broken(reason) = end {
            warn!(reason, "a client's stream of envelopes is ended");
            self.shared.account.enter(|books| count(&mut books.broken_streams, reason, 1));
        }
        if end == End::Leaving {
            self.say(Answer { credit: 0, ..Answer::to(0, Outcome::Leaving) });
        }
        let drain = self.shared.drain();
        let finishing = async {
            while let Some(kept) = self.under_way.next().await {
                self.settle(&kept);
            }
        };
        if timeout(drain, finishing).await.is_err() {
            let lost = u64::try_from(self.under_way.len()).unwrap_or(u64::MAX);
            self.shared.account.enter(|books| {
                books.in_flight -= lost;
                books.lost += lost;
            });
            warn!(envelopes = lost, "the sink did not answer; their sender sends them again");
        }
        if let End::Broken(reason) = end {
            let status = Status::invalid_argument(reason);
            drop(self.answers.try_send(Err(status)));
        }
    }
}
