//! Pods wait for a volume claim that is not bound: its class, size or zone does not exist, it was
//! never created, or the volume behind it is lost.
//!
//! Evidence: the provisioner's or the claim controller's refusal, a claim that lost its volume, or
//! the scheduler's word that the pod waits for a claim; no node for that pod afterwards.
//! Root: the first refusal that names the cause, else the first word of the scheduler.
//! Not this: `volume_mount` (the claim is bound, and the volume cannot be attached or mounted);
//! `unschedulable` (a clause of the refusal is of something else); a claim that waits for its first
//! pod, or whose volume is being made, is as it should be.
//! First look: `kubectl describe pvc -n NAMESPACE`, then `kubectl get storageclass`.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use super::unschedulable::{is_placed, is_refusal, waits_for_volume};
use crate::{
    Scene,
    last_words::quote,
    witness::{count, spot, touch_services},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "volume_unbound",
        "the storage class does not exist",
        "0s shop/x%StatefulSet/db VolumeUnbound reason=ProvisioningFailed okind=PersistentVolumeClaim oname=data-db-0 msg=\"storageclass.storage.k8s.io \\\"fast\\\" not found\"
        1s shop/db-0%StatefulSet/db VolumeUnbound reason=FailedScheduling msg=\"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.\"
        1s shop/db-0%StatefulSet/db ObjectEvent reason=Unschedulable condition=PodScheduled status=false sev=warn msg=\"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.\"",
    ),
    Scene::cause(
        "volume_unbound",
        "a claim was never created",
        "0s shop/db-0%db ObjectEvent reason=FailedScheduling sev=warn msg=\"0/3 nodes are available: persistentvolumeclaim \\\"data\\\" not found.\"
        0s shop/db-0%db ObjectEvent reason=Unschedulable condition=PodScheduled status=false sev=warn msg=\"0/3 nodes are available: persistentvolumeclaim \\\"data\\\" not found.\"",
    ),
    Scene::cause(
        "volume_unbound",
        "a bound claim lost its volume",
        "0s shop/x%StatefulSet/db VolumeUnbound reason=Lost okind=PersistentVolumeClaim oname=data-db-0 msg=\"claim data-db-0 is Lost, its volume pv-7\"
        2s shop/x%StatefulSet/db VolumeUnbound reason=ClaimLost okind=PersistentVolumeClaim oname=data-db-0 msg=\"Bound claim has lost its PersistentVolume. Data on the volume is lost!\"",
    ),
    Scene::cause(
        "unschedulable",
        "one node lacks room, the others the volume",
        "0s shop/db-0%StatefulSet/db ObjectEvent reason=FailedScheduling sev=warn msg=\"0/3 nodes are available: 1 Insufficient memory, 2 node(s) had volume node affinity conflict.\"
        0s shop/db-0%StatefulSet/db ObjectEvent reason=Unschedulable condition=PodScheduled status=false sev=warn msg=\"0/3 nodes are available: 1 Insufficient memory, 2 node(s) had volume node affinity conflict.\"",
    ),
    Scene::cause(
        "volume_mount",
        "the claim is bound and its volume is attached elsewhere",
        "0s shop/db-0@n2%StatefulSet/db VolumeUnbound reason=FailedAttachVolume count=2 msg=\"Multi-Attach error for volume \\\"pv-7\\\" Volume is already exclusively attached to one node and can't be attached to another\"
        9s shop/db-0@n2%StatefulSet/db MountFailed reason=FailedMount msg=\"Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data]: timed out waiting for the condition\"",
    ),
    Scene::cause(
        "missing_config",
        "the volume is a ConfigMap",
        "0s shop/cart-1@n1%cart MountFailed reason=FailedMount count=3 msg=\"MountVolume.SetUp failed for volume \\\"env\\\" : configmap \\\"cart-env\\\" not found\"
        9s shop/cart-1@n1%cart MountFailed reason=FailedMount msg=\"MountVolume.SetUp failed for volume \\\"env\\\" : configmap \\\"cart-env\\\" not found\"",
    ),
    Scene::unknown(
        "volume_unbound",
        "the scheduler's message was lost",
        "0s shop/db-0%StatefulSet/db ObjectEvent reason=FailedScheduling sev=warn
        0s shop/db-0%StatefulSet/db ObjectEvent reason=Unschedulable condition=PodScheduled status=false sev=warn",
    ),
    Scene::healthy(
        "a claim waits for its first pod",
        "0s shop/x%StatefulSet/db ObjectEvent reason=WaitForFirstConsumer okind=PersistentVolumeClaim oname=data-db-0 msg=\"waiting for first consumer to be created before binding\"
        1s shop/x%StatefulSet/db ObjectEvent reason=ProvisioningSucceeded okind=PersistentVolumeClaim oname=data-db-0
        2s shop/db-0@n1%StatefulSet/db PodScheduled",
    ),
    Scene::healthy(
        "a volume is being made",
        "0s shop/db-0%StatefulSet/db VolumeUnbound reason=FailedScheduling msg=\"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.\"
        0s shop/x%StatefulSet/db ObjectEvent reason=Provisioning okind=PersistentVolumeClaim oname=data-db-0 msg=\"External provisioner is provisioning volume for claim shop/data-db-0\"
        0s shop/db-0%StatefulSet/db ObjectEvent reason=Unschedulable condition=PodScheduled status=false msg=\"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "volume_unbound",
    title: "Volume claim is not bound",
    wakes_on: &[Kind::VolumeUnbound, Kind::ObjectEvent],
    leads_to: &[
        "cannot_start",
        "unschedulable",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "job_failed",
        "init_deadlock",
        "admission_webhook",
    ],
};

