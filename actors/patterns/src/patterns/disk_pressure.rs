//! A node's own disk is full: the kubelet cannot win enough back, and evicts pods. Or a pod used
//! more local disk than its own limit, and was evicted for that.
//!
//! Evidence: the node's condition `DiskPressure`, pods evicted for ephemeral storage or inodes, image
//! collection that fails; writes refused with ENOSPC on the node beside them.
//! Root: the first refused write on the node's disk, else the first word of the kubelet.
//! Not this: `disk_full` (a volume is full and its node is fine, or the device fails),
//! `memory_eviction` and `pid_exhaustion` (evicted for want of something else), `node_drain`.
//! First look: `df -h; df -i` on the node, then `du -xh --max-depth=2 /var | sort -h`: logs, images
//! or somebody's emptyDir.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, Kind, Text, keys};

use super::disk_full;
use crate::{
    Scene,
    node_state::{Eviction, class, eviction, left, reason},
    shortage::{Resource, Shortage},
    witness::quoted,
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "disk_pressure",
        "a node's disk fills up and its pods are evicted",
        "0s node:n1 ObjectEvent reason=FreeDiskSpaceFailed count=1 sev=warn msg=\"Failed to garbage collect required amount of images. Attempted to free 4012 bytes, but only found 0 bytes eligible to free.\" trace=1
         1s node:n1 NodeCondition condition=DiskPressure status=true reason=KubeletHasDiskPressure msg=\"kubelet has disk pressure\" trace=1
         2s node:n1 NodeCondition condition=DiskPressure status=true reason=NodeHasDiskPressure count=1 msg=\"Node n1 status is now: NodeHasDiskPressure\" trace=1
         3s shop/logs-1@n1%logs PodEvicted reason=Evicted msg=\"The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 700Mi. Container logs was using 9Gi, request is 0.\" trace=2
         4s shop/logs-1/logs@n1%logs ContainerTerminated exit=137 reason=Error trace=2
         5s shop/cart-1@n1%cart PodEvicted reason=Evicted msg=\"The node was low on resource: ephemeral-storage.\" trace=3
         6s svc:shop/cart%cart EndpointsChanged ready=0 not_ready=1 trace=3",
    ),
    Scene::cause(
        "disk_pressure",
        "writes are refused before the kubelet notices",
        "0s node:n1 StorageFull src=journal device=sda1 path=/var msg=\"write /var/lib/containerd: no space left on device\" trace=1
         1s shop/a-1/a@n1%a StorageFull count=4 msg=\"write /tmp/x: no space left on device\" trace=2
         2s shop/a-1/a@n1%a Log sev=error msg=\"cannot write\" trace=2
         9s node:n1 NodeCondition condition=DiskPressure status=true trace=1",
    ),
    Scene::cause(
        "disk_pressure",
        "a pod beyond its own limit",
        "0s shop/logs-1@n1%logs PodEvicted reason=Evicted msg=\"Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. \"
         0s shop/logs-1@n1%logs PodEvicted reason=Evicted count=1 msg=\"Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. \"
         1s shop/logs-1/logs@n1%logs ContainerTerminated exit=137 reason=Error",
    ),
    Scene::unknown(
        "disk_pressure",
        "an eviction that does not say for want of what",
        "0s shop/logs-1@n1%logs PodEvicted src=journal msg=\"Eviction manager: pod is evicted successfully\"
         1s shop/logs-1/logs@n1%logs ContainerTerminated exit=137 reason=Error",
    ),
    Scene::cause(
        "disk_full",
        "a volume is full and its node is fine",
        "0s data/db-0/db@n1%StatefulSet/db StorageFull src=kernel path=/var/lib/postgresql msg=\"postgres (pid 7): write failed with ENOSPC\"
         1s data/db-0/db@n1%StatefulSet/db Log sev=fatal msg=\"PANIC: could not write to file: No space left on device\"",
    ),
    Scene::cause(
        "disk_full",
        "the device fails",
        "0s node:n1 IoError device=sdb msg=\"I/O error, dev sdb, sector 7\"
         1s node:n1 FilesystemReadOnly device=sdb1 msg=\"Remounting filesystem read-only\"",
    ),
    Scene::cause(
        "memory_eviction",
        "it is the memory that is short",
        "0s shop/logs-1@n1%logs PodEvicted reason=Evicted msg=\"The node was low on resource: memory.\" trace=1
         1s shop/logs-1/logs@n1%logs ContainerTerminated exit=137 reason=Error trace=1
         1s node:n1 NodeCondition condition=MemoryPressure status=true reason=KubeletHasInsufficientMemory trace=2
         1s node:n1 NodeCondition condition=MemoryPressure status=true reason=NodeHasInsufficientMemory count=1 trace=2",
    ),
    Scene::healthy(
        "images are collected and the disk has room",
        "0s node:n1 ObjectEvent reason=ImageGCFailed count=1 sev=warn msg=\"failed to get imageFs stats: non-existent label\"
         1s node:n1 ObjectEvent reason=InvalidDiskCapacity count=1 sev=warn msg=\"invalid capacity 0 on image filesystem\"
         2s node:n1 NodeCondition condition=DiskPressure status=false reason=KubeletHasNoDiskPressure",
    ),
];

