//! A node was restarted, or its hardware or kernel failed, and all its pods with it.
//!
//! Evidence: another boot id, or the kubelet's word that the node was rebooted; before it the
//! kernel's word on failing hardware or an oops. In the traces of workloads, sandboxes that changed
//! and containers that ended without anybody having seen how.
//! Root: the hardware's or kernel's fault, else the reboot.
//! Not this: `node_not_ready` (the same boot id: the kubelet or the runtime was restarted alone),
//! `node_drain` (the node was cordoned first: a planned restart).
//! First look: `kubectl describe node NODE`; on the node `last -x reboot`, `journalctl -b -1 -e`
//! and `ras-mc-ctl --errors`.

use std::{collections::BTreeMap, time::Duration};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Event, EvidenceClass, Kind, Severity, Text, keys};

use crate::{
    Scene,
    node_state::{
        self, cite_consequences, class, is_of_node, node_of, plan_before, pods, reason, turned,
    },
    witness::{ending, not_before, quoted, spot},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "node_reboot",
        "a node restarts and its pods come back",
        "0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown trace=1
         15s node:n1 ObjectEvent reason=Rebooted sev=error impact=0.8 msg=\"boot id changed to 7d1f\" trace=1
         16s node:n1 ObjectEvent reason=Rebooted sev=error impact=0.8 count=1 msg=\"Node n1 has been rebooted, boot id: 7d1f\" trace=1
         18s shop/cart-1@n1%cart ObjectEvent reason=SandboxChanged count=1 msg=\"Pod sandbox changed, it will be killed and re-created.\" trace=2
         18s shop/cart-1/cart@n1%cart ContainerTerminated reason=Unknown exit=255 trace=2
         19s shop/cart-1/cart@n1%cart ContainerStarted cid=new trace=2
         18s shop/db-0@n1%StatefulSet/db ObjectEvent reason=SandboxChanged count=1 msg=\"Pod sandbox changed, it will be killed and re-created.\" trace=3
         18s shop/db-0/db@n1%StatefulSet/db ContainerTerminated reason=Unknown exit=255 trace=3",
    ),
    Scene::cause(
        "node_reboot",
        "memory fails and the machine restarts",
        "0s node:n1 HardwareError reason=MemoryUncorrected sev=fatal msg=\"EDAC MC0: 1 UE memory read error on DIMM_A1\"
         9s node:n1 ObjectEvent reason=Rebooted sev=error impact=0.8 msg=\"boot id changed to 7d1f\"",
    ),
    Scene::unknown(
        "node_reboot",
        "pods are made anew and nobody says of the node",
        "0s shop/cart-1@n1%cart ObjectEvent reason=SandboxChanged count=1 msg=\"Pod sandbox changed, it will be killed and re-created.\"
         1s shop/cart-1/cart@n1%cart ContainerTerminated reason=Unknown exit=255
         2s shop/cart-1/cart@n1%cart ContainerStarted cid=new",
    ),
    Scene::cause(
        "node_not_ready",
        "the same boot: the runtime was down",
        "0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=KubeletNotReady msg=\"container runtime is down\" trace=1
         0s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 trace=1
         8s shop/cart-1@n1%cart ObjectEvent reason=SandboxChanged count=1 msg=\"Pod sandbox changed, it will be killed and re-created.\" trace=2
         9s shop/cart-1/cart@n1%cart ContainerTerminated reason=Unknown exit=255 trace=2",
    ),
    Scene::healthy(
        "a planned restart after a cordon",
        "0s node:n1 ObjectEvent reason=NodeNotSchedulable sev=warn
         9s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown
         25s node:n1 ObjectEvent reason=Rebooted sev=error impact=0.8 msg=\"boot id changed to 7d1f\"
         27s node:n1 ObjectEvent reason=NodeSchedulable",
    ),
    Scene::healthy(
        "memory that corrects itself",
        "0s node:n1 HardwareError reason=MemoryCorrected sev=warn impact=0.4 msg=\"EDAC MC0: 1 CE memory read error\"
         9s node:n1 HardwareError reason=MemoryCorrected sev=warn impact=0.4 msg=\"EDAC MC0: 1 CE memory read error\"",
    ),
];

const SPEC: Spec = Spec {
    slug: "node_reboot",
    title: "Node restarted",
    wakes_on: &[Kind::ObjectEvent, Kind::HardwareError],
    leads_to: &[
        "node_not_ready",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "volume_mount",
        "service_abnormal",
        "unschedulable",
    ],
};

/// Reasons of the node-problem-detector by which the kernel or the machine is at fault.
const FAULTS: &[&str] = &["KernelOops", "KernelPanic", "CperHardwareErrorFatal"];

