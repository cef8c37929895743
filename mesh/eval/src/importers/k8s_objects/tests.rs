use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tapio_collect::{Binder, Home};
use tapio_model::{Event, Kind, Severity, keys};

use super::*;
use crate::ImportAccount;

type Read = (Vec<Arc<Event>>, ImportAccount);

fn read(input: Input) -> Result<Read, ImportError> {
    let mut recording = Format.open(input, Arc::new(Binder::new(Home::default())))?;
    let mut events = Vec::new();
    while recording.next_chunk(&mut events)? {}
    let progress = recording.progress();
    assert_eq!(Some(progress.bytes_read), progress.bytes_total);
    Ok((events, recording.account().clone()))
}

fn read_text(text: &str) -> Read {
    read(Input::Stream(Box::new(std::io::Cursor::new(text.as_bytes().to_vec())))).unwrap()
}

/// A pod of the cart that is killed again and again, and the Event that says so.
fn cart() -> Json {
    json!({ "kind": "List", "apiVersion": "v1", "items": [
        { "kind": "Pod", "apiVersion": "v1",
          "metadata": { "name": "cart-7f6b8d9c4-x2z4q", "namespace": "shop", "uid": "p1",
            "creationTimestamp": "2026-01-02T03:00:00Z", "labels": { "pod-template-hash": "7f6b8d9c4" },
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": "cart-7f6b8d9c4", "uid": "r1", "controller": true }] },
          "spec": { "nodeName": "n1", "containers": [{ "name": "cart", "image": "shop/cart:7",
            "resources": { "limits": { "memory": "64Mi" } } }] },
          "status": { "phase": "Running",
            "conditions": [{ "type": "PodScheduled", "status": "True",
                "lastTransitionTime": "2026-01-02T03:00:00Z" }],
            "containerStatuses": [{ "name": "cart", "ready": false,
            "image": "", "imageID": "", "restartCount": 4,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "reason": "OOMKilled", "exitCode": 137,
                "containerID": "containerd://4a", "finishedAt": "2026-01-02T03:40:00Z" } } }] } },
        { "kind": "Event", "apiVersion": "v1",
          "metadata": { "name": "cart.1", "namespace": "shop", "uid": "e1" },
          "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "cart-7f6b8d9c4-x2z4q",
            "uid": "p1", "fieldPath": "spec.containers{cart}" },
          "reason": "BackOff", "message": "Back-off restarting failed container", "type": "Warning",
          "count": 40, "firstTimestamp": "2026-01-02T03:01:00Z",
          "lastTimestamp": "2026-01-02T03:50:00Z" },
    ] })
}

fn kinds(events: &[Arc<Event>]) -> Vec<Kind> {
    events.iter().map(|event| event.kind).collect()
}

#[test]
fn what_stands_is_told_together_in_the_order_it_came() {
    let (events, account) = read_text(&cart().to_string());
    let want = [
        Kind::PodScheduled,
        Kind::ContainerTerminated,
        Kind::ContainerWaiting,
        Kind::ContainerWaiting,
    ];
    assert_eq!(kinds(&events), want);
    let [_, killed, .., again] = events.as_slice() else { panic!() };
    assert_eq!(again.attributes.int(keys::COUNT), Some(40));
    assert_eq!(killed.attributes.int(keys::MEMORY_LIMIT), Some(64 << 20));
    // The last sight is the moment; the kill ten minutes before is told nine seconds before it.
    assert_eq!(again.time.since(killed.time).as_secs(), 9);
    for event in &events {
        assert_eq!(event.trace, killed.trace);
        assert_eq!(event.place.workload.as_ref().map(|owner| &*owner.name), Some("cart"));
    }
    assert!(account.balances() && account.rejected.is_empty());
    assert_eq!(read_text(&cart().to_string()).0, events, "reading again gives the same");
}

