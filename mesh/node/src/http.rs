//! The HTTP interface on TCP: `/livez` and `/readyz` for the kubelet, `/metrics` for Prometheus.

mod listener;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tapio_telemetry::{Meters, spawn_named};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use tracing::warn;

use listener::BoundedListener;

/// How long answers under way may take once the interface is told to stop.
const DRAIN: Duration = Duration::from_secs(2);

const PATHS: &str = "no such path: ask for /livez, /readyz or /metrics\n";

/// How something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Ok,
    /// Not so.
    No {
        /// Why, for people; not empty.
        reasons: Vec<String>,
    },
}

impl Health {
    /// Makes it from what is wrong: nothing is fine.
    #[must_use]
    pub fn from_reasons(reasons: Vec<String>) -> Self {
        if reasons.is_empty() { Self::Ok } else { Self::No { reasons } }
    }
}

/// Knows how a process is. Asked on a task: answers at once.
pub trait HealthSource: Send + Sync + fmt::Debug {
    /// Says whether to go on. A no gets the process killed, so it is for what only a restart
    /// mends; never for somebody else's failure, which a restart of all of us makes worse.
    fn live(&self) -> Health;

    /// Says whether work may be sent here now.
    fn ready(&self) -> Health;
}

/// Why the HTTP interface cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another process listens there.
    #[error("another process listens on {addr}; stop it, or name another port")]
    PortTaken {
        /// The address.
        addr: SocketAddr,
    },
    /// Not for us.
    #[error("may not listen on {addr}; name a port of 1024 or above")]
    Denied {
        /// The address.
        addr: SocketAddr,
    },
    /// Not here.
    #[error("this machine has no address {}; listen on 0.0.0.0 or ::", addr.ip())]
    NoSuchAddress {
        /// The address.
        addr: SocketAddr,
    },
    /// The system refused.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl HttpError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system has more errors than cures")]
    fn new(addr: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken { addr },
            io::ErrorKind::PermissionDenied => Self::Denied { addr },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { addr },
            _ => Self::Listen { addr, source },
        }
    }
}

/// The running interface. Dropping it ends it.
#[derive(Debug)]
pub struct HttpServer {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl HttpServer {
    /// Listens on `addr` and answers there; with port 0 on one that the system picks.
    ///
    /// # Errors
    /// [`HttpError`] if nobody can listen there.
    pub async fn start(
        addr: SocketAddr,
        health: Arc<dyn HealthSource>,
        meters: Meters,
    ) -> Result<Self, HttpError> {
        let refused = |source| HttpError::new(addr, source);
        let listener = TcpListener::bind(addr).await.map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        let listener = BoundedListener::new(listener);
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router(health, meters);
        let task = spawn_named("http", async move {
            // Dropped or sent, both mean stop.
            let stopped = async move { drop(stopped.await) };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await
            {
                warn!(%error, "the http interface ended");
            }
        });
        Ok(Self { addr, stop: Some(stop), task })
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets answers under way finish, for a moment, then ends.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if timeout(DRAIN, &mut self.task).await.is_err() {
            warn!("somebody did not read their answer in time");
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone)]
struct Desk {
    health: Arc<dyn HealthSource>,
    meters: Meters,
}

fn router(health: Arc<dyn HealthSource>, meters: Meters) -> Router {
    let live = async |State(desk): State<Desk>, RawQuery(query): RawQuery| {
        answer(desk.health.live(), query.as_deref())
    };
    let ready = async |State(desk): State<Desk>, RawQuery(query): RawQuery| {
        answer(desk.health.ready(), query.as_deref())
    };
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, PATHS))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, "nothing here can be changed: use GET\n")
        })
        .with_state(Desk { health, meters })
}

/// How something is, as JSON.
#[derive(Debug, Serialize)]
struct Verbose {
    ok: bool,
    reasons: Vec<String>,
}

fn answer(health: Health, query: Option<&str>) -> Response {
    let (status, reasons) = match health {
        Health::Ok => (StatusCode::OK, Vec::new()),
        Health::No { reasons } => (StatusCode::SERVICE_UNAVAILABLE, reasons),
    };
    let ok = status.is_success();
    let mut pairs = query.unwrap_or_default().split('&');
    if pairs.any(|pair| pair == "verbose" || pair.starts_with("verbose=")) {
        return (status, Json(Verbose { ok, reasons })).into_response();
    }
    let text = if ok { "ok\n".to_owned() } else { format!("no: {}\n", reasons.join("; ")) };
    (status, text).into_response()
}

async fn metrics(State(desk): State<Desk>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, desk.meters.prometheus())
}

#[cfg(test)]
mod tests;
