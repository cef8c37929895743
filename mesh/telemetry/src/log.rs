//! Structured logs on standard error; standard output belongs to stories.

mod json;

use std::io;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use json::JsonLines;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. A second call changes nothing.
///
/// `filter` is a level or a `tracing` directive such as `info,tapio_collect_host=debug`; what
/// cannot be read falls back to `warn`.
pub fn init_log(filter: &str, format: LogFormat) {
    init(filter, format, None);
}

/// Starts logging to standard error, for a process that is one node of a mesh: every JSON line
/// carries `node`. A second call changes nothing.
pub fn init_node_log(filter: &str, format: LogFormat, node: &str) {
    init(filter, format, Some(node));
}

fn init(filter: &str, format: LogFormat, node: Option<&str>) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    // An error means that a subscriber is set already, as in a test: that one stays.
    drop(match format {
        LogFormat::Text => {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init()
        }
        LogFormat::Json => {
            let lines = JsonLines::new(io::stderr, node);
            tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(Into::into)
        }
    });
}
