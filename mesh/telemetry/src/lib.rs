//! Clock, named tasks and log set-up: what every running part of Tapio needs to be seen by.

mod clock;
mod log;
mod task;

pub use clock::SystemClock;
pub use log::{LogFormat, init_log};
pub use task::spawn_named;
