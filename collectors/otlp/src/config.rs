//! Where the receiver listens, and how much it takes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Where the receiver listens, and how much it takes.
///
/// The defaults listen on the loopback address only: OTLP has no notion of who may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    /// Address for OTLP over gRPC; port 0 takes any free one.
    pub grpc: SocketAddr,
    /// Address for OTLP over HTTP; port 0 takes any free one.
    pub http: SocketAddr,
    /// How much it takes.
    pub limits: Limits,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        // The ports that the specification assigns and exporters default to.
        Self {
            grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 4317)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 4318)),
            limits: Limits::default(),
        }
    }
}

/// How much the receiver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request, before and after decompression.
    pub request_bytes_max: usize,
    /// Spans or log records of one request; those beyond are rejected by partial success.
    pub records_max: usize,
    /// Requests worked on at once, over both protocols; others wait. Times the request's bytes,
    /// this bounds the receiver's memory.
    pub requests_max: usize,
    /// How long a request may take, from its headers to the pipeline; after that the sender is
    /// asked to come again.
    pub request_time_max: Duration,
    /// Attributes kept of one span or log record.
    pub attributes_max: usize,
    /// Bytes of one attribute's key.
    pub key_bytes_max: usize,
    /// Bytes of one attribute's value and of a message.
    pub value_bytes_max: usize,
    /// Bytes of a stack trace.
    pub stacktrace_bytes_max: usize,
    /// Exceptions taken from one span.
    pub exceptions_max: usize,
    /// How long open requests may go on after the signal to stop.
    pub stop_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The SDKs' batches of 512 stay under 1 MiB, the Collector's of 8,192 under 10 MiB.
            request_bytes_max: 16 << 20,
            records_max: 50_000,
            requests_max: 16,
            // Exporters give up after 10 s by default; what takes longer is retried anyway.
            request_time_max: Duration::from_secs(10),
            attributes_max: 64,
            key_bytes_max: 256,
            value_bytes_max: 4 << 10,
            stacktrace_bytes_max: 16 << 10,
            exceptions_max: 8,
            stop_time_max: Duration::from_secs(5),
        }
    }
}