/// A provisioner that is told of a claim says so once or twice; one that is not there, for ever.
const PROVISIONING_TOLD_MAX: i64 = 3;

/// What the refusal says in lower case, what it means and what to do; the first that fits decides.
const CAUSES: &[(&[&str], &str, &str)] = &[
    (
        &[
            "is lost",
            "claimlost",
            "lost its persistentvolume",
            "is pending, its volume",
            "bound to non-existent",
        ],
        "the volume behind the claim is gone",
        "restore the volume from its backup, and bind a new claim to it",
    ),
    (
        &[
            "no storage class is set",
            "no persistent volumes available",
            "available persistent volumes",
        ],
        "no volume fits it, and no storage class makes one",
        "create a volume of its size and access mode, or set storageClassName",
    ),
    (
        &["quota", "limit exceeded", "limitexceeded"],
        "the storage quota is used up",
        "raise the quota of the storage provider or of the namespace, or delete volumes",
    ),
    (
        &[
            "insufficient capacity",
            "free storage",
            "not enough",
            "resourceexhausted",
            "no space",
            "out of capacity",
        ],
        "the storage has no room for it",
        "add storage, or claim less",
    ),
    (
        &["storageclass.storage.k8s.io \""],
        "its storage class does not exist",
        "create the storage class, or name one of kubectl get storageclass in the claim",
    ),
    (
        &["zone", "topology", "node affinity"],
        "its volume is in a zone or on a node where the pod cannot run",
        "move the volume, or use a class with volumeBindingMode: WaitForFirstConsumer",
    ),
    (
        &["persistentvolumeclaim \"", "not found"],
        "the claim, or what it refers to, does not exist",
        "create the claim, or correct its name in the pod",
    ),
    (
        &["failed to provision volume"],
        "its provisioner cannot make it",
        "correct what the provisioner names: its class's parameters, its rights, its backend",
    ),
];

/// Finds workloads that wait for a volume claim.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut owners: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for wait in view.events().filter(|event| is_wait(event)) {
            let owner = Entity::workload(&wait.place).or_else(|| claim(wait));
            let Some(owner) = owner.or_else(|| Entity::narrowest(&wait.place)) else { continue };
            if !is_over(view, wait) {
                owners.entry(owner).or_default().push(wait);
            }
        }
        owners.into_iter().filter_map(|(owner, waits)| draft(view, owner, &waits)).collect()
    }
}

/// Says whether something waits for a claim, or a claim for a volume. A volume that cannot be
/// given back keeps nobody waiting, and one that cannot be attached is bound.
fn is_wait(event: &Event) -> bool {
    if event.kind == Kind::ObjectEvent {
        return is_refusal(event) && waits_for_volume(event.message());
    }
    event.kind == Kind::VolumeUnbound
        && event.attributes.text(keys::REASON) != Some("FailedAttachVolume")
        && event.attributes.text(keys::OBJECT_KIND) != Some("PersistentVolume")
}

