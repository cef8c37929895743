//! Who wants to know when the traces of a batch have it.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use tapio_wire::EventBatch;

/// Is told once every trace has taken in what a batch brought it.
pub struct TakenIn(Box<dyn FnOnce() + Send>);

impl TakenIn {
    /// Makes one of what is to be done then: on the thread that thinks, so it is short.
    pub fn new(then: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(then))
    }

    /// Says that the traces have it.
    pub fn tell(self) {
        (self.0)();
    }
}

impl fmt::Debug for TakenIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TakenIn")
    }
}

type Watch = Arc<dyn Fn(&EventBatch) -> TakenIn + Send + Sync>;

/// Watchers of the batches that a node takes in. Without any, a batch costs a look at an empty list.
#[derive(Default)]
pub struct IntakeWatch(RwLock<Vec<Watch>>);

impl IntakeWatch {
    /// Has `watch` called with every batch before it is taken in, for as long as the node lives.
    pub fn add(&self, watch: impl Fn(&EventBatch) -> TakenIn + Send + Sync + 'static) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(watch));
    }

    /// Returns who is to be told once the traces of `batch` have it.
    pub(crate) fn begin(&self, batch: &EventBatch) -> Vec<TakenIn> {
        let watches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        watches.iter().map(|watch| watch(batch)).collect()
    }
}

impl fmt::Debug for IntakeWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntakeWatch")
    }
}