/// How long before a restart a fault may be its reason.
const BEFORE: Duration = Duration::from_secs(300);

/// Finds nodes that were restarted.
#[derive(Debug)]
pub(crate) struct Detector;

/// What was seen of one node.
#[derive(Debug, Default)]
struct Seen<'a> {
    faults: Vec<&'a Event>,
    reboots: Vec<&'a Event>,
    /// Sandboxes that were made anew.
    anew: Vec<&'a Event>,
    /// Containers whose end nobody saw.
    ended: Vec<&'a Event>,
}

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut nodes: BTreeMap<Option<&Text>, Seen<'_>> = BTreeMap::new();
        for event in view.events().filter(|event| is_sign(event)) {
            let seen = nodes.entry(node_of(view, event)).or_default();
            if event.kind == Kind::ContainerTerminated {
                seen.ended.push(event);
            } else if reason(event) == "SandboxChanged" {
                seen.anew.push(event);
            } else if reason(event) == "Rebooted" {
                seen.reboots.push(event);
            } else {
                seen.faults.push(event);
            }
        }
        nodes.into_iter().filter_map(|(node, seen)| seen.draft(view, node)).collect()
    }
}

fn is_sign(event: &Event) -> bool {
    if event.kind == Kind::HardwareError {
        return event.severity >= Severity::Error && reason(event) != "MemoryCorrected";
    }
    if event.kind == Kind::ContainerTerminated {
        // The runtime's word for a container that was gone when it came back.
        return reason(event) == "Unknown";
    }
    let of_node = |why| why == "Rebooted" || FAULTS.contains(&why);
    event.kind == Kind::ObjectEvent
        && match reason(event) {
            "SandboxChanged" => event.place.pod.is_some(),
            why => of_node(why) && is_of_node(event),
        }
}

impl Seen<'_> {
    fn draft(&self, view: &View<'_>, node: Option<&Text>) -> Option<Draft> {
        let Some(reboot) = self.reboots.first().copied() else {
            return self.fault(node).or_else(|| self.doubt(view, node));
        };
        if plan_before(view, node, reboot).is_some() {
            return None;
        }
        let is_reason =
            |fault: &&Event| not_before(reboot, fault) && reboot.time.since(fault.time) <= BEFORE;
        let fault = self.faults.iter().copied().find(|fault| is_reason(fault));
        let root = fault.unwrap_or(reboot);
        let name = node_state::name(node);
        let why = match fault {
            Some(fault) => format!(" after a fault of hardware or kernel{}", quoted(fault)),
            None => String::new(),
        };
        let title = if fault.is_some() { " after a fault of its own" } else { "" };
        let draft = Draft::new(node_state::subject(node, root)?, class(root), root, text(root))
            .touching(&root.place)
            .title(format!("{name} was restarted{title}"))
            .because(format!("{name} was restarted{why}{}.", quoted(reboot)))
            .advise(
                "On the node: `last -x reboot` and `journalctl -b -1 -e` say whether somebody, a \
                 panic or the power ended the last boot.",
            )
            .advise("Cordon it and check its hardware; replace it if it happens again.")
            .rule_out(
                "node_not_ready",
                "the boot id changed: the whole machine restarted",
                &[reboot],
            )
            .rule_out("node_drain", "nobody cordoned the node before", &[]);
        let draft = if fault.is_none() {
            draft.missing("why it was restarted: the last lines of the boot before")
        } else {
            draft
        };
        Some(self.cite(view, draft, node, root))
    }

    /// A fatal fault of the hardware is a story of its own, restart or not.
    fn fault(&self, node: Option<&Text>) -> Option<Draft> {
        let root = self.faults.iter().copied().find(|fault| fault.severity == Severity::Fatal)?;
        let name = node_state::name(node);
        let draft = Draft::new(node_state::subject(node, root)?, class(root), root, text(root))
            .touching(&root.place)
            .title(format!("{name} reports a fatal fault of its hardware"))
            .because(format!("The hardware of {name} is at fault{}.", quoted(root)))
            .advise("Cordon and drain the node before it stops; check and replace its hardware.")
            .rule_out("node_not_ready", "the machine itself is at fault", &[root])
            .missing("whether the machine restarted");
        Some(self.faults.iter().fold(draft, |draft, fault| draft.step(fault, text(fault))))
    }

    /// Pods that were made anew, and no word of their node.
    fn doubt(&self, view: &View<'_>, node: Option<&Text>) -> Option<Draft> {
        let (root, _ended) = self.anew.first().copied().zip(self.ended.first())?;
        let name = node_state::name(node);
        let subject = node_state::subject(node, root)?;
        let draft = Draft::new(subject, EvidenceClass::EventText, root, text(root))
            .touching(&root.place)
            .title(format!("{name} lost {} and made it anew", pods(&self.anew)))
            .because(format!(
                "The sandbox of {} was gone and its containers ended unseen: the node or its \
                 runtime was restarted{}.",
                pods(&self.anew),
                quoted(root)
            ))
            .missing("the boot id of the node")
            .or(
                "node_not_ready",
                "the container runtime alone was restarted",
                "`uptime -s` on the node: a boot after the pods were lost is a restart of the \
                 machine; else `journalctl -u containerd -u kubelet`",
            );
        Some(self.cite(view, draft, node, root))
    }

    fn cite(&self, view: &View<'_>, draft: Draft, node: Option<&Text>, root: &Event) -> Draft {
        let here = |event: &Event| event.place.node.as_ref() == node;
        let draft = [&self.faults, &self.reboots]
            .into_iter()
            .flatten()
            .fold(draft, |draft, event| draft.step(event, text(event)));
        let down = view.events().filter(|event| turned(event, "Ready", false) && here(event));
        let draft = down.fold(draft, |draft, down| draft.step(down, "the node was not ready"));
        let draft = [&self.anew, &self.ended]
            .into_iter()
            .flatten()
            .fold(draft, |draft, it| draft.touching(&it.place).symptom(it, text(it)));
        cite_consequences(view, draft, root, here)
    }
}

