//! The service as tonic wants it: what a generator would write, by hand.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use tapio_telemetry::spawn_named;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;

use super::{Shared, account::count, stream};
use crate::protocol::{Answer, PUBLISH, Parcel, SERVICE};

/// The service of all connections.
#[derive(Debug, Clone)]
pub(super) struct DirectService {
    shared: Arc<Shared>,
}

impl DirectService {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl NamedService for DirectService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for DirectService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PUBLISH {
            let unknown = Status::unimplemented(format!("{SERVICE} has one method: Publish"));
            return Box::pin(ready(Ok(unknown.into_http())));
        }
        let publish = Publish { shared: Arc::clone(&self.shared) };
        // The envelope and its number. What is larger than an envelope may be is refused with a
        // reason while it fits into twice that; beyond, it is not read, and the stream ends.
        let bytes_max = self.shared.config.envelope_bytes_max.saturating_mul(2).max(1 << 10);
        Box::pin(async move {
            let codec: ProstCodec<Answer, Parcel> = ProstCodec::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(bytes_max);
            Ok(grpc.streaming(publish, request).await)
        })
    }
}

/// The method.
struct Publish {
    shared: Arc<Shared>,
}

impl Service<Request<Streaming<Parcel>>> for Publish {
    type Response = Response<ReceiverStream<Result<Answer, Status>>>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Parcel>>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        if *shared.leaving.borrow() {
            return ready(Err(Status::unavailable("this node is leaving")));
        }
        let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
            shared.account.enter(|books| count(&mut books.broken_streams, "too_many_streams", 1));
            return ready(Err(Status::resource_exhausted("this node has no room for a stream")));
        };
        // The grant, an answer for each parcel of the window, and one that says good-bye: a client
        // that keeps to its window always leaves room for the next.
        let (answers, answered) = mpsc::channel(shared.window() as usize + 2);
        let talk = stream::talk(shared, request.into_inner(), answers);
        // Its own task, so that a client that goes away leaves what the sink has begun to end.
        drop(spawn_named("direct stream", async move {
            talk.await;
            drop(place);
        }));
        ready(Ok(Response::new(ReceiverStream::new(answered))))
    }
}
