//! A volume that is bound cannot be attached to the pod's node, or not be mounted there.
//!
//! Evidence: the attach controller's refusal ("Multi-Attach error", "AttachVolume.Attach failed"),
//! or the kubelet's failed mount whose message names a device, a driver, a file server or a
//! filesystem; no start of the pod's containers afterwards.
//! Root: the first refusal that names the cause, else the first one.
//! Not this: `volume_unbound` (the claim has no volume yet); `missing_config` (the volume is a
//! ConfigMap or Secret); a mount that merely timed out names neither, and stays a doubt there.
//! First look: `kubectl get volumeattachments`, and the old pod and node of the volume; then
//! `kubectl describe pod POD`.

use std::collections::BTreeSet;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Text, keys};

use crate::{
    Scene,
    last_words::{quote, rollout_before},
    witness::{by_owner, touch_services, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "volume_mount",
        "the volume is still attached to the node of the old pod",
        "0s shop/x%db RolloutStarted hash=7f6b8d9c4
        1s shop/db-2@n2%db PodScheduled
        2s shop/db-2@n2%db VolumeUnbound reason=FailedAttachVolume msg=\"Multi-Attach error for volume \\\"pv-7\\\" Volume is already used by pod(s) db-1\"
        12s shop/db-2@n2%db MountFailed reason=FailedMount msg=\"Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data kube-api-access-x2kq9]: timed out waiting for the condition\"",
    ),
    Scene::cause(
        "volume_mount",
        "the file server does not answer",
        "0s shop/web-1@n1%web MountFailed reason=FailedMount count=2 msg=\"MountVolume.SetUp failed for volume \\\"media\\\" : mount failed: exit status 32, mount.nfs: Connection timed out\"
        9s shop/web-1@n1%web MountFailed reason=FailedMount msg=\"Unable to attach or mount volumes: unmounted volumes=[media], unattached volumes=[media]: timed out waiting for the condition\"",
    ),
    Scene::cause(
        "volume_unbound",
        "the claim has no volume",
        "0s shop/x%StatefulSet/db VolumeUnbound reason=ProvisioningFailed okind=PersistentVolumeClaim oname=data-db-0 msg=\"storageclass.storage.k8s.io \\\"fast\\\" not found\"
        1s shop/db-0%StatefulSet/db VolumeUnbound reason=FailedScheduling msg=\"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.\"",
    ),
    Scene::cause(
        "missing_config",
        "the volume is a Secret that does not exist",
        "0s shop/web-1@n1%web MountFailed reason=FailedMount count=4 msg=\"MountVolume.SetUp failed for volume \\\"tls\\\" : secret \\\"web-tls\\\" not found\"
        9s shop/web-1@n1%web MountFailed reason=FailedMount msg=\"Unable to attach or mount volumes: unmounted volumes=[tls], unattached volumes=[tls]: timed out waiting for the condition\"",
    ),
    Scene::unknown(
        "volume_mount",
        "a mount timed out and names no cause",
        "0s shop/web-1@n1%web PodScheduled
        9s shop/web-1@n1%web MountFailed reason=FailedMount msg=\"Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data]: timed out waiting for the condition\"",
    ),
    Scene::healthy(
        "the old pod lets the volume go",
        "0s shop/db-2@n2%db VolumeUnbound reason=FailedAttachVolume msg=\"Multi-Attach error for volume \\\"pv-7\\\" Volume is already used by pod(s) db-1\"
        6s shop/db-2@n2%db ObjectEvent reason=SuccessfulAttachVolume msg=\"AttachVolume.Attach succeeded for volume \\\"pv-7\\\"\"
        8s shop/db-2/db@n2%db ContainerStarted",
    ),
    Scene::healthy(
        "the kubelet has not read the pod's objects yet",
        "0s shop/web-1@n1%web PodScheduled
        0s shop/web-1@n1%web MountFailed reason=FailedMount msg=\"MountVolume.SetUp failed for volume \\\"kube-api-access-x2kq9\\\" : failed to sync configmap cache: timed out waiting for the condition\"
        2s shop/web-1/web@n1%web ContainerStarted",
    ),
    Scene::cause(
        "node_not_ready",
        "the node of the old pod is lost and holds the volume",
        "0s node:n1 NodeCondition trace=1 condition=Ready status=false reason=NodeStatusUnknown sev=error impact=0.8 msg=\"Kubelet stopped posting node status.\"
        1s node:n1 NodeCondition trace=1 condition=Ready status=false reason=NodeNotReady sev=error impact=0.8 msg=\"Node n1 status is now: NodeNotReady\"
        1s shop/db-1@n1%db PodReadiness trace=2 status=false
        4s shop/db-2@n2%db VolumeUnbound trace=2 reason=FailedAttachVolume count=2 msg=\"Multi-Attach error for volume \\\"pv-7\\\" Volume is already exclusively attached to one node and can't be attached to another\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "volume_mount",
    title: "Volume cannot be attached or mounted",
    wakes_on: &[Kind::VolumeUnbound, Kind::MountFailed],
    leads_to: &[
        "cannot_start",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "job_failed",
        "init_deadlock",
        "admission_webhook",
    ],
};

/// Steps of the kubelet and of the attach controller at which a volume fails, in lower case.
const STEPS: &[&str] = &[
    "attachvolume.",
    "multi-attach error",
    "mountvolume.mountdevice failed",
    "mountvolume.waitforattach failed",
    "mountvolume.setup failed",
    "mountvolume.newmounter initialization failed",
    "mapvolume.",
];

/// Volumes that hold what the API server gives, in lower case: none of them is attached.
const OBJECTS: &[&str] = &[
    "configmap ",
    "configmap \"",
    "secret ",
    "secret \"",
    "secrets \"",
    "kube-api-access",
    "failed to sync",
    "not registered",
    "non-existent config key",
    "non-existent secret key",
    "serviceaccount",
];

/// What the refusal says in lower case, what it means and what to do; the first that fits decides.
const CAUSES: &[(&[&str], &str, &str)] = &[
    (
        &["multi-attach", "already used by", "already exclusively attached", "attached to another"],
        "it is still attached to another node",
        "make sure that the old pod and its node are gone, then delete the VolumeAttachment; a \
         Deployment with such a volume wants strategy Recreate",
    ),
    (
        &["not found in the list of registered", "csinode", "external-attacher", "no such plugin"],
        "its CSI driver does not run, or does not answer",
        "bring the driver's pods back, on the node and its controller: kubectl get csinodes",
    ),
    (
        &["hostpath type check"],
        "its path on the node is missing or of another type",
        "create the path on the node, or correct hostPath.type",
    ),
    (
        &["mount.nfs", "nfs", "cifs", "access denied by server", "no route to host"],
        "its file server does not answer or refuses",
        "check the file server, its exports and the way to it from the node",
    ),
    (
        &[
            "bad superblock",
            "wrong fs type",
            "fsck",
            "structure needs cleaning",
            "can't read superblock",
        ],
        "its filesystem is damaged or of another type",
        "check the filesystem (fsck) while it is not mounted, or restore it from the backup",
    ),
    (
        &["unauthorized", "accessdenied", "permission denied", "forbidden"],
        "the storage provider denies access",
        "give the driver's identity the right to attach the disk",
    ),
    (
        &["limit exceeded", "maximum number of", "attachmentlimit", "too many"],
        "the node holds as many volumes as it may",
        "spread the pods that have volumes over more nodes",
    ),
    (
        &["not found", "does not exist", "no such"],
        "the disk behind it does not exist",
        "restore the disk from its backup, and make a new volume of it",
    ),
];

/// Finds workloads whose volumes cannot be attached or mounted.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let failed = |event: &&Event| is_failure(event) && !is_made_good(view, event);
        let owners = by_owner(view.events().filter(failed));
        owners.into_iter().filter_map(|(owner, failures)| draft(view, owner, &failures)).collect()
    }
}

