//! Stopping and ending the tasks of a simulated node, whatever they are doing.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::task::AbortHandle;
use tracing::info;

use super::{
    step::{Moment, Step},
    world::World,
};

/// When a node is to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fuse {
    pub(super) step: Step,
    pub(super) moment: Moment,
    /// How often it still passes the step, this time included.
    pub(super) passes: u32,
}

/// The switch of one boot of one node.
#[derive(Debug)]
pub(super) struct Gate {
    world: Arc<World>,
    is_paused: AtomicBool,
    is_dead: AtomicBool,
    is_cut_off: AtomicBool,
    fuses: Mutex<Vec<Fuse>>,
    wakers: Mutex<Vec<Waker>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Gate {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self {
            world,
            is_paused: AtomicBool::default(),
            is_dead: AtomicBool::default(),
            is_cut_off: AtomicBool::default(),
            fuses: Mutex::default(),
            wakers: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// Stops every task where it stands, as SIGSTOP does.
    pub(super) fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
    }

    /// Lets every task go on.
    pub(super) fn resume(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends every task where it stands, as SIGKILL does.
    pub(super) fn kill(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *lock(&self.tasks));
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

    /// Sets a fuse, beside those that are set.
    pub(super) fn set_fuse(&self, fuse: Fuse) {
        lock(&self.fuses).push(fuse);
    }

    /// Passes one side of a step, if the node lives to tell. A dead node's call never returns.
    pub(super) async fn pass(&self, step: Step, moment: Moment) {
        if self.is_over_at(step, moment) && !self.is_dead() {
            info!(step = step.name(), ?moment, "a process ends");
            self.world.middle().coverage.note(step, moment);
            self.kill();
        }
        if self.is_dead() {
            pending::<()>().await;
        }
    }

    fn is_over_at(&self, step: Step, moment: Moment) -> bool {
        let mut is_over = false;
        for fuse in lock(&self.fuses).iter_mut() {
            if (fuse.step, fuse.moment) == (step, moment) {
                fuse.passes = fuse.passes.saturating_sub(1);
                is_over |= fuse.passes == 0;
            }
        }
        is_over
    }

    /// Runs a task of the node behind the gate.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + 'static) {
        let gated = Gated { gate: Arc::clone(self), task: Box::pin(task) };
        let handle = tokio::task::spawn_local(gated);
        lock(&self.tasks).push(handle.abort_handle());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            lock(&self.gate.wakers).push(context.waker().clone());
            return Poll::Pending;
        }
        self.task.as_mut().poll(context)
    }
}
