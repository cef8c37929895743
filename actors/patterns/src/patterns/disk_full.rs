//! Writes fail: a filesystem is full, or it turned read-only after an error, or its device fails.
//!
//! Evidence: I/O errors of the block layer, the filesystem's own errors, the remount to
//! read-only, refused writes (ENOSPC, EROFS). An application's word alone decides nothing: quotas,
//! inotify watches and read-only root filesystems answer alike.
//! Root: the first event of the deepest layer: device, else filesystem, else remount, else ENOSPC.
//! Not this: `disk_pressure` (the kubelet evicts from a full node disk), `watch_limit` (ENOSPC of
//! inotify), `bad_config` (a root filesystem that is read-only by design), `api_server_overload`
//! (etcd's own quota is used up, not its disk).
//! First look: `df -h; df -i` where it was refused, and the kernel's log for the device.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Place, Source, keys};

use super::watch_limit::is_watch;
use crate::{
    Scene,
    witness::{count, quoted, same_container, spot, times, touch_services, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "disk_full",
        "a device fails, its filesystem turns read-only, and a database cannot write",
        r#"0s node:n1 IoError device=sdb msg="I/O error, dev sdb, sector 1953128 op 0x1:(WRITE)"
         1s node:n1 FilesystemError device=sdb1 msg="EXT4-fs error (device sdb1): ext4_journal_check_start:83: Detected aborted journal"
         1s node:n1 FilesystemReadOnly device=sdb1 msg="EXT4-fs (sdb1): Remounting filesystem read-only"
         2s data/db-0/db@n1%StatefulSet/db FilesystemReadOnly src=app sev=error error=EROFS msg="could not write to file \"pg_wal/xlogtemp.77\": Read-only file system" trace=2
         4s data/db-0/db@n1%StatefulSet/db FilesystemReadOnly src=app sev=error error=EROFS msg="could not write to file \"pg_wal/xlogtemp.78\": Read-only file system" trace=2"#,
    ),
    Scene::cause(
        "disk_full",
        "the disk of a node is full, say its daemons and two of its pods",
        r#"0s unit:containerd.service@n1 StorageFull src=journal path=/var/lib/containerd error=ENOSPC msg="write /var/lib/containerd/tmp: no space left on device"
         4s unit:containerd.service@n1 StorageFull src=journal path=/var/lib/containerd error=ENOSPC msg="write /var/lib/containerd/tmp: no space left on device"
         2s shop/a-6d5f9c8b7-aaaaa/a@n1%a StorageFull error=ENOSPC msg="write /tmp/upload.1: no space left on device" trace=2
         3s shop/a-6d5f9c8b7-aaaaa/a@n1%a StorageFull error=ENOSPC msg="write /tmp/upload.2: no space left on device" trace=2
         3s shop/b-7f6b8d9c4-bbbbb/b@n1%b StorageFull error=ENOSPC msg="ENOSPC: no space left on device, write" trace=3
         5s shop/b-7f6b8d9c4-bbbbb/b@n1%b StorageFull error=ENOSPC msg="ENOSPC: no space left on device, write" trace=3"#,
    ),
    Scene::cause(
        "cannot_start",
        "a write is refused for want of rights, not of space",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerStarted restarts=0
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart Log sev=error msg="mkdir /data/cache: permission denied"
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerTerminated exit=1 reason=Error
         1s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart ContainerWaiting reason=CrashLoopBackOff"#,
    ),
    Scene::unknown(
        "disk_full",
        "an application says that no space is left, and nobody else does",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart StorageFull error=ENOSPC msg="write /data/x: no space left on device"
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart StorageFull error=ENOSPC msg="write /data/y: no space left on device""#,
    ),
    Scene::unknown(
        "disk_full",
        "a program writes where its filesystem may be read-only by design",
        r#"0s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart FilesystemReadOnly src=app error=EROFS msg="open /app/cache.db: read-only file system"
         3s shop/cart-7f6b8d9c4-x2kq9/cart@n2%cart FilesystemReadOnly src=app error=EROFS msg="open /app/cache.db: read-only file system""#,
    ),
    Scene::healthy(
        "an empty drive, and a line that quotes a customer",
        r#"0s node:n1 IoError device=sr0 msg="I/O error, dev sr0, sector 0 op 0x0:(READ)"
         1s node:n1 IoError device=sr0 msg="I/O error, dev sr0, sector 0 op 0x0:(READ)"
         2s shop/desk-6d5f9c8b7-k2x4p/desk@n1%desk StorageFull error=ENOSPC msg="ticket 4711: the customer reports No space left on device" trace=2
         3s shop/desk-6d5f9c8b7-k2x4p/desk@n1%desk Log msg="ticket 4711 closed" trace=2"#,
    ),
];

