//! A cluster of so many pods and nodes, as its API server shows it: listings, and watches on which
//! nothing happens.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tapio_telemetry::spawn_named;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

/// Version of everything: nothing changes.
const VERSION: &str = "1000";

/// Pods of a workload.
const REPLICAS: u32 = 10;

/// Bytes of a request's body; a Lease has some hundred.
const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a watch lasts that does not say.
const WATCH: u64 = 120;

/// The cluster's server; it ends when dropped.
#[derive(Debug)]
pub(super) struct Cluster {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    pods: u32,
    nodes: u32,
    lease: Mutex<Option<Value>>,
    /// Writes of the Lease.
    leases: AtomicU64,
    /// Watches of pods that were opened: a client has listed what it watches.
    watches: AtomicU64,
}

/// A request, as far as it matters here.
#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    query: String,
    body: Vec<u8>,
}

enum Answer {
    Object(u16, Value),
    /// Nothing, for so long.
    Watch(Duration),
}

impl Cluster {
    pub(super) async fn start(pods: u32, nodes: u32) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (leases, watches) = (AtomicU64::new(0), AtomicU64::new(0));
        let state =
            Arc::new(State { pods, nodes: nodes.max(1), lease: Mutex::default(), leases, watches });
        let serving = Arc::clone(&state);
        let task = spawn_named("bench cluster", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                spawn_named("bench cluster's client", async move {
                    // A client that goes away is none of the server's business.
                    drop(serve(socket, &state).await);
                });
            }
        });
        Ok(Self { address, state, task })
    }

    /// Returns how a client finds it.
    pub(super) fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{ "name": "bench", "cluster": { "server": format!("http://{}", self.address) } }],
            "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
            "users": [{ "name": "bench", "user": {} }],
        })
    }

    /// Returns how many watches of pods were opened.
    pub(super) fn watches(&self) -> u64 {
        self.state.watches.load(Relaxed)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: TcpStream, state: &State) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    while let Some(request) = read(&mut socket).await? {
        match state.answer(&request) {
            Answer::Object(code, object) => {
                let body = object.to_string();
                let head = format!(
                    "HTTP/1.1 {code} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                socket.write_all(head.as_bytes()).await?;
                socket.write_all(body.as_bytes()).await?;
            }
            Answer::Watch(time) => {
                let head = "HTTP/1.1 200 Said\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
                socket.write_all(head.as_bytes()).await?;
                sleep(time).await;
                socket.write_all(b"0\r\n\r\n").await?;
            }
        }
    }
    Ok(())
}