const SPEC: Spec = Spec {
    slug: "disk_pressure",
    title: "Node short of disk space",
    wakes_on: &[Kind::PodEvicted, Kind::NodeCondition],
    leads_to: &[
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "unschedulable",
        "image_pull",
        "service_abnormal",
    ],
};

const STORAGE: Resource = Resource {
    condition: "DiskPressure",
    eviction: Eviction::Storage,
    name: "disk space",
    attempts: &["FreeDiskSpaceFailed", "ImageGCFailed", "EvictionThresholdMet"],
};

/// Finds nodes that are short of disk space, and pods that used too much of it.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let short = Shortage::find(view, &STORAGE);
        let nodes = short.iter().filter_map(|shortage| of_node(view, shortage));
        let mut greedy: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        let own = |event: &&Event| eviction(event) == Some(Eviction::OwnStorage);
        for event in view.of(Kind::PodEvicted).filter(own) {
            if let Some(pod) = Entity::pod(&event.place).or_else(|| Entity::narrowest(&event.place))
            {
                greedy.entry(pod).or_default().push(event);
            }
        }
        let pods = greedy.into_iter().filter_map(|(pod, events)| of_pod(pod, &events));
        nodes.chain(pods).collect()
    }
}

fn of_node(view: &View<'_>, shortage: &Shortage<'_>) -> Option<Draft> {
    let draft = shortage
        .draft(view, &STORAGE)?
        .advise(
            "On the node: `df -h; df -i`, then `du -xh --max-depth=2 /var | sort -h`: logs, images \
             or an emptyDir.",
        )
        .advise("Rotate logs, prune images, and set ephemeral-storage requests and limits.")
        .rule_out("memory_eviction", "the kubelet names the disk", &shortage.evicted);
    let draft = match greediest(view, shortage.node) {
        Some(who) => {
            let said = draft.root_cause().trim_end_matches('.').to_owned();
            draft.because(format!("{said}; {who}."))
        }
        None => draft,
    };
    let refused: Vec<_> = refused(view, shortage.node).collect();
    let draft = refused.iter().fold(draft, |draft, event| {
        // What the refused writes alone would have told is this.
        let disk = disk_full::subject(event).into_iter();
        let draft = disk.fold(draft.touching(&event.place), Draft::touch);
        draft.step(event, format!("a write was refused: no space is left{}", quoted(event)))
    });
    Some(draft.rule_out(
        "disk_full",
        "the node reports pressure: it is its own disk, not a volume",
        &shortage.pressed,
    ))
}

/// Names the container that used most of the disk, by what the kubelet said when it evicted pods:
/// `Container logs was using 43281964Ki, request is 0`.
fn greediest(view: &View<'_>, node: Option<&Text>) -> Option<String> {
    let told = view.events().filter(|event| {
        let is_word = event.kind == Kind::ObjectEvent && reason(event) == "Evicted";
        (is_word || event.kind == Kind::PodEvicted)
            && event.place.node.as_ref() == node
            && event.message().contains("ephemeral-storage")
    });
    let used = told.flat_map(|event| {
        let pieces = event.message().split("ontainer ").skip(1);
        pieces.filter_map(move |piece| {
            let (name, rest) = piece.split_once(" was using ")?;
            let amount = rest.split([',', ' ']).next()?;
            let is_free = rest.contains("request is 0,") || rest.contains("request is 0.");
            Some((kib(amount)?, name, (amount, is_free), event))
        })
    });
    let (_, name, (amount, is_free), event) = used.max_by_key(|(kib, name, ..)| (*kib, *name))?;
    let text = |key| event.attributes.text(key);
    let pod = match text(keys::OBJECT_NAMESPACE).zip(text(keys::OBJECT_NAME)) {
        Some((namespace, pod)) => format!("{namespace}/{pod}"),
        None => event.place.label(),
    };
    let request = if is_free { ", and requests none" } else { "" };
    Some(format!("container {name} of {pod} used {amount} of it{request}"))
}

/// Reads an amount of bytes in KiB: `43281964Ki`, `9Gi`, `1024`.
fn kib(amount: &str) -> Option<u64> {
    const UNITS: &[(&str, u64)] = &[("Ki", 1), ("Mi", 1 << 10), ("Gi", 1 << 20), ("Ti", 1 << 30)];
    let unit = UNITS.iter().find_map(|(unit, kib)| Some((amount.strip_suffix(unit)?, *kib)));
    match unit {
        Some((number, kib)) => number.parse::<u64>().ok()?.checked_mul(kib),
        None => amount.parse::<u64>().ok().map(|bytes| bytes / 1_024),
    }
}

