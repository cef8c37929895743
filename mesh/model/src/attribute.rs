//! Attributes: what a source said beyond the fields every event has.

use crate::Text;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(Text),
    /// A whole number.
    Int(i64),
    /// A measured number.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl Value {
    /// Returns the text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) => None,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Bool(truth) => write!(f, "{truth}"),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}
impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}
impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(i64::from(number))
    }
}
impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(i64::from(number))
    }
}
impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}
impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

/// Attributes of an event: sorted by key, one value a key.
///
/// Few and small, so a sorted slice beats a map in memory and in speed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes(Box<[(Text, Value)]>);

impl Attributes {
    /// Makes attributes from pairs; of two pairs with one key the later stays.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (Text, Value)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        // A stable sort keeps pairs of one key in order of arrival; of those the last wins.
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.reverse();
        pairs.dedup_by(|(a, _), (b, _)| a == b);
        pairs.reverse();
        Self(pairs.into_boxed_slice())
    }

    /// Returns the value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Returns the text under `key`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// Returns the whole number under `key`.
    #[must_use]
    pub fn int(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Value::Int(number) => Some(*number),
            Value::Text(_) | Value::Float(_) | Value::Bool(_) => None,
        }
    }

    /// Returns the pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes the attributes hold, shared text counted as if owned.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter()
            .map(|(key, value)| {
                size_of::<(Text, Value)>() + key.len() + value.as_str().map_or(0, str::len)
            })
            .sum()
    }
}

impl<K: Into<Text>, V: Into<Value>> FromIterator<(K, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self::new(pairs.into_iter().map(|(key, value)| (key.into(), value.into())))
    }
}

