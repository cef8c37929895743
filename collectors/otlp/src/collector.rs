//! The receiver as a collector.

use std::{fmt::Display, io, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use tapio_collect::{Collector, CollectorError, Outlet, Stop};
use tapio_model::Clock;
use tapio_telemetry::spawn_named;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tracing::{info, warn};

use crate::{Limits, OtlpConfig, grpc, http, intake::Intake};

/// Receives traces and logs over OTLP.
#[derive(Debug)]
pub struct OtlpCollector {
    grpc: TcpListener,
    http: TcpListener,
    clock: Box<dyn Clock>,
    limits: Limits,
}

/// The addresses that a receiver listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// OTLP over gRPC.
    pub grpc: SocketAddr,
    /// OTLP over HTTP.
    pub http: SocketAddr,
}

impl OtlpCollector {
    /// Takes both ports, so that senders may connect before the collector runs.
    ///
    /// `clock` dates log records that carry no time of their own.
    ///
    /// # Errors
    /// [`CollectorError::Absent`] if a port cannot be taken.
    pub async fn bind(
        config: OtlpConfig,
        clock: Box<dyn Clock>,
    ) -> Result<(Self, Bound), CollectorError> {
        let (grpc, grpc_bound) = listen("OTLP over gRPC", config.grpc).await?;
        let (http, http_bound) = listen("OTLP over HTTP", config.http).await?;
        let bound = Bound { grpc: grpc_bound, http: http_bound };
        Ok((Self { grpc, http, clock, limits: config.limits }, bound))
    }
}

async fn listen(
    what: &str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), CollectorError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|error: io::Error| CollectorError::Absent {
        source_name: format!("{what} on {address}"),
        why: error.to_string(),
        cure: cure(error.kind()).into(),
    })
}

fn cure(kind: io::ErrorKind) -> &'static str {
    if kind == io::ErrorKind::AddrInUse {
        "stop what listens there (often an OpenTelemetry Collector) or choose another port"
    } else if kind == io::ErrorKind::PermissionDenied {
        "choose a port above 1023"
    } else {
        "choose an address of this machine"
    }
}

#[async_trait]
impl Collector for OtlpCollector {
    fn name(&self) -> &'static str {
        "otlp"
    }

    async fn run(self: Box<Self>, outlet: Outlet, mut stop: Stop) -> Result<(), CollectorError> {
        let limits = self.limits;
        let intake = Arc::new(Intake::new(outlet, self.clock, limits));
        info!(grpc = ?self.grpc.local_addr().ok(), http = ?self.http.local_addr().ok(), "OTLP listens");
        let mut grpc = Task(spawn_named(
            "otlp-grpc",
            grpc::serve(self.grpc, Arc::clone(&intake), until(stop.clone())),
        ));
        let mut http =
            Task(spawn_named("otlp-http", http::serve(self.http, intake, until(stop.clone()))));
        tokio::select! {
            biased;
            () = stop.stopped() => {}
            ended = &mut grpc.0 => return Err(broken("OTLP over gRPC", ended)),
            ended = &mut http.0 => return Err(broken("OTLP over HTTP", ended)),
        }
        let drained = timeout(limits.stop_time_max, async {
            let grpc_ended = (&mut grpc.0).await;
            let http_ended = (&mut http.0).await;
            (grpc_ended, http_ended)
        });
        if drained.await.is_err() {
            warn!("open requests were cut off; their senders have no acknowledgement");
        }
        Ok(())
    }
}

async fn until(mut stop: Stop) {
    stop.stopped().await;
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn broken<E: Display>(
    what: &str,
    ended: Result<Result<(), E>, tokio::task::JoinError>,
) -> CollectorError {
    let why = match ended {
        Ok(Ok(())) => "the server ended".into(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    CollectorError::Broken { source_name: what.into(), why }
}
