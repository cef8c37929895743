//! A system of actors on threads of its own.

use std::{io, thread, time::Duration};

use actix::{Arbiter, System};
use tokio::{sync::oneshot, time::timeout};

/// Stops a system of actors when it is dropped, even unread.
#[derive(Debug)]
pub(crate) struct Stopper(System);

impl Stopper {
    /// Holds the system of whoever calls it.
    pub(crate) fn current() -> Self {
        Self(System::current())
    }

    pub(crate) fn stop(&self) {
        self.0.stop();
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread that a system of actors runs on, which ends after those of its arbiters, once the
/// [`Stopper`] was dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    thread: Option<thread::JoinHandle<()>>,
    ended: oneshot::Receiver<()>,
}

impl Threads {
    /// Starts a system and `start` in it, which says whether there is something to run. Arbiters are
    /// stopped and waited for also if not everything could be started.
    pub(crate) fn start(
        start: impl AsyncFnOnce(&mut Vec<Arbiter>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("actors".into()).spawn(move || {
            let system = System::new();
            let mut arbiters = Vec::new();
            if system.block_on(start(&mut arbiters)) {
                // An exit code other than zero is impossible: nobody stops with one.
                drop(system.run());
            }
            for arbiter in arbiters {
                arbiter.stop();
                drop(arbiter.join());
            }
            end.send(()).unwrap_or_default();
        })?;
        Ok(Self { thread: Some(thread), ended })
    }

    /// Waits until every thread has ended.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }

    /// Says whether every thread has ended within `limit`.
    pub(crate) async fn ended_within(mut self, limit: Duration) -> bool {
        timeout(limit, &mut self.ended).await.is_ok()
    }
}