/// Says whether a volume failed at a step that names it.
fn is_failure(event: &Event) -> bool {
    if event.kind == Kind::VolumeUnbound {
        return event.attributes.text(keys::REASON) == Some("FailedAttachVolume");
    }
    let said = event.message().to_ascii_lowercase();
    event.kind == Kind::MountFailed
        && STEPS.iter().any(|step| said.contains(step))
        && !OBJECTS.iter().any(|object| said.contains(object))
}

/// Says whether the pod has its volume after all.
fn is_made_good(view: &View<'_>, failure: &Event) -> bool {
    view.events().any(|event| {
        let is_attached = event.attributes.text(keys::REASON) == Some("SuccessfulAttachVolume")
            && failure.kind == Kind::VolumeUnbound;
        (event.kind == Kind::ContainerStarted || is_attached)
            && event.order() > failure.order()
            && event.place.is_same_pod(&failure.place)
    })
}

/// Reads the volume's name: `... for volume "pv-7" ...`.
fn volume(failure: &Event) -> Option<Text> {
    let (_, rest) = failure.message().split_once("for volume \"")?;
    rest.split('"').next().filter(|name| !name.is_empty()).map(Text::from)
}

fn cause(failure: &Event) -> Option<(&'static str, &'static str)> {
    let name = volume(failure).map(|name| format!("\"{name}\"")).unwrap_or_default();
    // The volume's own name may hold a mark.
    let said = failure.message().replace(&name, "").to_ascii_lowercase();
    let cause = CAUSES.iter().find(|(marks, ..)| marks.iter().any(|mark| said.contains(mark)));
    cause.map(|(_, what, cure)| (*what, *cure))
}

