//! The server: listens, bounds what is on its way, and stops without losing any of it.

mod account;
mod service;
mod stream;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tapio_telemetry::spawn_named;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};
use tonic::transport::{Server, server::TcpIncoming};
use tracing::{error, warn};

pub use self::account::ServeFigures;
use self::{account::Account, service::DirectService};
use crate::{DirectError, ServeConfig, Sink, error::chain};

/// What all streams of a server share.
#[derive(Debug)]
struct Shared {
    sink: Arc<dyn Sink>,
    config: ServeConfig,
    account: Account,
    /// Bytes that may still come on their way to the sink.
    room: Arc<Semaphore>,
    /// Streams that may still be opened.
    streams: Arc<Semaphore>,
    /// Whether the server is leaving.
    leaving: watch::Receiver<bool>,
}

/// A running server. Dropping it stops listening and cuts off who is there: clients send again,
/// elsewhere, what was not acknowledged.
#[derive(Debug)]
pub struct DirectServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    leave: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl DirectServer {
    /// Listens on `address`, and gives what comes to `sink`.
    ///
    /// # Errors
    /// [`DirectError::Listen`] and [`DirectError::File`].
    pub async fn start(
        address: SocketAddr,
        sink: Arc<dyn Sink>,
        config: ServeConfig,
    ) -> Result<Self, DirectError> {
        let refused = |why: String| DirectError::Listen { address, why };
        let mut server = Server::builder()
            .http2_keepalive_interval(Some(config.keepalive))
            .http2_keepalive_timeout(Some(config.keepalive));
        if let Some(tls) = &config.tls {
            let tls = tls.load().await?;
            server = server.tls_config(tls).map_err(|error| DirectError::File {
                path: "the certificate or its key".to_owned(),
                why: chain(&error),
            })?;
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| refused(error.to_string()))?;
        let bound = listener.local_addr().map_err(|error| refused(error.to_string()))?;
        let (leave, leaving) = watch::channel(false);
        let shared = Arc::new(Shared::new(sink, config, leaving.clone()));
        let service = DirectService::new(Arc::clone(&shared));
        let stopped = async move {
            let mut leaving = leaving;
            // An error means that the handle is gone, which ends the server as well.
            drop(leaving.wait_for(|leaving| *leaving).await);
        };
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving = server.add_service(service).serve_with_incoming_shutdown(incoming, stopped);
        let task = spawn_named("direct server", async move {
            if let Err(why) = serving.await {
                error!(why = chain(&why), "envelopes are no longer taken");
            }
        });
        Ok(Self { address: bound, shared, leave, task })
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the figures of this moment.
    #[must_use]
    pub fn figures(&self) -> ServeFigures {
        self.shared.account.snapshot()
    }

    /// Returns a function that returns the figures of its moment, for whoever shows them.
    pub fn meter(&self) -> impl Fn() -> ServeFigures + Clone + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.account.snapshot()
    }

    /// Takes nothing new, waits until what is on its way to the sink is kept and answered, and ends.
    ///
    /// # Shape
    /// At most `drain` of the configuration; clients send again what it cuts off.
    pub async fn stop(mut self) -> ServeFigures {
        self.leave.send_replace(true);
        let drain = self.shared.config.drain;
        if timeout(drain, &mut self.task).await.is_err() {
            warn!(?drain, "envelopes were still on their way; their senders send them again");
        }
        self.shared.account.snapshot()
    }
}

impl Drop for DirectServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn new(sink: Arc<dyn Sink>, config: ServeConfig, leaving: watch::Receiver<bool>) -> Self {
        // A single envelope must have room, and a semaphore's is bounded.
        let most = Semaphore::MAX_PERMITS.min(usize::try_from(u32::MAX).unwrap_or(usize::MAX));
        let room = config.in_flight_bytes_max.max(config.envelope_bytes_max).min(most);
        Self {
            account: Account::default(),
            room: Arc::new(Semaphore::new(room)),
            streams: Arc::new(Semaphore::new(config.streams_max.clamp(1, most))),
            sink,
            config,
            leaving,
        }
    }

    /// Returns how many envelopes a client may have unacknowledged.
    fn window(&self) -> u32 {
        // Without one nothing would ever be sent; more than this only takes memory.
        const WINDOW_MAX: u32 = 65_536;
        self.config.window.clamp(1, WINDOW_MAX)
    }

    /// Returns how long a stream may take to end once its client is gone.
    const fn drain(&self) -> Duration {
        self.config.drain
    }
}