const SPEC: Spec = Spec {
    slug: "disk_full",
    title: "Disk full, read-only or failing",
    wakes_on: &[Kind::StorageFull, Kind::FilesystemReadOnly, Kind::FilesystemError, Kind::IoError],
    leads_to: &[
        "disk_pressure",
        "image_pull",
        "node_not_ready",
        "cannot_start",
        "connection_failed",
        "cascading_dependency",
        "api_server_overload",
        "job_failed",
        "service_abnormal",
    ],
};

/// Layers, the deepest first: trouble in one explains those after it.
const LAYERS: [Kind; 4] =
    [Kind::IoError, Kind::FilesystemError, Kind::FilesystemReadOnly, Kind::StorageFull];

/// One line of an application may quote somebody else; a full disk refuses the next write too.
const APP_LINES_MIN: i64 = 2;

/// Finds filesystems that refuse writes.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let (on_device, elsewhere): (Vec<_>, Vec<_>) = view
            .events()
            .filter(|event| LAYERS.contains(&event.kind) && !is_empty_drive(event))
            .filter(|event| !is_watch(event) && !is_of_etcd(event))
            .partition(|event| device(event).is_some());
        let mut groups: Vec<Vec<&Event>> = Vec::new();
        // Events that name a device come first, so that those that name none can join them.
        for event in on_device.into_iter().chain(elsewhere) {
            // Refused writes come by the thousand, and most are like the one before.
            if let Some(group) = groups.last_mut().filter(|group| is_repeat(group, event)) {
                group.push(event);
                continue;
            }
            match groups.iter_mut().find(|group| group.iter().any(|one| is_one_disk(one, event))) {
                Some(group) => group.push(event),
                None => groups.push(vec![event]),
            }
        }
        groups.iter().filter_map(|group| draft(view, group)).collect()
    }
}

fn device(event: &Event) -> Option<&str> {
    let device = event.attributes.text(keys::DEVICE)?;
    Some(device.strip_prefix("/dev/").unwrap_or(device))
}

/// Says whether it is an optical or floppy drive, which errs whenever it is empty.
fn is_empty_drive(event: &Event) -> bool {
    device(event).is_some_and(|name| name.starts_with("sr") || name.starts_with("fd"))
}

/// Says whether etcd's own quota is used up: its disk may be half empty.
fn is_of_etcd(event: &Event) -> bool {
    event.attributes.text(keys::REASON) == Some("EtcdNoSpace")
}

/// Says whether both are of one disk: a disk and its partition are one; an event that names no
/// device is of its node's, or of its container's.
fn is_one_disk(one: &Event, other: &Event) -> bool {
    let node = one.place.node == other.place.node;
    match (device(one), device(other)) {
        (Some(a), Some(b)) => node && (is_part(a, b) || is_part(b, a)),
        (Some(_), None) | (None, Some(_)) => {
            // No space is another trouble than a fault of the disk.
            let full = (one.kind == Kind::StorageFull) == (other.kind == Kind::StorageFull);
            node && full && one.place.node.is_some()
        }
        (None, None) => {
            let path = one.attributes.text(keys::PATH);
            let host = one.place.pod.is_none() && other.place.pod.is_none();
            same_container(one, other)
                || (node && host && path == other.attributes.text(keys::PATH))
        }
    }
}

