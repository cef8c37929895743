//! Objects that real clusters had, when they are at hand.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value as Json;
use tapio_model::{Kind, Severity, Timestamp};

use super::script::{Cluster, show, time, translate};

const ARCHIVE: &str = "../../../shared/data/k8s-api-objects.tar.zst";

/// What a folder of the recordings holds.
const FOLDERS: &[(&str, &str)] = &[
    ("configmaps", "ConfigMap"),
    ("deployments", "Deployment"),
    ("events", "Event"),
    ("jobs", "Job"),
    ("pods", "Pod"),
    ("pvcs", "PersistentVolumeClaim"),
    ("replicasets", "ReplicaSet"),
    ("statefulsets", "StatefulSet"),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

fn kind(path: &Path) -> Option<&'static str> {
    if path.file_name()? == "nodes.json" {
        return Some("Node");
    }
    let folder = path.parent()?.file_name()?.to_str()?;
    FOLDERS.iter().find(|(name, _)| *name == folder).map(|(_, kind)| *kind)
}

/// Returns the latest time that an object mentions: the recording's present.
fn latest(json: &Json) -> Timestamp {
    match json {
        Json::String(text) => time(text).unwrap_or_default(),
        Json::Array(items) => items.iter().map(latest).max().unwrap_or_default(),
        Json::Object(fields) => fields.values().map(latest).max().unwrap_or_default(),
        Json::Null | Json::Bool(_) | Json::Number(_) => Timestamp::default(),
    }
}

/// Says whether an object says of itself that all is well.
fn is_healthy(kind: &str, object: &Json) -> bool {
    let status = &object["status"];
    let is_true = |name: &str| {
        status["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|c| c["type"] == name && c["status"] == "True"))
    };
    match kind {
        "Pod" | "Node" => is_true("Ready"),
        "Deployment" => is_true("Available"),
        "Job" => is_true("Complete"),
        _ => kind != "Event",
    }
}

#[test]
fn healthy_objects_alarm_nobody_and_sick_ones_do() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join(ARCHIVE);
    if !archive.exists() {
        println!("skipped: no recordings at {}", archive.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar")
        .args(["--zstd", "-C"])
        .arg(folder.path())
        .arg("-xf")
        .arg(&archive)
        .status()
        .unwrap();
    assert!(unpacked.success());
    let mut paths = Vec::new();
    files(folder.path(), &mut paths);
    let (mut objects, mut unread, mut healthy, mut kinds) = (0, 0, 0, Vec::new());
    for path in paths {
        let Some(kind) = kind(&path) else { continue };
        let json: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let items = json.as_array().or_else(|| json["items"].as_array()).cloned();
        for object in items.unwrap_or_else(|| vec![json.clone()]) {
            let context = Cluster.context(latest(&object), true);
            let Ok(told) = translate(kind, None, Some(&object), &context) else {
                unread += 1;
                continue;
            };
            objects += 1;
            kinds.extend(told.iter().map(|event| event.kind));
            if is_healthy(kind, &object) {
                healthy += 1;
                let alarms = told.iter().filter(|event| event.severity >= Severity::Warn);
                let alarms: Vec<_> = alarms.map(show).collect();
                assert!(alarms.is_empty(), "{}: {alarms:?}", path.display());
            }
            let same = translate(kind, Some(&object), Some(&object), &context).unwrap();
            assert_eq!(same, [], "{}", path.display());
        }
    }
    println!(
        "{objects} objects, {healthy} of them healthy, {unread} that cannot be read, {} events",
        kinds.len()
    );
    assert!(objects > 100 && healthy > 20, "{objects} {healthy}");
    let sick = [
        Kind::ContainerTerminated,
        Kind::ContainerWaiting,
        Kind::ImagePullFailed,
        Kind::MountFailed,
        Kind::PodReadiness,
    ];
    for kind in sick {
        assert!(kinds.contains(&kind), "{}", kind.name());
    }
}
