//! What the actors promise beyond the engine: the same stories and cuts as it, whatever panics,
//! however full the queues, and no thread left behind.

mod cuts;
mod ends;
mod limits;
mod mesh;
mod panics;
mod properties;
mod same;
mod support;
mod threads;
mod waits;