/// Says whether an event is the last one of a group once more.
fn is_repeat(group: &[&Event], event: &Event) -> bool {
    let same = |last: &&Event| {
        std::ptr::eq(&*last.place, &*event.place)
            && last.kind == event.kind
            && last.attributes.text(keys::DEVICE) == event.attributes.text(keys::DEVICE)
            && last.attributes.text(keys::PATH) == event.attributes.text(keys::PATH)
    };
    group.last().is_some_and(same)
}

/// Says whether `part` is `disk` or a partition of it: `sda1` of `sda`, `nvme0n1p2` of `nvme0n1`.
fn is_part(part: &str, disk: &str) -> bool {
    let Some(rest) = part.strip_prefix(disk) else { return false };
    let number = match rest.strip_prefix('p') {
        Some(number) if disk.ends_with(|letter: char| letter.is_ascii_digit()) => number,
        Some(_) => return false,
        None if rest.is_empty() => return true,
        None if disk.ends_with(|letter: char| letter.is_ascii_digit()) => return false,
        None => rest,
    };
    !number.is_empty() && number.chars().all(|letter| letter.is_ascii_digit())
}

fn draft(view: &View<'_>, group: &[&Event]) -> Option<Draft> {
    let root = LAYERS.into_iter().find_map(|kind| {
        let mut layer = group.iter().copied().filter(|event| event.kind == kind);
        // Of one layer the system's word comes before an application's.
        layer.clone().find(|event| !is_of_app(event)).or_else(|| layer.next())
    })?;
    let by_app = group.iter().all(|event| is_of_app(event));
    let full = root.kind == Kind::StorageFull;
    let pressed = view.events().find(|event| is_pressed(event, &root.place));
    // It is the node's own disk, no volume: that is a story of its own.
    if full && pressed.is_some() {
        return None;
    }
    let lines: i64 = group.iter().filter(|it| it.kind == root.kind).map(|it| count(it)).sum();
    if by_app && lines < APP_LINES_MIN && pressed.is_none() {
        return None;
    }
    let class = match root.source {
        Source::Kernel => EvidenceClass::KernelProof,
        Source::Cgroup | Source::Kubernetes | Source::Metrics => EvidenceClass::ObjectStatus,
        Source::Journal | Source::Network => EvidenceClass::EventText,
        Source::App | Source::Otlp => EvidenceClass::LogTemplate,
    };
    let disk = group.iter().find_map(|event| device(event));
    let subject = match disk {
        Some(name) => filesystem(&root.place, name),
        None => subject(root)?,
    };
    let named = name(root, disk);
    let (what, why) = cause(root.kind);
    let again = times(group.iter().filter(|event| event.kind == root.kind).map(|e| count(e)).sum());
    let draft = Draft::new(subject, class, root, text(root))
        .title(format!("{named} {what}{again}"))
        .because(format!("{named} {why}{}.", quoted(root)));
    let draft = places(group)
        .into_iter()
        .fold(draft, |draft, place| touch_services(view, draft.touching(place), place));
    let draft = group.iter().take(Draft::EVIDENCE_MAX).fold(draft, |draft, event| {
        if is_of_app(event) {
            draft.symptom(event, text(event))
        } else {
            draft.step(event, text(event))
        }
    });
    // Those who write to a node's disk join the incident of whoever sees the disk itself.
    let node = Entity::node(&root.place);
    let draft = node.into_iter().fold(advise(draft, root, &named), Draft::touch);
    match pressed {
        None if by_app && is_said_again(group) => {
            Some(draft.missing("free space and inodes of the filesystem"))
        }
        Some(_) | None if by_app => Some(doubt(draft, root)),
        Some(event) => Some(draft.step(event, "the kubelet reports disk pressure")),
        None if full => {
            let because = "the node reports no disk pressure: it is a volume, not the node's disk";
            Some(draft.rule_out("disk_pressure", because, &[]))
        }
        None => Some(draft),
    }
}

