//! Tasks with an owner and a name.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::{Instrument as _, info_span};

/// Spawns a task whose logs carry `name`.
///
/// The caller owns the handle: dropping it detaches the task, which wants a reason.
pub fn spawn_named<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "the wrapper that everybody else uses")]
    tokio::spawn(future.instrument(info_span!("task", name)))
}
