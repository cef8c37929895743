//! A cluster of one pod, as its API server tells of it.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tapio_model::Clock as _;
use tapio_telemetry::SystemClock;
use tapio_tests::api_server::ApiServer;
use tapio_wire::json::time_to_text;
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

use super::world::PATIENCE;

const PODS: &str = "/api/v1/pods";
const REPLICA_SETS: &str = "/apis/apps/v1/replicasets";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";

/// The node that the pod is on, which is what `tapio up` is told to call this machine.
pub(super) const NODE: &str = "tapio-test-node";

/// The pod, as people name its container.
pub(super) const CONTAINER: &str = "shop/cart-7f6b8d9c4-x2kq9/cart";

/// The names of one test's pod: nobody else's on this machine.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) uid: String,
    pub(super) container_id: String,
}

impl Pod {
    pub(super) fn new(number: u32) -> Self {
        let own = format!("{:08x}{number:04x}", std::process::id());
        let uid = format!("7a910000-0000-4000-8000-{own}");
        Self { uid, container_id: format!("7a91{own:0>60}") }
    }

    /// Returns the path of its container's control group, as a kubelet with the cgroupfs driver
    /// makes it, below a group of our own.
    pub(super) fn cgroup(&self) -> String {
        let own = format!("tapio-test-{}", self.uid);
        format!("{own}/kubepods/burstable/pod{}/{}", self.uid, self.container_id)
    }

    fn object(&self, state: &Value, ready: &Value) -> Value {
        let owner = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
            "name": "cart-7f6b8d9c4", "uid": format!("rs-{}", self.uid) }]);
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "cart-7f6b8d9c4-x2kq9", "namespace": "shop", "uid": self.uid,
                "creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": owner,
                "labels": { "app": "cart", "pod-template-hash": "7f6b8d9c4" } },
            "spec": { "nodeName": NODE, "containers": [{ "name": "cart", "image": "cart:1.14.2",
                "resources": { "limits": { "memory": "32Mi" } } }] },
            "status": { "phase": "Running", "conditions": [ready], "containerStatuses": [{ "name": "cart",
                "image": "cart:1.14.2", "imageID": "", "ready": false, "restartCount": 0,
                "containerID": format!("containerd://{}", self.container_id),
                "state": state, "lastState": {} }] },
        })
    }
}

/// The API server, and where to find it.
pub(super) struct Cluster {
    runtime: Runtime,
    server: ApiServer,
    home: TempDir,
}

impl Cluster {
    /// Starts a server that knows the pod's owners, and of the pod nothing yet.
    pub(super) fn start(pod: &Pod) -> Result<Self, String> {
        let said = |error: std::io::Error| error.to_string();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().map_err(said)?;
        let server = runtime.block_on(ApiServer::start()).map_err(said)?;
        server.serve_everything();
        let meta = |name: &str, uid: &str, owners: Value| {
            json!({ "name": name, "namespace": "shop", "uid": uid, "ownerReferences": owners,
                "creationTimestamp": "2026-01-01T00:00:00Z" })
        };
        let deployment = format!("deployment-{}", pod.uid);
        let owner = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "controller": true,
            "name": "cart", "uid": deployment }]);
        let spec = json!({ "selector": {}, "template": {} });
        let replicas = meta("cart-7f6b8d9c4", &format!("rs-{}", pod.uid), owner);
        server.put_whole(REPLICA_SETS, json!({ "metadata": replicas, "spec": spec }));
        let top = meta("cart", &deployment, json!([]));
        server.put_whole(DEPLOYMENTS, json!({ "metadata": top, "spec": spec }));
        let home = TempDir::new().map_err(said)?;
        let cluster = Self { runtime, server, home };
        let config = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": cluster.server.url() } }],
            "users": [{ "name": "test", "user": {} }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }] });
        fs::write(cluster.kubeconfig(), config.to_string()).map_err(said)?;
        Ok(cluster)
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.home.path().join("kubeconfig")
    }

    /// Waits until pods are watched.
    pub(super) fn watched(&self) -> Result<(), String> {
        let watched = async { timeout(PATIENCE, self.server.watched(PODS)).await };
        let late = |_elapsed| format!("nobody watches pods; asked: {:#?}", self.server.requests());
        self.runtime.block_on(watched).map_err(late)
    }

    /// Says that the pod's container runs.
    pub(super) fn run(&self, pod: &Pod) {
        let ready = json!({ "type": "Ready", "status": "True", "lastTransitionTime": now() });
        let started = json!({ "running": { "startedAt": now() } });
        self.server.put_whole(PODS, pod.object(&started, &ready));
    }

    /// Says that the pod's container was killed for its memory just now.
    pub(super) fn end(&self, pod: &Pod) {
        let ready = json!({ "type": "Ready", "status": "False", "lastTransitionTime": now(),
            "reason": "ContainersNotReady", "message": "containers with unready status: [cart]" });
        let ended = json!({ "terminated": { "reason": "OOMKilled", "exitCode": 137,
            "startedAt": now(), "finishedAt": now(),
            "containerID": format!("containerd://{}", pod.container_id) } });
        self.server.put_whole(PODS, pod.object(&ended, &ready));
    }
}

/// Returns the time as the API writes it: in whole seconds, so that an end seems to be before the
/// kernel's kill.
fn now() -> String {
    let now = time_to_text(SystemClock.now());
    format!("{}Z", now.split('.').next().unwrap_or_default())
}