/// Says whether a log at hand as a whole says again and again that what is written finds no space:
/// who sets watches does not write.
fn is_said_again(group: &[&Event]) -> bool {
    const AGAIN_MIN: i64 = 3;
    let writes = |event: &&&Event| {
        let said = event.message().to_ascii_lowercase();
        event.kind == Kind::StorageFull
            && event.attributes.int(keys::SAMPLED).is_some()
            && ["writ", "extend", "append", "copy", "flush"].iter().any(|word| said.contains(word))
    };
    group.iter().filter(writes).map(|event| count(event)).sum::<i64>() >= AGAIN_MIN
}

/// Returns the places of events, each once: thousands of refused writes have a few.
fn places<'a>(group: &[&'a Event]) -> Vec<&'a Place> {
    let mut places: Vec<&Place> = Vec::new();
    for event in group {
        if !places.iter().any(|known| std::ptr::eq(*known, &*event.place)) {
            places.push(&event.place);
        }
    }
    places
}

fn is_of_app(event: &Event) -> bool {
    matches!(event.source, Source::App | Source::Otlp)
}

fn is_pressed(event: &Event, place: &Place) -> bool {
    event.kind == Kind::NodeCondition
        && event.attributes.text(keys::CONDITION) == Some("DiskPressure")
        && truth(event, keys::STATUS) != Some(false)
        && (place.node.is_none() || event.place.node == place.node)
}

/// Returns what a refused write is about: the filesystem that it names, else who wrote.
pub(super) fn subject(event: &Event) -> Option<Entity> {
    let path = event.attributes.text(keys::PATH).filter(|_| event.place.pod.is_none());
    match device(event).or(path) {
        Some(name) => Some(filesystem(&event.place, name)),
        None => Entity::narrowest(&event.place),
    }
}

fn filesystem(place: &Place, name: &str) -> Entity {
    let namespace = place.node.clone().unwrap_or_default();
    Entity::Object { namespace, kind: "Filesystem".into(), name: name.into() }
}

fn name(root: &Event, disk: Option<&str>) -> String {
    let path = root.attributes.text(keys::PATH);
    let node = root.place.node.as_ref().map(|node| format!(" of node {node}")).unwrap_or_default();
    match (disk, path) {
        (Some(disk), Some(path)) => format!("Disk {disk} ({path}){node}"),
        (Some(disk), None) => format!("Disk {disk}{node}"),
        (None, Some(path)) => format!("The filesystem of {path} in {}", spot(&root.place)),
        (None, None) => format!("A filesystem of {}", spot(&root.place)),
    }
}

fn cause(kind: Kind) -> (&'static str, &'static str) {
    if kind == Kind::IoError {
        ("fails: I/O errors", "returned I/O errors, so the device or its path is at fault")
    } else if kind == Kind::FilesystemError {
        ("is damaged: filesystem errors", "reported errors of its own")
    } else if kind == Kind::FilesystemReadOnly {
        ("is read-only", "refuses writes because it is mounted read-only")
    } else {
        ("is full", "has no space or no inodes left, so writes are refused")
    }
}

fn text(event: &Event) -> String {
    let (what, _) = cause(event.kind);
    let disk = device(event).map(|device| format!(" on {device}")).unwrap_or_default();
    format!("{what}{disk}{}{}", times(count(event)), quoted(event))
}

fn advise(draft: Draft, root: &Event, named: &str) -> Draft {
    if root.kind == Kind::StorageFull {
        draft
            .advise(
                "`df -h; df -i`: space or inodes? Find what grows: logs, temporary files, a \
                database's write-ahead log.",
            )
            .advise("Expand the volume, or rotate and prune; set ephemeral-storage limits.")
    } else {
        draft
            .advise(format!(
                "{named}: read `dmesg` and `smartctl -a`; move the workload before \
                you repair."
            ))
            .advise(
                "Replace the device or detach and check the volume (fsck); never remount it \
                writable unchecked.",
            )
    }
}

