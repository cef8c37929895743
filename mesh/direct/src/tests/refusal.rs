//! What a server refuses, and what it goes on taking.

use bytes::Bytes;
use tapio_bus::{Bus as _, PublishError};
use tapio_model::ShardId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;

use super::{GateSink, batch, envelope, id, serve};
use crate::{
    BusSink, DirectBus, DirectConfig, DirectError, DirectServer, ServeConfig, Sink as _,
    protocol::{Answer, Outcome, PUBLISH, Parcel},
};

type Failure = Box<dyn std::error::Error>;

/// A client that says whatever it is told to say.
async fn raw(
    server: &DirectServer,
    path: &'static str,
) -> Result<(mpsc::Sender<Parcel>, Streaming<Answer>), Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address()))?;
    let mut grpc = Grpc::new(endpoint.connect().await?);
    grpc.ready().await?;
    let (parcels, sending) = mpsc::channel(64);
    let codec: ProstCodec<Parcel, Answer> = ProstCodec::default();
    let request = tonic::Request::new(ReceiverStream::new(sending));
    let answers = grpc.streaming(request, PathAndQuery::from_static(path), codec).await?;
    Ok((parcels, answers.into_inner()))
}

fn parcel(sequence: u64, envelope: impl Into<Bytes>) -> Parcel {
    Parcel { sequence, envelope: envelope.into() }
}

#[tokio::test]
async fn bad_envelopes_are_refused_by_reason_and_the_next_is_taken() {
    let sink = GateSink::new(true);
    let config = ServeConfig { envelope_bytes_max: 4_096, ..ServeConfig::default() };
    let server = serve(&sink, config).await.unwrap();
    let (parcels, mut answers) = raw(&server, PUBLISH).await.unwrap();
    let grant = answers.message().await.unwrap().unwrap();
    assert_eq!((grant.outcome(), grant.credit), (Outcome::Grant, 64));
    let good = envelope(batch(7));
    let (mut newer, mut cut) = (good.clone(), good.clone());
    newer[0] = 9;
    cut.truncate(good.len() / 2);
    let table: [(&[u8], &str); 5] = [
        (&[], "empty"),
        (&newer, "unknown_version"),
        (&cut, "malformed"),
        (b"\x01GET / HTTP/1.1", "malformed"),
        (&vec![1; 5_000], "too_large"),
    ];
    for (number, (bytes, code)) in (1..).zip(table) {
        parcels.send(parcel(number, bytes.to_vec())).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.sequence, answer.outcome()), (number, Outcome::Refused), "{answer:?}");
        assert_eq!((answer.code.as_str(), answer.credit), (code, 1), "{answer:?}");
        assert!(!answer.why.is_empty());
    }
    parcels.send(parcel(6, good)).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().outcome(), Outcome::Kept);
    assert!(sink.kept().contains_key(&id(7)));
    let figures = server.figures();
    let refused: Vec<_> = figures.refused.into_iter().collect();
    let expected = [("empty", 1), ("malformed", 2), ("too_large", 1), ("unknown_version", 1)];
    assert_eq!(refused, expected);
    assert_eq!((figures.received, figures.kept), (6, 1));
}

#[tokio::test]
async fn who_breaks_the_rules_loses_the_stream_and_nobody_else_does() {
    let sink = GateSink::new(false);
    let config = ServeConfig { window: 2, envelope_bytes_max: 2_048, ..ServeConfig::default() };
    let server = serve(&sink, config).await.unwrap();
    let (greedy, mut answers) = raw(&server, PUBLISH).await.unwrap();
    for number in 1..=3 {
        greedy.send(parcel(number, envelope(batch(number)))).await.unwrap();
    }
    sink.has_come(2).await;
    sink.open();
    let mut last = None;
    while let Ok(Some(answer)) = answers.message().await {
        last = Some(answer);
    }
    assert!(last.is_some(), "what it had is answered all the same");
    // Larger than anything that is read at all.
    let (huge, mut answers) = raw(&server, PUBLISH).await.unwrap();
    huge.send(parcel(1, vec![1; 10_000])).await.unwrap();
    while let Ok(Some(_)) = answers.message().await {}
    let (honest, mut answers) = raw(&server, PUBLISH).await.unwrap();
    honest.send(parcel(1, envelope(batch(9)))).await.unwrap();
    answers.message().await.unwrap().unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().outcome(), Outcome::Kept);
    let broken: Vec<_> = server.figures().broken_streams.into_iter().collect();
    assert_eq!(broken, [("over_window", 1), ("too_large", 1)]);
}

#[tokio::test]
async fn a_client_hears_why_in_the_words_of_the_port() {
    let shard = ShardId::new(0);
    let refusals = [
        PublishError::UnknownShard(shard),
        PublishError::Empty,
        PublishError::TooLarge { events: 1, events_max: 0 },
    ];
    for why in refusals {
        let sink = GateSink::refusing(why);
        let server = serve(&sink, ServeConfig::default()).await.unwrap();
        let config = DirectConfig::to([server.address().to_string()]);
        let bus = DirectBus::start(config).unwrap();
        assert_eq!(bus.publish(batch(1)).await, Err(why));
        assert_eq!(bus.figures().refused.values().sum::<u64>(), 1);
    }
}

#[tokio::test]
async fn a_trace_of_another_shard_is_not_kept() {
    use tapio_bus::{MemoryBus, MemoryBusLimits};
    use tapio_shard::ShardCount;

    let shards = ShardCount::new(64);
    let limits = MemoryBusLimits { shards, ..MemoryBusLimits::default() };
    let sink = BusSink::new(std::sync::Arc::new(MemoryBus::new(limits)), shards);
    let right = shards.shard_of(batch(1).events[0].trace.trace_id);
    for number in [right.number(), (right.number() + 1) % 64] {
        let super::Batch { level, time, events, .. } = batch(1);
        let shard = ShardId::new(number);
        let kept = sink.keep(tapio_wire::EventBatch { shard, level, time, events }).await;
        assert_eq!(kept.is_ok(), shard == right, "{kept:?}");
    }
}

#[tokio::test]
async fn another_method_is_unknown() {
    let server = serve(&GateSink::new(true), ServeConfig::default()).await.unwrap();
    let refused = raw(&server, "/tapio.direct.v1.Direct/Subscribe").await.unwrap_err();
    assert!(refused.to_string().contains("one method: Publish"), "{refused}");
}

#[tokio::test]
async fn addresses_that_are_none_are_named() {
    let none = DirectBus::start(DirectConfig::default()).unwrap_err();
    assert_eq!(none, DirectError::NoAddress);
    for bad in ["", "host", "host:", ":1", "http://host:1", "host:70000"] {
        let refused = DirectBus::start(DirectConfig::to([bad])).unwrap_err();
        assert_eq!(refused, DirectError::Address { address: bad.to_owned() });
    }
    let nobody = DirectBus::probe(&DirectConfig::to(["127.0.0.1:1"])).await.unwrap_err();
    assert!(nobody.to_string().contains("is it running with --direct?"), "{nobody}");
}