#[test]
fn lists_documents_and_watch_events_are_all_objects() {
    let list = cart();
    let [pod, event] = [0, 1].map(|at| list["items"][at].clone());
    let want = kinds(&read_text(&list.to_string()).0);
    let typed = json!({ "type": "ADDED", "object": pod });
    let mut kindless = pod.clone();
    kindless.as_object_mut().unwrap().remove("kind");
    let yaml = |json: &Json| serde_saphyr::to_string(json).unwrap();
    for text in [
        json!([pod, event]).to_string(),
        format!("{typed}\n{event}\n"),
        format!("{}{event}", json!({ "kind": "PodList", "items": [kindless] })),
        format!("{}\n---\n{}", yaml(&pod), yaml(&event)),
    ] {
        assert_eq!(kinds(&read_text(&text).0), want, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_counted_and_the_rest_is_told() {
    let root = tempfile::tempdir().unwrap();
    let bundle = root.path().join("cluster-resources/pods");
    fs::create_dir_all(&bundle).unwrap();
    let torn = cart().to_string();
    let torn = torn.get(..torn.len() / 2).unwrap().to_owned();
    for (name, text) in [
        ("shop.json", cart().to_string()),
        ("torn.json", torn),
        ("lease.json", json!({ "kind": "Lease", "metadata": { "uid": "l" } }).to_string()),
        ("wanted.yaml", "kind: Deployment\nmetadata:\n  name: cart\n".to_owned()),
        ("alias.yaml", "a: &a [x, x]\nb: [*a, *c]\n".to_owned()),
        ("wrong.json", json!({ "kind": "Pod", "metadata": { "uid": 7 } }).to_string()),
        ("number.json", "7".to_owned()),
        ("notes.txt", "not read".to_owned()),
    ] {
        fs::write(bundle.join(name), text).unwrap();
    }
    assert!(Format.detects(root.path()) && !Format.detects(&bundle.join("notes.txt")));
    let (events, account) = read(Input::Path(root.path().to_path_buf())).unwrap();
    assert_eq!(events.len(), 4);
    assert!(account.balances());
    let reasons: Vec<_> =
        account.rejected.iter().map(|(reason, count)| (*reason, *count)).collect();
    let want =
        [("json", 1), ("kind", 1), ("manifest", 1), ("object", 1), ("shape", 1), ("yaml", 1)];
    assert_eq!(reasons, want);
    let file = account.examples.first().and_then(|example| example.file.as_deref());
    assert!(file.is_some_and(|file| file.starts_with("cluster-resources")), "{file:?}");
    assert!(read(Input::Path(root.path().join("gone"))).is_err());
}

#[test]
fn an_event_of_a_thing_that_is_well_stays_where_it_was() {
    let mut list = cart();
    list["items"][0]["status"] = json!({ "phase": "Running" });
    let (events, _) = read_text(&list.to_string());
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(Some(event.time), clock::parse("2026-01-02T03:50:00Z"));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..900) {
        let (_, account) = read(Input::Stream(Box::new(std::io::Cursor::new(bytes)))).unwrap();
        prop_assert!(account.balances());
        let text = cart().to_string();
        let cut = text.get(..at.min(text.len())).unwrap_or_default();
        prop_assert!(read_text(cut).1.balances());
    }
}

/// Unpacks an archive that lies beside the workspace.
pub(in crate::importers) fn published(name: &str) -> Result<tempfile::TempDir, String> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !archive.is_file() {
        return Err(format!("no {name} beside the workspace"));
    }
    let root = tempfile::tempdir().map_err(|error| error.to_string())?;
    let unpacking = Command::new("tar")
        .arg("--zstd")
        .arg("-xf")
        .arg(archive)
        .arg("-C")
        .arg(root.path())
        .status();
    match unpacking {
        Ok(status) if status.success() => Ok(root),
        Ok(status) => Err(format!("tar --zstd: {status}")),
        Err(error) => Err(format!("tar: {error}")),
    }
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            below(&path, found);
        } else if is_ours(&path) {
            found.push(path);
        }
    }
}

#[test]
fn objects_of_real_clusters_are_told() {
    let root = match published("k8s-api-objects.tar.zst") {
        Ok(root) => root,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let mut files = Vec::new();
    below(root.path(), &mut files);
    let (mut all, mut rejected) = (Vec::new(), Vec::new());
    for file in &files {
        let (events, account) = read(Input::Path(file.clone())).unwrap();
        assert!(account.balances(), "{}", file.display());
        rejected.extend(account.examples);
        all.extend(events);
    }
    println!("{} files, {} events, not read: {rejected:?}", files.len(), all.len());
    assert!(rejected.iter().all(|rejected| rejected.reason == "kind"), "{rejected:?}");
    for kind in [Kind::ContainerTerminated, Kind::ImagePullFailed, Kind::MountFailed] {
        assert!(all.iter().any(|event| event.kind == kind), "{}", kind.name());
    }
    let healthy = files.iter().filter(|file| file.ends_with("pods/default.json"));
    for file in healthy {
        let (events, _) = read(Input::Path(file.clone())).unwrap();
        assert!(events.iter().all(|event| event.severity < Severity::Warn), "{events:?}");
    }
}
