//! Stopping and ending the tasks of a simulated node, whatever they are doing.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::task::AbortHandle;

/// The switch of one boot of one node.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_paused: AtomicBool,
    is_dead: AtomicBool,
    is_cut_off: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Gate {
    /// Stops every task where it stands, as SIGSTOP does.
    pub(super) fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
    }

    /// Lets every task go on.
    pub(super) fn resume(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
        let wakers = std::mem::take(&mut *self.lock_wakers());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends every task where it stands, as SIGKILL does.
    pub(super) fn kill(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(AbortHandle::abort);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// Cuts the node off from the middle, or joins it again.
    pub(super) fn cut_off(&self, is_cut_off: bool) {
        self.is_cut_off.store(is_cut_off, Ordering::Relaxed);
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.is_cut_off.load(Ordering::Relaxed)
    }

    fn lock_wakers(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task of the node behind the gate.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + 'static) {
        let gated = Gated { gate: Arc::clone(self), task: Box::pin(task) };
        let handle = tokio::task::spawn_local(gated);
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(handle.abort_handle());
    }
}

struct Gated {
    gate: Arc<Gate>,
    task: Pin<Box<dyn Future<Output = ()>>>,
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.gate.is_dead() {
            return Poll::Ready(());
        }
        if self.gate.is_paused.load(Ordering::Relaxed) {
            self.gate.lock_wakers().push(context.waker().clone());
            return Poll::Pending;
        }
        self.task.as_mut().poll(context)
    }
}