fn doubt(draft: Draft, root: &Event) -> Draft {
    if root.kind == Kind::StorageFull {
        return draft.missing("free space and inodes of the filesystem").or(
            "watch_limit",
            "space is left, and a quota or the inotify watches are used up",
            "`df -h; df -i` where it was refused: 100 % means full; else quota and \
                fs.inotify.max_user_watches",
        );
    }
    let text = "the filesystem is read-only, or the path broken, by its own settings";
    draft.missing("the kernel's own line about the device or the filesystem").or(
        "bad_config",
        text,
        "`dmesg | grep -iE 'I/O error|read-only'`, and readOnly or readOnlyRootFilesystem in the \
            pod",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_device_explains_what_follows() {
        let story = "0s node:n1 IoError device=sdb count=4 msg=\"I/O error, dev sdb, sector 7\"; \
            1s node:n1 FilesystemError device=sdb1 msg=\"EXT4-fs error (device sdb1)\"; \
            2s node:n1 FilesystemReadOnly device=sdb1; \
            3s shop/db-1/db@n1 FilesystemReadOnly src=app msg=\"could not write: Read-only file system\"";
        let [draft] = &told!(Detector, story)[..] else { panic!("one disk") };
        let name = "sdb".into();
        let disk = Entity::Object { namespace: "n1".into(), kind: "Filesystem".into(), name };
        assert_eq!(draft.subject(), &disk);
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        assert_eq!(draft.headline(), "Disk sdb of node n1 fails: I/O errors 4 times");
        assert_eq!(draft.evidence().len(), 4);
        assert!(draft.doubt().is_none() && draft.touches().len() > 2);
    }

    #[test]
    fn each_layer_is_its_own_cause() {
        let cases = [
            ("FilesystemError device=sdb", "damaged"),
            ("FilesystemReadOnly device=sdb", "read-only"),
            ("StorageFull device=sdb path=/var/lib/db src=kernel", "(/var/lib/db)"),
            ("StorageFull src=journal", "is full"),
        ];
        for (words, want) in cases {
            let story = format!("0s node:n1 {words}");
            let [draft] = &told!(Detector, &story)[..] else { panic!("{story}") };
            assert!(draft.headline().contains(want), "{}", draft.headline());
            assert!(draft.doubt().is_none(), "{story}");
        }
    }

    #[test]
    fn an_applications_word_alone_is_unknown() {
        let cases = [("StorageFull", "watch_limit"), ("FilesystemReadOnly src=app", "bad_config")];
        for (words, alternative) in cases {
            let story = format!("0s a/b/c@n1 {words}");
            assert_eq!(told!(Detector, &story), [], "one line may quote somebody else");
            let [draft] = &told!(Detector, &format!("{story} count=2"))[..] else {
                panic!("{story}")
            };
            let doubt = draft.doubt().expect("an application said so");
            let node = Entity::Node { name: "n1".into() };
            assert!(draft.touches().contains(&node), "it joins whoever sees the disk");
            assert_eq!(doubt.alternative, alternative);
        }
    }

    #[test]
    fn disk_pressure_says_that_it_is_the_node() {
        let story = "0s a/b/c@n1 StorageFull src=kernel; 5s node:n1 NodeCondition condition=DiskPressure \
             status=true";
        assert_eq!(told!(Detector, story), [], "the node's disk is another story");
        let volume = told!(Detector, "0s a/b/c@n1 StorageFull src=kernel");
        assert_eq!(volume[0].ruled_out()[0].pattern, "disk_pressure");
    }

    #[test]
    fn two_disks_are_two_drafts() {
        let cases = [
            ("sda", "sda1", 1),
            ("sda1", "/dev/sda", 1),
            ("nvme0n1", "nvme0n1p2", 1),
            ("sda", "sdab", 2),
            ("sda1", "sda10", 2),
            ("nvme0n1", "nvme0n12", 2),
        ];
        for (one, other, disks) in cases {
            let story =
                format!("0s node:n1 IoError device={one}; 1s node:n1 IoError device={other}");
            assert_eq!(told!(Detector, &story).len(), disks, "{story}");
        }
        assert_eq!(
            told!(Detector, "0s node:n1 IoError device=sda; 0s node:n2 IoError device=sda").len(),
            2
        );
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s node:n1 IoError device=sr0",
            "0s node:n1 IoError device=fd0",
            "0s node:n1 NodeCondition condition=DiskPressure status=true",
            "0s a/b/c Log sev=error msg=\"disk is 80% full\"",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