/// Says whether the claim's own controller speaks, not a pod that waits for it.
fn is_of_claim(wait: &Event) -> bool {
    wait.attributes.text(keys::OBJECT_KIND) == Some("PersistentVolumeClaim")
}

/// Says whether it is read off a pod's condition or a claim's phase, and not off an Event.
fn is_status(wait: &Event) -> bool {
    wait.attributes.get(keys::STATUS).is_some()
        || matches!(wait.attributes.text(keys::REASON), Some("Lost" | "Pending"))
}

/// Says whether the wait came to its end. Of a pod's claims nobody says which one it waits for.
fn is_over(view: &View<'_>, wait: &Event) -> bool {
    // Nobody makes a lost volume anew.
    if matches!(wait.attributes.text(keys::REASON), Some("Lost" | "ClaimLost")) {
        return false;
    }
    let is_bound = view.of(Kind::ObjectEvent).any(|event| {
        event.attributes.text(keys::REASON) == Some("ProvisioningSucceeded")
            && event.order() > wait.order()
            && event.place.is_same_workload(&wait.place)
            && (!is_of_claim(wait) || claim(event) == claim(wait))
    });
    is_bound || (!is_of_claim(wait) && is_placed(view, wait))
}

/// Returns the claim: the object of the event, else the one that the scheduler did not find.
fn claim(wait: &Event) -> Option<Entity> {
    let text = |key| wait.attributes.text(key);
    let of_object = text(keys::OBJECT_NAME).filter(|_| is_of_claim(wait));
    let of_message = || {
        let (_, rest) = wait.message().split_once("persistentvolumeclaim \"")?;
        rest.split('"').next()
    };
    let name = of_object.or_else(of_message)?.into();
    let namespace = wait.place.namespace.clone().unwrap_or_default();
    Some(Entity::Object { namespace, kind: "PersistentVolumeClaim".into(), name })
}

fn cause(wait: &Event) -> Option<(&'static str, &'static str)> {
    let reason = wait.attributes.text(keys::REASON).unwrap_or_default();
    let said = format!("{reason} {}", wait.message()).to_ascii_lowercase();
    let cause = CAUSES.iter().find(|(marks, ..)| marks.iter().any(|mark| said.contains(mark)));
    cause.map(|(_, what, cure)| (*what, *cure))
}

fn draft(view: &View<'_>, owner: Entity, waits: &[&Event]) -> Option<Draft> {
    let first = *waits.first()?;
    let told = waits.iter().find_map(|wait| Some((*wait, cause(wait)?)));
    // The provisioner's own words, even if nobody knows them, before the scheduler's.
    let of_claim = waits.iter().copied().find(|wait| is_of_claim(wait));
    let root = told.map(|(wait, _)| wait).or(of_claim).unwrap_or(first);
    if told.is_none() && of_claim.is_none() && is_being_made(view) {
        return None;
    }
    let by_status = waits.iter().any(|wait| is_status(wait));
    let class = if by_status { EvidenceClass::ObjectStatus } else { EvidenceClass::EventText };
    let who = match (is_of_claim(root), Entity::workload(&root.place)) {
        (true, Some(workload)) => workload.to_string(),
        (true, None) => "a pod".to_owned(),
        (false, _) => spot(&root.place),
    };
    let claims: Vec<Entity> = waits.iter().filter_map(|wait| claim(wait)).collect();
    let name = claims.first().map_or_else(|| "its volume claim".to_owned(), ToString::to_string);
    let mut draft = Draft::new(owner, class, root, quote(root));
    for wait in waits {
        draft = draft.touching(&wait.place);
        draft = if is_of_claim(wait) {
            draft.step(wait, quote(wait))
        } else {
            draft.symptom(wait, quote(wait))
        };
    }
    draft = touch_services(view, claims.into_iter().fold(draft, Draft::touch), &root.place);
    let what = told.map_or("it is not bound", |(_, (what, _))| what);
    let mut draft = draft
        .title(format!("{who} waits for {name}: {what}"))
        .because(format!("{who} cannot run before {name} is bound: {what}; {}", quote(root)))
        .advise(told.map_or("kubectl describe pvc: its events say why", |(_, (_, cure))| cure))
        .rule_out("volume_mount", "no volume is there to be attached or mounted", &[root]);
    if told.is_none() && of_claim.is_none() {
        draft = draft.missing("the claim's own events");
    }
    Some(if waits.iter().any(|wait| !is_of_claim(wait)) {
        draft.rule_out("unschedulable", "the scheduler speaks of the volume alone", &[root])
    } else {
        draft.missing("a pod that waits for it")
    })
}

