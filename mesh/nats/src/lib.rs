//! JetStream behind the ports: the only crate that knows async-nats.

mod archive;
mod backoff;
mod bus;
mod config;
mod connect;
mod fabric;
mod service;
mod stream;
mod subject;

pub use archive::{
    Archive, ArchiveError, AuditFeed, DeadLetterEntry, DeadLetterFilter, DeadLetters, RootEntry,
    RootFeed, TellingEntry, TellingFeed,
};
pub use bus::{Acknowledge, BusFigures, NatsBus, NatsBusOptions, TraceparentSource};
pub use config::{ClientCertificate, ConfigError, Identity, NatsConfig, Secret, Tls};
pub use connect::{AsyncEvent, ConnectError, Connection, ConnectionFigures};
pub use fabric::{FabricFigures, NatsFabric};
pub use service::{
    REQUESTS_MAX, RequestService, Requester, RequesterError, ServiceError, ServiceFigures,
};
pub use stream::{Difference, Storage, StreamError, StreamPlan};
pub use subject::{Bucket, DEFAULT_GENERATION, DEFAULT_PREFIX, NameError, Stream, Subjects};
