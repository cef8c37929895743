//! How Tapio is seen: metrics, its own traces, logs, named tasks, and the clock.
//!
//! # Metrics
//! Components keep their own counters. They register observers with [`Meters`], which asks them
//! when somebody looks: `/metrics` as Prometheus text, and OTLP, from the same source. Every name
//! is a [`Metric`], every label a [`Label`]: no typo becomes a dashboard, no data a label.
//!
//! # Traces
//! [`Telemetry::start`] makes spans along the way of a batch: `publish`, `process`, `commit`,
//! `tell`. The `traceparent` header carries the trace from one process to the next. Whoever is off
//! or not sampled pays one comparison and no allocation.
//!
//! # Logs
//! [`init_log`] writes to standard error, for people or as JSON lines. Three fields correlate
//! lines, and each is always written like this:
//!
//! | field | on | example |
//! |---|---|---|
//! | `node` | everything a node does; [`init_node_log`] sets it for a whole process | `node-2` |
//! | `shard` | everything done as the owner of a shard | `17` |
//! | `trace_id` | whatever belongs to one of Tapio's own traces: [`OwnSpan::trace_id`] | 32 digits |
//!
//! They are fields of the event, or of a `tracing` span around it: in JSON both come out at the top
//! of the line, the innermost span wins and the event wins over all.

mod clock;
mod label;
mod log;
mod meters;
mod metric;
mod observed;
mod span;
mod task;

pub use clock::SystemClock;
pub use label::{
    Account, CommitResult, EnvelopeFate, FindingFate, Label, LabelKey, Labels, Loss, NatsErrorKind,
    RequestOp, RequestResult, SpanFate,
};
pub use log::{LogFormat, init_log, init_node_log};
pub use meters::{Counter, Histogram, Meters, Observer, Reading, Sheet};
pub use metric::{Metric, MetricKind, Unit};
pub use observed::{ObserveConfig, ObserveError, Observed, OtlpProtocol};
pub use span::{OwnSpan, SpanKey, SpanName, SpanValue, Telemetry};
pub use task::spawn_named;
