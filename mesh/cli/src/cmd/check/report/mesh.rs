//! What NATS lets be kept, and whether the clocks agree.

use super::{
    super::{
        host::HostFacts,
        server::{MeshFacts, ServerFacts, StreamFacts},
    },
    Check,
};

/// Bytes a server must take in one message: an envelope of a full batch is some hundred kB.
const PAYLOAD: usize = 1 << 20;

/// Milliseconds by which clocks may differ: what is further apart is told in the wrong order.
const CLOCK_MS: u64 = 1_000;

/// Judges the mesh.
pub(super) fn checks(mesh: &MeshFacts) -> Vec<Check> {
    match mesh {
        MeshFacts::Away { is_without_jetstream, why } => {
            let name = if *is_without_jetstream { "jetstream" } else { "nats" };
            let (why, cure) = why.rsplit_once("; ").unwrap_or((why, "see `tapio check --help`"));
            vec![Check::missing(name, why, cure)]
        }
        MeshFacts::There(server) => {
            let mut checks = vec![
                Check::ok("nats", format!("version {}", server.version)),
                Check::ok("jetstream", "enabled for this account"),
                replicas(server),
                Check::degraded(
                    "sync interval",
                    "unknown: only the server's monitoring port tells it",
                    "ask the operator; with the default of two minutes a coordinated power loss \
                     can lose acknowledged writes: sync_interval: always",
                ),
                payload(server.payload_bytes_max),
            ];
            checks.extend(streams(server));
            checks
        }
    }
}

fn replicas(server: &ServerFacts) -> Check {
    const THREE: u64 = 3;
    let is_cluster = server.servers >= 3;
    match (server.replicas, is_cluster) {
        (Some(replicas), _) if replicas >= THREE => Check::ok("replicas", format!("{replicas}")),
        (None, true) => Check::ok("replicas", format!("{} servers: 3 can be had", server.servers)),
        (Some(replicas), true) => Check::degraded(
            "replicas",
            format!("{replicas}, of {} servers: what a lost one holds is lost", server.servers),
            "nats stream edit --replicas 3, and start nodes with --replicas 3",
        ),
        (Some(_) | None, false) => Check::degraded(
            "replicas",
            format!("1: the server names {} of its cluster", server.servers),
            "run three servers and start nodes with --replicas 3, to survive the loss of one",
        ),
    }
}

fn payload(bytes_max: usize) -> Check {
    if bytes_max >= PAYLOAD {
        return Check::ok("max_payload", format!("{bytes_max} bytes"));
    }
    Check::missing(
        "max_payload",
        format!("{bytes_max} bytes: stories and roots are larger"),
        "set max_payload to 1MB or more in the server's configuration",
    )
}

fn streams(server: &ServerFacts) -> Vec<Check> {
    let StreamFacts { differing, missing } = match &server.streams {
        Ok(found) => found,
        Err(why) => {
            let cure = "look at the server's log; JetStream may be electing";
            return vec![Check::missing("streams", why, cure)];
        }
    };
    let mut checks: Vec<_> =
        differing.iter().map(|(why, cure)| Check::missing("streams", why, cure)).collect();
    if !missing.is_empty() {
        let why = format!("not there yet: {}; the first node makes them", missing.join(", "));
        checks.push(Check::ok("streams", why));
    }
    if checks.is_empty() {
        checks.push(Check::ok("streams", "as planned"));
    }
    checks
}

/// Judges the clock, by the server's if it has said.
pub(super) fn clock(host: &HostFacts, mesh: Option<&MeshFacts>) -> Check {
    const CURE: &str = "run chrony or systemd-timesyncd, and `timedatectl set-ntp true`";
    let ahead_ms = match mesh {
        Some(MeshFacts::There(server)) => server.clock_ahead_ms,
        Some(MeshFacts::Away { .. }) | None => None,
    };
    match ahead_ms {
        Some(ms) if ms.unsigned_abs() > CLOCK_MS => {
            let way = if ms > 0 { "behind" } else { "ahead of" };
            let why = format!("{} ms {way} the server's", ms.unsigned_abs());
            Check::degraded("clock", format!("{why}: stories tell what is here out of order"), CURE)
        }
        Some(ms) => Check::ok("clock", format!("within {} ms of the server's", ms.unsigned_abs())),
        None if host.is_synchronised => Check::ok("clock", "synchronised"),
        None => Check::degraded("clock", "not known to be synchronised", CURE),
    }
}