fn draft(view: &View<'_>, owner: Entity, failures: &[&Event]) -> Option<Draft> {
    let first = *failures.first()?;
    let told = failures.iter().find_map(|failure| Some((*failure, cause(failure)?)));
    let root = told.map_or(first, |(failure, _)| failure);
    let name = volume(root);
    let label = root.place.label();
    let named = name.as_ref().map_or_else(|| "its volume".to_owned(), |it| format!("volume {it}"));
    let mut draft = Draft::new(owner, EvidenceClass::EventText, root, quote(root));
    for failure in failures {
        draft = draft.touching(&failure.place).step(failure, quote(failure));
    }
    if let Some(rollout) = rollout_before(view, root) {
        draft = draft.step(rollout, "a rollout asked for this pod");
    }
    for waits in view.of(Kind::MountFailed).filter(|it| it.place.is_same_workload(&root.place)) {
        draft = draft.symptom(waits, quote(waits));
    }
    if let Some(name) = name.filter(|_| root.kind == Kind::VolumeUnbound) {
        let kind = "PersistentVolume".into();
        draft = draft.touch(Entity::Object { namespace: Text::default(), kind, name });
    }
    draft = touch_services(view, draft, &root.place);
    let what = told.map_or("it cannot be attached or mounted", |(_, (what, _))| what);
    draft = draft
        .title(format!("{label} cannot start without {named}: {what}"))
        .because(format!("{named} of {label} is not there: {what}; {}", quote(root)))
        .advise(told.map_or("kubectl describe pod, then the CSI driver's log", |(_, (_, it))| it))
        .rule_out("missing_config", "the volume is no ConfigMap or Secret", &[root])
        .rule_out("volume_unbound", "the volume has a name: its claim is bound", &[root]);
    Some(from_old_node(view, draft, root))
}

