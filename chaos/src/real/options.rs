//! What a nats-server of the suite is told, and the file that tells it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest store on disk in bytes unless told: 64 GiB, more than the streams of any case reserve.
///
/// A limit reserves nothing. Left alone, a server takes three quarters of what is free on the disk
/// when it starts, and refuses streams that plan to be larger: cases would depend on the machine.
const FILE_STORE_BYTES_MAX: u64 = 64 << 30;

/// When a server makes its files durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncInterval {
    /// Every two minutes, as the server has it.
    #[default]
    ServerDefault,
    /// At this interval.
    Every(Duration),
    /// Before each acknowledgement.
    Always,
}

/// How a nats-server of the suite is set up.
#[derive(Clone, Debug)]
pub struct NatsServerOptions {
    /// Where clients are listened for; `0.0.0.0` when they come from a namespace.
    pub host: IpAddr,
    /// When files are synced.
    pub sync_interval: SyncInterval,
    /// Largest message in bytes; the server's own limit (1 MiB) when absent.
    pub payload_bytes_max: Option<u32>,
    /// Largest store on disk in bytes; 64 GiB unless told.
    pub file_store_bytes_max: u64,
    /// Largest store in memory in bytes.
    pub memory_store_bytes_max: Option<u64>,
    /// Where the store lives; a directory of the server's own when absent. In a cluster, each
    /// server takes the subdirectory of its name.
    pub store_dir: Option<PathBuf>,
    /// Whether the servers of a cluster keep each other's addresses from clients.
    ///
    /// A client behind a [`Proxy`](crate::real::Proxy) must have it: servers gossip their real
    /// addresses (`connect_urls`), and the client would reconnect past the proxy. A single server
    /// gossips nothing. With it, a client is given the address of every proxy.
    pub no_advertise: bool,
    /// The address that clients are told instead of the real one, such as that of a proxy.
    pub client_advertise: Option<String>,
    /// Further text of the configuration file: `authorization`, `accounts`, `tls`.
    pub extra: String,
    /// How long a start may take.
    pub start_patience: Duration,
    /// The program; [`NatsBinary::find_or_install`](crate::real::NatsBinary::find_or_install)
    /// when absent.
    pub binary: Option<PathBuf>,
}

impl Default for NatsServerOptions {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            sync_interval: SyncInterval::default(),
            payload_bytes_max: None,
            file_store_bytes_max: FILE_STORE_BYTES_MAX,
            memory_store_bytes_max: None,
            store_dir: None,
            no_advertise: false,
            client_advertise: None,
            extra: String::new(),
            start_patience: Duration::from_secs(20),
            binary: None,
        }
    }
}

/// What one server's file says beside its options.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) client_port: u16,
    pub(crate) monitor_port: u16,
    pub(crate) store_dir: &'a Path,
    pub(crate) routes: Option<Routes<'a>>,
}

/// The part of a server in a cluster; every port is one on loopback.
#[derive(Debug)]
pub(crate) struct Routes<'a> {
    pub(crate) own_port: u16,
    pub(crate) all_ports: &'a [u16],
}

/// Renders the configuration file of one server.
pub(crate) fn config(options: &NatsServerOptions, place: &Place<'_>) -> String {
    let mut lines = vec![
        format!("server_name: {}", quoted(place.name)),
        format!("listen: \"{}:{}\"", options.host, place.client_port),
        format!("http: \"127.0.0.1:{}\"", place.monitor_port),
    ];
    if let Some(bytes) = options.payload_bytes_max {
        lines.push(format!("max_payload: {bytes}"));
    }
    if let Some(address) = &options.client_advertise {
        lines.push(format!("client_advertise: {}", quoted(address)));
    }
    lines.push(format!("jetstream: {}", jetstream(options, place.store_dir)));
    if let Some(routes) = &place.routes {
        lines.push(format!("cluster: {}", cluster(options, routes)));
    }
    lines.push(options.extra.clone());
    lines.push(String::new());
    lines.join("\n")
}

fn jetstream(options: &NatsServerOptions, store_dir: &Path) -> String {
    let mut parts = vec![format!("store_dir: {}", quoted(&store_dir.display().to_string()))];
    match options.sync_interval {
        SyncInterval::ServerDefault => {}
        SyncInterval::Every(interval) => {
            parts.push(format!("sync_interval: \"{}ms\"", interval.as_millis()));
        }
        SyncInterval::Always => parts.push("sync_interval: always".to_owned()),
    }
    parts.push(format!("max_file_store: {}", options.file_store_bytes_max));
    if let Some(bytes) = options.memory_store_bytes_max {
        parts.push(format!("max_memory_store: {bytes}"));
    }
    format!("{{ {} }}", parts.join(", "))
}

fn cluster(options: &NatsServerOptions, routes: &Routes<'_>) -> String {
    let others: Vec<_> =
        routes.all_ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    format!(
        "{{ name: \"tapio\", listen: \"127.0.0.1:{}\", no_advertise: {}, routes: [{}] }}",
        routes.own_port,
        options.no_advertise,
        others.join(", ")
    )
}

/// Quotes a value as the configuration language of NATS does.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_the_options_say() {
        let options = NatsServerOptions {
            sync_interval: SyncInterval::Every(Duration::from_secs(1)),
            payload_bytes_max: Some(4096),
            file_store_bytes_max: 1 << 20,
            no_advertise: true,
            client_advertise: Some("127.0.0.1:9".to_owned()),
            extra: "authorization { token: t }".to_owned(),
            ..NatsServerOptions::default()
        };
        let place = Place {
            name: "n1",
            client_port: 1,
            monitor_port: 2,
            store_dir: Path::new("/a \"b\""),
            routes: Some(Routes { own_port: 3, all_ports: &[3, 4] }),
        };
        let expected = r#"server_name: "n1"
listen: "127.0.0.1:1"
http: "127.0.0.1:2"
max_payload: 4096
client_advertise: "127.0.0.1:9"
jetstream: { store_dir: "/a \"b\"", sync_interval: "1000ms", max_file_store: 1048576 }
cluster: { name: "tapio", listen: "127.0.0.1:3", no_advertise: true, routes: ["nats://127.0.0.1:3", "nats://127.0.0.1:4"] }
authorization { token: t }
"#;
        assert_eq!(config(&options, &place), expected);
    }
}
