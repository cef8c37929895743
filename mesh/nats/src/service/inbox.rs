//! Listens on one subject, and answers what comes, many at a time.

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::{
    Client, HeaderMap, Message, Subscriber,
    service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Request, endpoint::Endpoint},
};
use futures::{Stream, StreamExt as _, stream::FuturesUnordered};
use tapio_model::{RefusalReason, ShardId};
use tokio::{sync::watch, time::sleep};
use tracing::debug;

use super::{Counter, REQUESTS_MAX};

/// How long to wait for requests that were on their way when listening ended.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Answers requests to the mesh until told to stop, and then those that are under way.
pub(super) async fn of_mesh(
    mut endpoint: Endpoint,
    counter: Arc<Counter>,
    stopped: watch::Receiver<bool>,
) {
    let answer = |request: Request| {
        let counter = &counter;
        async move {
            let served = counter.serve(None, request.message.payload.clone()).await;
            let headers = served.refused.map_or_else(HeaderMap::new, refusal_headers);
            if let Err(error) = request.respond_with_headers(Ok(served.body), headers).await {
                counter.note_unsent(&error);
            }
        }
    };
    answer_all(&mut endpoint, &answer, until(stopped)).await;
    if let Err(error) = endpoint.stop().await {
        debug!(%error, "the endpoint did not stop as it should");
    }
    answer_all(&mut endpoint, &answer, sleep(DRAIN_MAX)).await;
}

/// Answers requests to the owner of a shard, or to whichever node answers first, until told to stop,
/// and then those that are under way.
pub(super) async fn of_shard(
    shard: Option<ShardId>,
    (client, mut subscriber): (Client, Subscriber),
    counter: Arc<Counter>,
    stopped: watch::Receiver<bool>,
) {
    let answer = |message: Message| {
        let (client, counter) = (&client, &counter);
        async move {
            // Without a reply subject nobody waits: there is nothing to be done.
            let Some(to) = message.reply else { return };
            let served = counter.serve(shard, message.payload).await;
            let sent = match served.refused {
                None => client.publish(to, served.body).await,
                Some(reason) => {
                    client.publish_with_headers(to, refusal_headers(reason), served.body).await
                }
            };
            if let Err(error) = sent {
                counter.note_unsent(&error);
            }
        }
    };
    answer_all(&mut subscriber, &answer, until(stopped)).await;
    if let Err(error) = subscriber.drain().await {
        debug!(%error, "the subscription did not end as it should");
    }
    answer_all(&mut subscriber, &answer, sleep(DRAIN_MAX)).await;
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // Whoever could stop it and is gone does not want it to go on.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Answers what comes until the `end`, and then what is under way.
///
/// Works on as much at a time as a node works on at all and the same once more: those beyond are
/// told `busy`, which takes no time. What is beyond that waits in the subscription.
async fn answer_all<T, F: Future<Output = ()>>(
    requests: &mut (impl Stream<Item = T> + Unpin),
    answer: &impl Fn(T) -> F,
    end: impl Future<Output = ()>,
) {
    let mut end = std::pin::pin!(end);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
            request = requests.next(), if under_way.len() < 2 * REQUESTS_MAX => match request {
                Some(request) => under_way.push(answer(request)),
                None => break,
            },
        }
    }
    while under_way.next().await.is_some() {}
}

/// Marks a refusal as NATS services do, beside what its body says.
fn refusal_headers(reason: RefusalReason) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_SERVICE_ERROR, reason.code());
    headers.insert(NATS_SERVICE_ERROR_CODE, reason.status().to_string().as_str());
    headers
}
