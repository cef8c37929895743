//! The local HTTP interface: status, stories, evidence and the stream, on a Unix socket.

mod routes;
mod socket;

use std::{path::Path, sync::Arc, time::Duration};

use tapio_telemetry::spawn_named;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tracing::warn;

use crate::{
    status::{NodeState, StatusSource},
    tell::Tellings,
};

pub use socket::ServeError;
use socket::Socket;

/// How long answers under way may take once the interface is told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// The running interface. Dropping it ends it and removes its socket.
#[derive(Debug)]
pub(crate) struct ApiServer {
    socket: Socket,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl ApiServer {
    /// Listens on `path` and answers there.
    pub(crate) async fn start(
        path: &Path,
        state: Arc<NodeState>,
        tellings: Tellings,
        collectors: StatusSource,
    ) -> Result<Self, ServeError> {
        let (socket, listener) = Socket::bind(path).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = routes::router(state, tellings, collectors);
        let task = spawn_named("api", async move {
            // Dropped or sent, both mean stop.
            let stopped = async move { drop(stopped.await) };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await
            {
                warn!(%error, "the local interface ended");
            }
        });
        Ok(Self { socket, stop: Some(stop), task })
    }

    /// Lets answers under way finish, for a moment, then ends and removes the socket.
    pub(crate) async fn stop(mut self) {
        self.socket.remove();
        drop(self.stop.take());
        if timeout(DRAIN, &mut self.task).await.is_err() {
            warn!("somebody did not read their answer in time");
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
