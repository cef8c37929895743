//! A future that runs on an arbiter, in the hands of somebody elsewhere.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

/// The future is gone without a result: it panicked, or its arbiter ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped without a result")]
pub struct Stopped;

/// A future that runs on an arbiter. Dropping this drops the future there, and with it what it owns.
///
/// # Cancel safety
/// Waiting for the result may be dropped only by dropping the future too; `&mut` waits safely.
#[derive(Debug)]
#[must_use = "dropping it stops the future"]
pub struct Hosted<T> {
    result: oneshot::Receiver<T>,
    hold: Option<oneshot::Sender<()>>,
}

impl<T> Hosted<T> {
    /// Makes what holds a future, and what is to run it.
    pub(super) fn pair() -> (Self, Run<T>) {
        let (hold, held) = oneshot::channel();
        let (done, result) = oneshot::channel();
        (Self { result, hold: Some(hold) }, Run { held, done })
    }

    /// Drops the future and waits until it is gone. Returns its result if it was done before.
    pub async fn stop(mut self) -> Option<T> {
        self.hold = None;
        self.result.await.ok()
    }
}

impl<T> Future for Hosted<T> {
    type Output = Result<T, Stopped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(cx).map(|result| result.map_err(|_dropped| Stopped))
    }
}

/// Runs a future for as long as it is held.
#[derive(Debug)]
pub(super) struct Run<T> {
    held: oneshot::Receiver<()>,
    done: oneshot::Sender<T>,
}

impl<T> Run<T> {
    pub(super) async fn run(self, future: impl Future<Output = T>) {
        let Self { held, done } = self;
        tokio::select! {
            biased;
            _ = held => {}
            result = future => drop(done.send(result)),
        }
    }
}
