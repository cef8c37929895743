//! What the actors promise beyond the engine: the same stories as the ring, whatever panics,
//! however full the queues, and no thread left behind.

mod ends;
mod limits;
mod panics;
mod properties;
mod same;
mod support;
mod threads;
mod waits;