/// Says whether a provisioner has begun on a claim of this trace, and may still be at it.
fn is_being_made(view: &View<'_>) -> bool {
    let is_told = |event: &&Event| {
        matches!(event.attributes.text(keys::REASON), Some("Provisioning" | "ExternalProvisioning"))
    };
    let told: i64 = view.of(Kind::ObjectEvent).filter(is_told).map(count).sum();
    (1..=PROVISIONING_TOLD_MAX).contains(&told)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: &str = "1s shop/db-0%StatefulSet/db VolumeUnbound reason=FailedScheduling \
        msg=\"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.\"";

    fn refused(words: &str) -> String {
        format!(
            "0s shop/x%StatefulSet/db VolumeUnbound reason=ProvisioningFailed \
             okind=PersistentVolumeClaim oname=data-db-0 msg=\"{words}\""
        )
    }

    #[test]
    fn the_provisioners_answer_names_the_cause() {
        let cases = [
            ("storageclass.storage.k8s.io \\\"fast\\\" not found", "class does not exist"),
            (
                "no persistent volumes available for this claim and no storage class is set",
                "no volume fits",
            ),
            ("rpc error: code = ResourceExhausted desc = no free pool", "no room"),
            ("googleapi: QUOTA_EXCEEDED: Quota SSD_TOTAL_GB exceeded", "quota"),
            (
                "failed to provision volume with StorageClass \\\"fast\\\": QUOTA_EXCEEDED: Quota",
                "quota",
            ),
            (
                "failed to provision volume with StorageClass \\\"fast\\\": access key is wrong",
                "provisioner cannot make it",
            ),
            ("no topology key found on CSINode n1", "zone"),
        ];
        for (words, what) in cases {
            let draft = one!(Detector, &format!("{}; {WAITS}", refused(words))).unwrap();
            assert!(draft.headline().contains(what), "{words}: {}", draft.headline());
            let claim = "PersistentVolumeClaim shop/data-db-0";
            assert!(draft.headline().contains(claim), "{}", draft.headline());
            assert!(draft.touches().iter().any(|it| it.to_string() == claim));
            assert!(draft.gaps().is_empty() && draft.evidence().len() == 2);
        }
    }

    #[test]
    fn the_provisioners_own_words_are_the_root_even_if_nobody_knows_them() {
        let draft = one!(Detector, &format!("{WAITS}; {}", refused("the moon is full"))).unwrap();
        assert!(draft.root_cause().contains("the moon is full"), "{}", draft.root_cause());
        assert!(draft.gaps().is_empty());
    }

    #[test]
    fn the_scheduler_alone_says_that_and_not_why() {
        let draft = one!(Detector, WAITS).unwrap();
        assert_eq!(draft.gaps(), ["the claim's own events"].map(tapio_model::Text::from));
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let placed = format!("{WAITS}; 5s shop/db-0@n1%StatefulSet/db PodScheduled");
        let made = format!(
            "{}; 5s shop/x%StatefulSet/db ObjectEvent reason=ProvisioningSucceeded \
             okind=PersistentVolumeClaim oname=data-db-0",
            refused("busy")
        );
        let begun = format!("{WAITS}; 1s shop/x%StatefulSet/db ObjectEvent reason=Provisioning");
        for story in [
            &*placed,
            &made,
            &begun,
            "0s a/b-1 VolumeUnbound reason=FailedAttachVolume msg=\"Multi-Attach error\"",
            "0s a/x VolumeUnbound reason=DeletionFailed okind=PersistentVolume oname=pv-1",
            "0s a/b-1 ObjectEvent reason=FailedScheduling msg=\"0/3 nodes are available: 3 Insufficient cpu.\"",
            "0s a/x ObjectEvent reason=WaitForFirstConsumer",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
        let other = format!("{}1", made.trim_end_matches('0'));
        assert!(one!(Detector, &other).is_some(), "another claim is bound");
        let for_ever = format!("{begun} count=40");
        assert!(one!(Detector, &for_ever).is_some(), "a provisioner that is not there");
    }
}