fn text(event: &Event) -> String {
    if event.kind == Kind::ContainerTerminated {
        let place = spot(&event.place);
        return format!("{place} ended and nobody saw how: {}", ending(event));
    }
    let what = match reason(event) {
        "Rebooted" => "the node was restarted",
        "SandboxChanged" => "the pod was made anew",
        _ if event.attributes.text(keys::REASON).is_some() => {
            "the machine or its kernel is at fault"
        }
        _ => "the hardware is at fault",
    };
    format!("{what}{}", quoted(event))
}

#[cfg(test)]
mod tests {
    use tapio_model::Entity;

    use super::*;

    const REBOOT: &str =
        "20s node:n1 ObjectEvent reason=Rebooted sev=error msg=\"boot id changed to 7d1f\"";
    const PODS: &str = "21s shop/cart-1@n1%cart ObjectEvent reason=SandboxChanged; \
        22s shop/cart-1/cart@n1%cart ContainerTerminated reason=Unknown exit=255";

    #[test]
    fn holds_for_the_node_and_its_pods() {
        let [draft] = &told!(Detector, &format!("{REBOOT}; {PODS}"))[..] else {
            panic!("one node")
        };
        assert_eq!(draft.subject(), &Entity::Node { name: "n1".into() });
        assert_eq!(draft.headline(), "Node n1 was restarted");
        assert_eq!(draft.evidence().len(), 3);
        assert!(draft.touches().contains(&Entity::Pod { uid: "uid-shop-cart-1".into() }));
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn a_fault_before_it_is_the_root() {
        for (at, kind) in [("1s", Kind::HardwareError), ("40s", Kind::ObjectEvent)] {
            let story = format!("{at} node:n1 HardwareError reason=MachineCheck; {REBOOT}");
            let [draft] = &told!(Detector, &story)[..] else { panic!("{story}") };
            assert_eq!(draft.evidence()[0].kind, kind, "{at}");
        }
    }

    #[test]
    fn a_fatal_fault_needs_no_restart() {
        let fault = |more: &str| format!("1s node:n1 HardwareError reason=MachineCheck{more}");
        assert_eq!(told!(Detector, &fault("")), []);
        let [draft] = &told!(Detector, &fault(" sev=fatal"))[..] else { panic!("one node") };
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
    }

    #[test]
    fn pods_alone_leave_a_doubt_that_touches_the_node() {
        let [draft] = &told!(Detector, PODS)[..] else { panic!("one node") };
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("node_not_ready"));
        assert!(draft.touches().contains(&Entity::Node { name: "n1".into() }));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let planned = format!("1s node:n1 ObjectEvent reason=NodeNotSchedulable; {REBOOT}");
        for story in [
            &planned,
            "0s shop/cart-1@n1%cart ObjectEvent reason=SandboxChanged",
            "0s shop/cart-1/cart@n1%cart ContainerTerminated reason=Unknown exit=255",
            "0s node:n1 NodeCondition condition=Ready status=false reason=NodeStatusUnknown",
            "0s node:n1 HardwareError reason=MemoryCorrected sev=fatal",
            "0s node:n1 ObjectEvent reason=Starting",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
