//! One attempt at one address, and what it ended with.

use std::{collections::VecDeque, fmt};

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    DirectConfig, DirectError,
    protocol::{Answer, Outcome, PUBLISH, Parcel},
};

/// Parcels between the link and the socket: enough that the next is there when one has left.
const SENDING_MAX: usize = 4;

/// Bytes of an answer: some numbers and a reason in words.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A stream to a node, with what it granted at first.
pub(super) struct Session {
    pub(super) address: String,
    pub(super) parcels: mpsc::Sender<Parcel>,
    pub(super) answers: Streaming<Answer>,
    pub(super) credit: u32,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The addresses, the one whose turn it is first.
#[derive(Debug)]
pub(super) struct Nodes {
    turn: VecDeque<String>,
    config: DirectConfig,
}

impl Nodes {
    /// Checks the addresses.
    pub(super) fn new(config: &DirectConfig) -> Result<Self, DirectError> {
        let turn: VecDeque<_> =
            config.addresses.iter().map(|address| address.trim().to_owned()).collect();
        if turn.is_empty() {
            return Err(DirectError::NoAddress);
        }
        let nodes = Self { turn, config: config.clone() };
        nodes.turn.iter().try_for_each(|address| nodes.endpoint(address).map(drop))?;
        Ok(nodes)
    }

    /// Tries the address whose turn it is; it is the next one's turn then.
    pub(super) async fn connect_next(&mut self) -> Result<Session, DirectError> {
        self.turn.rotate_left(1);
        let address = self.turn.back().cloned().ok_or(DirectError::NoAddress)?;
        let late = || DirectError::Unreachable {
            address: address.clone(),
            why: format!("no answer within {:?}", self.config.patience),
        };
        // Boxed: the client's futures are large.
        let attempt = timeout(self.config.patience, Box::pin(self.connect(&address))).await;
        attempt.map_err(|_elapsed| late())?
    }

    async fn connect(&self, address: &str) -> Result<Session, DirectError> {
        let mut endpoint = self.endpoint(address)?;
        if let Some(tls) = &self.config.tls {
            let tls = tls.load().await?;
            endpoint = endpoint
                .tls_config(tls)
                .map_err(|error| DirectError::connecting(address, &error))?;
        }
        let channel = endpoint.connect().await;
        let channel = channel.map_err(|error| DirectError::connecting(address, &error))?;
        let refused = |why: Status| refused(address, &why);
        let (parcels, sending) = mpsc::channel(SENDING_MAX);
        let mut answers = open(channel, sending).await.map_err(refused)?;
        let first = answers.message().await.map_err(refused)?;
        match first {
            Some(first) if first.outcome() == Outcome::Grant && first.credit > 0 => {
                Ok(Session { address: address.to_owned(), parcels, answers, credit: first.credit })
            }
            Some(_) | None => Err(DirectError::Refused {
                address: address.to_owned(),
                why: "it did not begin with a grant".to_owned(),
            }),
        }
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, DirectError> {
        let wrong = || DirectError::Address { address: address.to_owned() };
        let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
        });
        if !has_port {
            return Err(wrong());
        }
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"));
        Ok(endpoint
            .map_err(|_invalid| wrong())?
            .connect_timeout(self.config.patience)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.config.keepalive)
            .keep_alive_timeout(self.config.keepalive)
            .keep_alive_while_idle(true))
    }
}

async fn open(
    channel: Channel,
    sending: mpsc::Receiver<Parcel>,
) -> Result<Streaming<Answer>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let not_ready =
        |error: tonic::transport::Error| Status::unavailable(crate::error::chain(&error));
    grpc.ready().await.map_err(not_ready)?;
    let codec: ProstCodec<Parcel, Answer> = ProstCodec::default();
    let request = Request::new(ReceiverStream::new(sending));
    let path = PathAndQuery::from_static(PUBLISH);
    Ok(grpc.streaming(request, path, codec).await?.into_inner())
}

/// Says what a status in place of a stream means. A server that wants a certificate says so only
/// after the handshake, when the first request is under way.
fn refused(address: &str, status: &Status) -> DirectError {
    let text = crate::error::chain(status);
    match DirectError::connecting(address, status) {
        error @ (DirectError::Tls { .. } | DirectError::Untrusted { .. }) => error,
        DirectError::Unreachable { .. }
        | DirectError::NoAddress
        | DirectError::Address { .. }
        | DirectError::File { .. }
        | DirectError::Refused { .. }
        | DirectError::Listen { .. } => {
            DirectError::Refused { address: address.to_owned(), why: text }
        }
    }
}
