//! Test harness: runs the real binary, listens to what it tells, cleans up after it.

pub mod api_server;
mod need;
mod python;
mod tapio;
mod tree;

use serde_json::Value;

pub use need::{Need, is_ci};
pub use python::python_with_opentelemetry;
pub use tapio::{Tapio, command, run, tapio_binary};
pub use tree::{root, rust_files};

/// Returns the text under `field`, or nothing.
#[must_use]
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Says something to whoever watches the tests.
#[expect(clippy::print_stderr, reason = "a test harness reports to people")]
pub fn say(text: &str) {
    eprintln!("{text}");
}