fn refused<'a>(view: &View<'a>, node: Option<&Text>) -> impl Iterator<Item = &'a Event> {
    let full = view.of(Kind::StorageFull);
    full.filter(move |event| event.place.node.is_none() || event.place.node.as_ref() == node)
}

fn of_pod(pod: Entity, events: &[&Event]) -> Option<Draft> {
    let root = *events.first()?;
    let name = root.place.label();
    let draft = Draft::new(pod, class(root), root, left(root))
        .title(format!("{name} was evicted: it used more local disk than its own limit"))
        .because(format!(
            "{name} used more ephemeral storage than its limit, so the kubelet evicted it{}.",
            quoted(root)
        ))
        .advise("Find what it writes: logs, caches or an emptyDir; move it to a volume, or rotate.")
        .advise("Raise its ephemeral-storage limit, or the emptyDir's sizeLimit, if it is needed.")
        .rule_out("memory_eviction", "the kubelet names local storage", events);
    Some(
        events
            .iter()
            .fold(draft, |draft, event| draft.touching(&event.place).step(event, left(event))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESSED: &str = "9s node:n1 NodeCondition condition=DiskPressure status=true";

    #[test]
    fn refused_writes_are_the_nodes_disk() {
        let story = format!(
            "1s node:n1 StorageFull src=journal device=sda1; 2s a/b/c@n1 StorageFull count=4; \
             3s x/y/z@n2 StorageFull count=4; {PRESSED}"
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one node") };
        assert_eq!(draft.headline(), "Node n1 is short of disk space");
        assert_eq!(draft.evidence().len(), 3, "the other node's disk is not ours");
        let disk = Entity::Object {
            namespace: "n1".into(),
            kind: "Filesystem".into(),
            name: "sda1".into(),
        };
        assert!(draft.touches().contains(&disk));
    }

    #[test]
    fn who_used_most_of_it_is_named() {
        let evicted = |pod: &str, said: &str| {
            format!(
                "1s {pod}@n1 PodEvicted reason=Evicted msg=\"The node was low on resource: \
                 ephemeral-storage. Threshold quantity: 1Gi, available: 7Mi. {said}\"; "
            )
        };
        let story = [
            &*evicted("a/b", "Container b was using 900Mi, request is 1Gi. "),
            &*evicted(
                "a/c",
                "Container x was using 40Ki, request is 0, has larger consumption. \
                Container c was using 9Gi, request is 0, has larger consumption of it.",
            ),
            PRESSED,
        ];
        let [draft] = &told!(Detector, &story.concat())[..] else { panic!("one node") };
        let want = "; container c of a/c used 9Gi of it, and requests none.";
        assert!(draft.root_cause().ends_with(want), "{}", draft.root_cause());
        let of_node = format!(
            "1s node:n1 ObjectEvent reason=Evicted sev=info okind=Pod oname=c \
             tapio.object.namespace=a msg=\"low on resource: ephemeral-storage. Container c was \
             using 43281964Ki, request is 5Gi.\"; {PRESSED}"
        );
        let [draft] = &told!(Detector, &of_node)[..] else { panic!("one node") };
        let want = "container c of a/c used 43281964Ki of it.";
        assert!(draft.root_cause().ends_with(want), "{}", draft.root_cause());
        let other = of_node.replace("ephemeral-storage", "memory");
        let [draft] = &told!(Detector, &other)[..] else { panic!("one node") };
        assert!(!draft.root_cause().contains("used"), "{}", draft.root_cause());
    }

    #[test]
    fn inodes_are_disk_space_too() {
        let story =
            "0s a/b@n1 PodEvicted reason=Evicted msg=\"The node was low on resource: inodes.\"";
        let [draft] = &told!(Detector, story)[..] else { panic!("one node") };
        assert_eq!(draft.subject(), &Entity::Node { name: "n1".into() });
        assert!(draft.headline().ends_with("evicted a/b"), "{}", draft.headline());
    }

    #[test]
    fn a_pod_beyond_its_own_limit_says_nothing_of_the_node() {
        for said in [
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
            "Container b exceeded its local ephemeral storage limit \\\"1Gi\\\".",
            "Usage of EmptyDir volume \\\"tmp\\\" exceeds the limit \\\"1Gi\\\".",
        ] {
            let story = format!("0s a/b@n1 PodEvicted reason=Evicted msg=\"{said}\"");
            let [draft] = &told!(Detector, &story)[..] else { panic!("{story}") };
            assert_eq!(draft.subject(), &Entity::Pod { uid: "uid-a-b".into() });
            assert!(!draft.touches().contains(&Entity::Node { name: "n1".into() }));
        }
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b/c@n1 StorageFull count=9",
            "0s a/b@n1 PodEvicted reason=Evicted msg=\"The node was low on resource: memory.\"",
            "0s a/b@n1 PodEvicted reason=EvictionByEvictionAPI",
            "0s node:n1 NodeCondition condition=DiskPressure status=false",
            "0s node:n1 ObjectEvent reason=FreeDiskSpaceFailed",
            "0s node:n1 IoError device=sdb",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
