//! Where nodes are, how they are trusted, and how much is on its way.

use std::{path::PathBuf, time::Duration};

use tapio_wire::MESSAGE_BYTES_MAX;
use tokio::fs;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::DirectError;

/// How a client trusts a node, and is trusted. The files are read again for each connection, so
/// that a renewed certificate needs no restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectTls {
    /// Certificate of the authority that signs nodes' certificates.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, for nodes that ask for one.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name a node's certificate has, where that is not the host of its address.
    pub name: Option<String>,
}

/// How a client reaches a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectConfig {
    /// Nodes, as `host:port`; tried in turn.
    pub addresses: Vec<String>,
    /// Transport security; none without it.
    pub tls: Option<DirectTls>,
    /// Envelopes that are held until they are acknowledged; publishers wait beyond that. 64 of
    /// some 30 kB are 2 MB, and more than a millisecond's way to a node needs at 100,000 events/s.
    pub in_flight_max: usize,
    /// Bytes of an envelope. A batch beyond them travels in parts.
    pub envelope_bytes_max: usize,
    /// How long one attempt at one address may take.
    pub patience: Duration,
    /// How long a connection may be silent before it is asked for a sign of life; the answer may
    /// take as long.
    pub keepalive: Duration,
    /// How long closing waits for what is on its way.
    pub drain: Duration,
    /// The seed of the jitter in back-offs.
    pub seed: u64,
}

impl Default for DirectConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            tls: None,
            in_flight_max: 64,
            envelope_bytes_max: MESSAGE_BYTES_MAX,
            patience: Duration::from_secs(3),
            keepalive: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            seed: 0,
        }
    }
}

impl DirectConfig {
    /// Connects to `addresses` and is otherwise as by default.
    #[must_use]
    pub fn to<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self { addresses: addresses.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

impl DirectTls {
    pub(crate) async fn load(&self) -> Result<ClientTlsConfig, DirectError> {
        let mut tls = ClientTlsConfig::new();
        if let Some(ca) = &self.ca {
            tls = tls.ca_certificate(Certificate::from_pem(read(ca).await?));
        }
        if let Some((cert, key)) = &self.client {
            tls = tls.identity(Identity::from_pem(read(cert).await?, read(key).await?));
        }
        Ok(match &self.name {
            Some(name) => tls.domain_name(name),
            None => tls,
        })
    }
}

/// How a node shows who it is, and whom it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeTls {
    /// Its certificate.
    pub cert: PathBuf,
    /// The key of its certificate.
    pub key: PathBuf,
    /// Takes only clients whose certificate this authority signed; all without it.
    pub client_ca: Option<PathBuf>,
}

impl ServeTls {
    pub(crate) async fn load(&self) -> Result<ServerTlsConfig, DirectError> {
        let identity = Identity::from_pem(read(&self.cert).await?, read(&self.key).await?);
        let tls = ServerTlsConfig::new().identity(identity);
        Ok(match &self.client_ca {
            Some(ca) => tls.client_ca_root(Certificate::from_pem(read(ca).await?)),
            None => tls,
        })
    }
}

/// How much a node takes at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// Transport security; none without it.
    pub tls: Option<ServeTls>,
    /// Envelopes that one client may have unacknowledged.
    pub window: u32,
    /// Bytes of all clients' envelopes that are on their way to the sink; beyond that clients are
    /// told to come back. 64 MiB are two thousand of some 30 kB, or eight of the largest.
    pub in_flight_bytes_max: usize,
    /// Streams at a time.
    pub streams_max: usize,
    /// Bytes of an envelope; a larger one is refused. One of more than twice that ends its stream
    /// before it is in memory.
    pub envelope_bytes_max: usize,
    /// How long a connection may be silent before it is asked for a sign of life; the answer may
    /// take as long.
    pub keepalive: Duration,
    /// How long stopping waits for what is on its way to the sink.
    pub drain: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            tls: None,
            window: 64,
            in_flight_bytes_max: 64 << 20,
            streams_max: 1_024,
            envelope_bytes_max: MESSAGE_BYTES_MAX,
            keepalive: Duration::from_secs(10),
            drain: Duration::from_secs(10),
        }
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, DirectError> {
    fs::read(path).await.map_err(|error| DirectError::file(path, &error))
}