/// Reads the next request; none when the client has closed.
async fn read(socket: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if socket.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut length = 0;
    loop {
        let mut header = String::new();
        if socket.read_line(&mut header).await? == 0 || header.trim().is_empty() {
            break;
        }
        let header = header.to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().unwrap_or_default().min(BODY_BYTES_MAX);
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(Some(Request { method, path: path.to_owned(), query: query.to_owned(), body }))
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        if request.path == "/version" {
            let version = json!({ "major": "1", "minor": "28", "buildDate": "", "compiler": "",
                "gitCommit": "", "gitTreeState": "", "gitVersion": "", "goVersion": "",
                "platform": "" });
            return Answer::Object(200, version);
        }
        if request.path.contains("/leases") {
            return self.lease(request);
        }
        let is_pods = request.path.ends_with("/pods");
        if parameter(&request.query, "watch") == Some("true") {
            self.watches.fetch_add(u64::from(is_pods), Relaxed);
            let seconds = parameter(&request.query, "timeoutSeconds");
            let seconds = seconds.and_then(|it| it.parse().ok()).unwrap_or(WATCH);
            return Answer::Watch(Duration::from_secs(seconds));
        }
        // Who asks for one object only wants to know whether somebody is there.
        let is_probe = parameter(&request.query, "limit") == Some("1");
        let items = if is_probe { Vec::new() } else { self.items(request) };
        Answer::Object(
            200,
            json!({ "kind": "List", "apiVersion": "v1", "items": items,
                "metadata": { "resourceVersion": VERSION } }),
        )
    }

    fn items(&self, Request { path, query, .. }: &Request) -> Vec<Value> {
        let workloads = self.pods.div_ceil(REPLICAS);
        match path.rsplit('/').next().unwrap_or_default() {
            "pods" => {
                let node = parameter(query, "fieldSelector");
                let is_asked = |pod: &u32| {
                    let name = format!("node-{}", pod % self.nodes);
                    node.is_none_or(|node| node.ends_with(&name))
                };
                (0..self.pods).filter(is_asked).map(|number| pod(number, self.nodes)).collect()
            }
            "nodes" => (0..self.nodes).map(node).collect(),
            "deployments" => (0..workloads).map(deployment).collect(),
            "replicasets" => (0..workloads).map(replica_set).collect(),
            "services" => (0..workloads).map(service).collect(),
            _ => Vec::new(),
        }
    }

    fn lease(&self, request: &Request) -> Answer {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if request.method != "GET" {
            let version = self.leases.fetch_add(1, Relaxed) + 2_000;
            let mut written: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            put(&mut written, "/metadata", "resourceVersion", version.to_string().into());
            *lease = Some(written);
        }
        let absent = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": "none", "reason": "NotFound", "code": 404 });
        lease.clone().map_or(Answer::Object(404, absent), |lease| Answer::Object(200, lease))
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

/// Sets a field of the object at `path`, if there is one.
fn put(object: &mut Value, path: &str, field: &str, value: Value) {
    if let Some(object) = object.pointer_mut(path).and_then(Value::as_object_mut) {
        object.insert(field.to_owned(), value);
    }
}

fn metadata(kind: &str, number: u32) -> Value {
    json!({
        "name": format!("{kind}-{number}"), "namespace": format!("team-{}", number % 20),
        "uid": format!("{kind}-00000000-0000-4000-8000-{number:012}"),
        "resourceVersion": VERSION, "generation": 1,
        "creationTimestamp": "2026-11-01T00:00:00Z",
        "labels": { "app": format!("app-{number}"), "team": format!("team-{}", number % 20),
            "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "shop-1.4.2" },
        "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "9090" },
        // What a real one has most of, and what nobody should keep.
        "managedFields": [{ "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
            "time": "2026-11-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:status": { "f:conditions": { "f:lastProbeTime": {} },
                "f:containerStatuses": {}, "f:hostIP": {}, "f:podIP": {}, "f:startTime": {} } } }],
    })
}

fn owned(kind: &str, number: u32, owner: (&str, &str), owner_number: u32) -> Value {
    let mut metadata = metadata(kind, number);
    let (owner_kind, owner) = owner;
    put(&mut metadata, "", "namespace", format!("team-{}", owner_number % 20).into());
    let owner = json!([{ "apiVersion": "apps/v1", "kind": owner_kind,
        "name": format!("{owner}-{owner_number}"), "controller": true,
        "uid": format!("{owner}-00000000-0000-4000-8000-{owner_number:012}") }]);
    put(&mut metadata, "", "ownerReferences", owner);
    metadata
}

fn pod(number: u32, nodes: u32) -> Value {
    let container = |name: &str| {
        json!({ "name": name, "image": format!("registry.example/{name}:1.4.2"),
            "env": (0..12).map(|at| json!({ "name": format!("SETTING_{at}"), "value": "some value" }))
                .collect::<Vec<_>>(),
            "resources": { "limits": { "memory": "512Mi" }, "requests": { "cpu": "100m" } },
            "volumeMounts": [{ "name": "config", "mountPath": "/etc/app" }] })
    };
    let status = |name: &str| {
        json!({ "name": name, "ready": true, "started": true, "restartCount": 0,
            "image": format!("registry.example/{name}:1.4.2"), "imageID": "sha256:0",
            "containerID": format!("containerd://{name:0>8}{number:056x}"),
            "state": { "running": { "startedAt": "2026-11-01T00:00:10Z" } } })
    };
    let address = format!("10.{}.{}.{}", 100 + number / 65_536, number / 256 % 256, number % 256);
    let condition = |name: &str| json!({ "type": name, "status": "True", "lastTransitionTime": "2026-11-01T00:00:10Z" });
    let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
    json!({
        "metadata": owned("pod", number, ("ReplicaSet", "set"), number / REPLICAS),
        "spec": { "nodeName": format!("node-{}", number % nodes),
            "containers": [container("app"), container("proxy")],
            "volumes": [{ "name": "config", "configMap": { "name": "config" } }] },
        "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "hostIP": "10.0.0.1", "qosClass": "Burstable", "startTime": "2026-11-01T00:00:00Z",
            "conditions": conditions, "containerStatuses": [status("app"), status("proxy")] },
    })
}

fn node(number: u32) -> Value {
    let kinds = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
    let condition = |kind: &str| {
        let status = if kind == "Ready" { "True" } else { "False" };
        json!({ "type": kind, "status": status, "reason": "Kubelet",
            "lastTransitionTime": "2026-11-01T00:00:00Z" })
    };
    let mut metadata = metadata("node", number);
    put(&mut metadata, "", "namespace", Value::Null);
    json!({
        "metadata": metadata,
        "spec": { "podCIDR": format!("10.{number}.0.0/16") },
        "status": { "conditions": kinds.map(condition),
            "addresses": [{ "type": "InternalIP", "address": format!("10.0.0.{number}") }],
            "capacity": { "cpu": "16", "memory": "64Gi", "pods": "110" } },
    })
}

fn deployment(number: u32) -> Value {
    json!({ "metadata": metadata("deployment", number),
        "spec": { "replicas": REPLICAS, "selector": {}, "template": {} },
        "status": { "observedGeneration": 1, "replicas": REPLICAS, "readyReplicas": REPLICAS,
            "updatedReplicas": REPLICAS, "availableReplicas": REPLICAS } })
}

fn replica_set(number: u32) -> Value {
    json!({ "metadata": owned("set", number, ("Deployment", "deployment"), number),
        "spec": { "replicas": REPLICAS, "selector": {} },
        "status": { "observedGeneration": 1, "replicas": REPLICAS, "readyReplicas": REPLICAS } })
}

fn service(number: u32) -> Value {
    json!({ "metadata": metadata("service", number),
        "spec": { "clusterIP": format!("10.96.{}.{}", number / 256, number % 256),
            "selector": { "app": format!("app-{number}") }, "ports": [{ "port": 80 }] } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let (leases, watches) = (AtomicU64::new(0), AtomicU64::new(0));
        State { pods: 500, nodes: 50, lease: Mutex::default(), leases, watches }
    }

    fn get(state: &State, path: &str, query: &str) -> Option<Value> {
        let request = |method: &str| Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            body: Vec::new(),
        };
        match state.answer(&request("GET")) {
            Answer::Object(_, object) => Some(object),
            Answer::Watch(_) => None,
        }
    }

    #[test]
    fn a_listing_is_as_long_as_was_asked_for() {
        let state = state();
        // (path, query, objects)
        let cases = [
            ("/api/v1/pods", "limit=500", 500),
            ("/api/v1/pods", "limit=1", 0),
            ("/api/v1/pods", "limit=500&fieldSelector=spec.nodeName%3Dnode-0", 10),
            ("/api/v1/nodes", "", 50),
            ("/apis/apps/v1/replicasets", "", 50),
            ("/api/v1/secrets", "", 0),
        ];
        for (path, query, objects) in cases {
            let list = get(&state, path, query).unwrap();
            assert_eq!(list["items"].as_array().unwrap().len(), objects, "{path}?{query}");
        }
    }

    #[test]
    fn a_watch_of_pods_is_counted() {
        let state = state();
        assert_eq!(get(&state, "/api/v1/pods", "watch=true&timeoutSeconds=5"), None);
        assert_eq!(get(&state, "/api/v1/nodes", "watch=true"), None);
        assert_eq!(state.watches.load(Relaxed), 1);
    }
}