/// What took the node of an old pod left the volume behind: it is part of the story.
fn from_old_node(view: &View<'_>, draft: Draft, root: &Event) -> Draft {
    let is_left = |event: &&Event| {
        let leaves = event.kind == Kind::PodEvicted
            || (event.kind == Kind::PodReadiness && truth(event, keys::STATUS) == Some(false));
        leaves
            && event.order() < root.order()
            && event.place.is_same_workload(&root.place)
            && !event.place.is_same_pod(&root.place)
    };
    let left: Vec<_> = view.events().filter(is_left).collect();
    let nodes: BTreeSet<_> = left.iter().filter_map(|event| Entity::node(&event.place)).collect();
    let here = Entity::node(&root.place);
    let nodes = nodes.into_iter().filter(|node| Some(node) != here.as_ref());
    let draft = nodes.fold(draft, Draft::touch);
    left.into_iter().fold(draft, |draft, event| {
        draft.step(event, format!("the old pod {} was lost", event.place.label()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTI: &str = "1s shop/db-2@n2%db VolumeUnbound reason=FailedAttachVolume \
        msg=\"Multi-Attach error for volume \\\"pv-7\\\" Volume is already used by pod(s) db-1\"";

    #[test]
    fn the_refusal_names_the_cause() {
        let cases = [
            (
                "AttachVolume.Attach failed for volume \\\"x\\\" : volume is already exclusively attached to one node",
                "another node",
            ),
            (
                "AttachVolume.Attach failed for volume \\\"x\\\" : CSINode n1 does not contain driver ebs",
                "CSI driver",
            ),
            (
                "MountVolume.MountDevice failed for volume \\\"x\\\" : wrong fs type, bad option, bad superblock on /dev/sdb",
                "damaged",
            ),
            (
                "MountVolume.SetUp failed for volume \\\"x\\\" : mount.nfs: access denied by server",
                "file server",
            ),
            (
                "AttachVolume.Attach failed for volume \\\"x\\\" : rpc error: InvalidVolume.NotFound",
                "cannot be attached",
            ),
            (
                "AttachVolume.Attach failed for volume \\\"x\\\" : disk vol-1 not found",
                "does not exist",
            ),
        ];
        for (words, what) in cases {
            let draft = one!(Detector, &format!("0s a/b-1%b MountFailed msg=\"{words}\"")).unwrap();
            assert!(draft.headline().contains(what), "{words}: {}", draft.headline());
            assert!(draft.headline().contains("volume x") && draft.doubt().is_none());
        }
    }

    #[test]
    fn a_mount_that_timed_out_is_a_symptom_of_the_attachment() {
        let mount =
            "9s shop/db-2@n2%db MountFailed msg=\"Unable to attach or mount volumes: timed out\"";
        let draft = one!(Detector, &format!("{MULTI}; {mount}")).unwrap();
        assert_eq!(draft.subject().to_string(), "Deployment shop/db");
        assert_eq!(draft.evidence().len(), 2);
        let volume = "PersistentVolume /pv-7";
        assert!(draft.touches().iter().any(|it| it.to_string() == volume));
        assert_eq!(one!(Detector, mount), None, "alone it names nothing");
    }

    #[test]
    fn the_node_of_the_old_pod_is_part_of_the_story() {
        let lost = "0s shop/db-1@n1%db PodReadiness status=false";
        let draft = one!(Detector, &format!("{lost}; {MULTI}")).unwrap();
        assert!(draft.touches().contains(&Entity::Node { name: "n1".into() }));
        let same = one!(Detector, &format!("{}; {MULTI}", lost.replace("n1", "n2"))).unwrap();
        assert!(!same.touches().contains(&Entity::Node { name: "n2".into() }));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let attached =
            format!("{MULTI}; 5s shop/db-2@n2%db ObjectEvent reason=SuccessfulAttachVolume");
        let started = format!("{MULTI}; 5s shop/db-2/db@n2%db ContainerStarted");
        for story in [
            &*attached,
            &started,
            "0s a/b-1 MountFailed msg=\"MountVolume.SetUp failed for volume \\\"env\\\" : configmap \\\"env\\\" not found\"",
            "0s a/b-1 MountFailed msg=\"MountVolume.SetUp failed for volume \\\"kube-api-access-x\\\" : object \\\"a\\\"/\\\"kube-root-ca.crt\\\" not registered\"",
            "0s a/b-1 VolumeUnbound reason=ProvisioningFailed msg=\"storageclass not found\"",
            "0s a/b-1/b ContainerStarted",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
        let other = format!("{MULTI}; 5s shop/db-1/db@n1%db ContainerStarted");
        assert!(one!(Detector, &other).is_some(), "another pod's start is no help");
    }
}