/// Attribute keys, after the OpenTelemetry semantic conventions where they have a word.
///
/// Source: <https://opentelemetry.io/docs/specs/semconv/registry/attributes/>; those that begin
/// with `tapio.` are our own.
pub mod keys {
    /// The line, message or note as the source wrote it.
    pub const MESSAGE: &str = "message";
    /// A machine-readable reason (`OOMKilled`, `CrashLoopBackOff`, `BackOff`, ...).
    pub const REASON: &str = "reason";
    /// How often a source saw it (a Kubernetes Event's count, a counter's rise).
    pub const COUNT: &str = "count";
    /// Process id.
    pub const PROCESS_PID: &str = "process.pid";
    /// Name of the executable (`comm`).
    pub const PROCESS_NAME: &str = "process.executable.name";
    /// Exit code of a process or container.
    pub const EXIT_CODE: &str = "process.exit.code";
    /// Signal that ended a process.
    pub const EXIT_SIGNAL: &str = "process.exit.signal";
    /// Whether the process is its container's first (process id 1 inside); a boolean.
    pub const PROCESS_IS_INIT: &str = "tapio.process.is_init";
    /// Anonymous resident memory of the victim, in KiB.
    pub const OOM_ANON_RSS_KIB: &str = "tapio.oom.anon_rss_kib";
    /// What limited the memory: `memcg`, `none` (the whole node), `cpuset` or `memory_policy`.
    pub const OOM_CONSTRAINT: &str = "tapio.oom.constraint";
    /// The cgroup whose limit was reached (`oom_memcg`).
    pub const OOM_CGROUP: &str = "tapio.oom.cgroup";
    /// The limit of a cgroup in bytes.
    pub const MEMORY_LIMIT: &str = "container.memory.limit";
    /// Whether the container is one of its pod's init containers; a boolean.
    pub const CONTAINER_IS_INIT: &str = "tapio.container.is_init";
    /// Restarts of a container so far.
    pub const RESTART_COUNT: &str = "k8s.container.restart_count";
    /// `liveness`, `readiness` or `startup`.
    pub const PROBE: &str = "tapio.probe";
    /// Image reference.
    pub const IMAGE: &str = "container.image.name";
    /// `ConfigMap` or `Secret`, and other referenced objects' kind.
    pub const OBJECT_KIND: &str = "tapio.object.kind";
    /// Name of the referenced object.
    pub const OBJECT_NAME: &str = "tapio.object.name";
    /// `added`, `modified` or `deleted`.
    pub const CHANGE: &str = "tapio.change";
    /// Hash of the pod template, equal for the pods of one ReplicaSet.
    pub const TEMPLATE_HASH: &str = "k8s.pod.template_hash";
    /// A workload's generation.
    pub const GENERATION: &str = "k8s.generation";
    /// Whether something became true (`PodReadiness`, `NodeCondition`); a boolean.
    pub const STATUS: &str = "tapio.status";
    /// Whether nothing new may be scheduled to the node; a boolean.
    pub const CORDONED: &str = "tapio.node.cordoned";
    /// Type of a condition (`MemoryPressure`, `Ready`, ...).
    pub const CONDITION: &str = "tapio.condition";
    /// Ready endpoints of a service.
    pub const ENDPOINTS_READY: &str = "tapio.endpoints.ready";
    /// Endpoints of a service that are not ready.
    pub const ENDPOINTS_NOT_READY: &str = "tapio.endpoints.not_ready";
    /// Address of the peer, host or IP.
    pub const PEER_ADDRESS: &str = "network.peer.address";
    /// Port of the peer.
    pub const PEER_PORT: &str = "network.peer.port";
    /// Service at the other end.
    pub const PEER_SERVICE: &str = "peer.service";
    /// Name that was asked for.
    pub const DNS_NAME: &str = "dns.question.name";
    /// Outcome of the question: `nxdomain`, `servfail`, `timeout`, ...
    pub const DNS_RCODE: &str = "tapio.dns.rcode";
    /// Error class: an exception's type, an errno's name (`ECONNREFUSED`), a status code.
    pub const ERROR_TYPE: &str = "error.type";
    /// Block device.
    pub const DEVICE: &str = "system.device";
    /// Mount point or path.
    pub const PATH: &str = "file.path";
    /// Span name.
    pub const SPAN_NAME: &str = "span.name";
    /// Span kind: `internal`, `server`, `client`, `producer`, `consumer`.
    pub const SPAN_KIND: &str = "span.kind";
    /// Span status: `unset`, `ok`, `error`.
    pub const SPAN_STATUS: &str = "otel.status_code";
    /// Duration of a span in nanoseconds; the event's time is the span's end.
    pub const DURATION: &str = "tapio.duration_ns";
    /// HTTP status code of a response.
    pub const HTTP_STATUS: &str = "http.response.status_code";
    /// Logger or class that wrote the line.
    pub const LOGGER: &str = "log.logger";
    /// Stack trace.
    pub const STACKTRACE: &str = "exception.stacktrace";
    /// systemd unit.
    pub const UNIT: &str = "systemd.unit";
    /// Result systemd gave a unit (`oom-kill`, `exit-code`, `timeout`, ...).
    pub const UNIT_RESULT: &str = "systemd.unit.result";
    /// A share of time stalled or throttled, 0 to 1.
    pub const RATIO: &str = "tapio.ratio";
    /// What a pod uses of processors, in cores.
    pub const POD_CPU: &str = "k8s.pod.cpu.usage";
    /// The same as a share of its limit.
    pub const POD_CPU_SHARE: &str = "k8s.pod.cpu_limit_utilization";
    /// The memory a pod works with, in bytes: without what the kernel could just drop.
    pub const POD_MEMORY: &str = "k8s.pod.memory.working_set";
    /// The same as a share of its limit.
    pub const POD_MEMORY_SHARE: &str = "k8s.pod.memory_limit_utilization";
    /// As [`POD_CPU`], of a container that is in no pod.
    pub const CONTAINER_CPU: &str = "container.cpu.usage";
    /// As [`POD_CPU_SHARE`], of a container that is in no pod.
    pub const CONTAINER_CPU_SHARE: &str = "container.cpu_limit_utilization";
    /// As [`POD_MEMORY`], of a container that is in no pod.
    pub const CONTAINER_MEMORY: &str = "container.memory.working_set";
    /// As [`POD_MEMORY_SHARE`], of a container that is in no pod.
    pub const CONTAINER_MEMORY_SHARE: &str = "container.memory_limit_utilization";
    /// The share of a node's processors that is busy.
    pub const NODE_CPU_SHARE: &str = "system.cpu.utilization";
    /// The share of a node's memory that is not available.
    pub const NODE_MEMORY_SHARE: &str = "system.memory.utilization";
    /// Process id of who sent a signal.
    pub const SIGNAL_SENDER_PID: &str = "tapio.signal.sender_pid";
    /// Name of the program that sent a signal.
    pub const SIGNAL_SENDER: &str = "tapio.signal.sender";
    /// System call that failed.
    pub const SYSCALL: &str = "tapio.syscall";
    /// Address of this end.
    pub const LOCAL_ADDRESS: &str = "network.local.address";
    /// Port of this end.
    pub const LOCAL_PORT: &str = "network.local.port";
    /// Resolver that was asked.
    pub const DNS_SERVER: &str = "tapio.dns.server";
    /// Of so many alike this one was kept.
    pub const SAMPLED: &str = "tapio.sampled";
    /// UID of the referenced object.
    pub const OBJECT_UID: &str = "k8s.object.uid";
    /// Namespace of the referenced object.
    pub const OBJECT_NAMESPACE: &str = "tapio.object.namespace";
    /// Version of the object, as the API server counts.
    pub const RESOURCE_VERSION: &str = "k8s.object.resource_version";
    /// What changed of an object: names of keys or fields, never their values.
    pub const CHANGED: &str = "tapio.changed";
    /// What a log line has in common with its like; the rest is `<*>`.
    pub const TEMPLATE: &str = "log.template";
    /// How many there are to be.
    pub const DESIRED: &str = "tapio.desired";
    /// How many there are.
    pub const READY: &str = "tapio.ready";
    /// What of the telemetry changed: `log_template`, `call`, `self_time`, `edge_latency`,
    /// `request_rate`, `error_rate`, `cpu`, `memory`, `network` or `disk`.
    pub const ANOMALY_SIGNAL: &str = "tapio.anomaly.signal";
    /// How it changed: `appeared`, `vanished`, `rose` or `fell`.
    pub const ANOMALY_CHANGE: &str = "tapio.anomaly.change";
    /// The evidence for the change: the logarithm of how much likelier it is than chance.
    pub const ANOMALY_SCORE: &str = "tapio.anomaly.score";
    /// What was learnt: a share of 0 to 1, or a value in the signal's own unit.
    pub const ANOMALY_BEFORE: &str = "tapio.anomaly.before";
    /// What is seen now, in the unit of what was learnt.
    pub const ANOMALY_AFTER: &str = "tapio.anomaly.after";
    /// Trace id of one of the traces that show it.
    pub const ANOMALY_EXAMPLE: &str = "tapio.anomaly.example_trace_id";
    /// Which metric it was seen in.
    pub const ANOMALY_METRIC: &str = "tapio.anomaly.metric";
    /// Id of the anomaly that this one repeats in the trace of its owner: services are compared by
    /// the original.
    pub const ANOMALY_OF: &str = "tapio.anomaly.of";
    /// The services that are unlike at the same time and have nothing to do with this one, by name,
    /// with commas between them.
    pub const ANOMALY_APART: &str = "tapio.anomaly.apart";
    /// Which resource (`cpu`, `memory`, `io`, `open_files`, `processes`, `ports`, `watches`).
    pub const RESOURCE: &str = "tapio.resource";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_two_values_stays() {
        let attributes: Attributes = [("b", 1), ("a", 2), ("b", 3)].into_iter().collect();
        assert_eq!(attributes.int("b"), Some(3));
        assert_eq!(attributes.len(), 2);
        assert_eq!(attributes.text("a"), None);
    }
}
