//! Receives OpenTelemetry traces and logs over OTLP: gRPC, and HTTP with protobuf or JSON.
//!
//! A request is acknowledged after the pipeline has taken every event of it, so a sender that got
//! no acknowledgement may send it again: the events' ids repeat.

mod collector;
mod config;
mod grpc;
mod http;
mod intake;
mod json;
mod refusal;
mod translate;

pub use collector::{Bound, OtlpCollector};
pub use config::{Limits, OtlpConfig};
