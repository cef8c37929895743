//! A node stopped being ready: its kubelet or its container runtime is down or hangs.
//!
//! Evidence: the node's condition Ready turned false, the kubelet's own words (the runtime is down,
//! the PLEG is not healthy), a kubelet or runtime that fails again and again; in the traces of
//! workloads, pods that were marked not ready because their node is not.
//! Root: the deepest of these: a failed unit, else the kubelet's words, else the node's condition,
//! else what became of the pods.
//! Not this: `node_reboot` (the boot id changed), `node_drain` (somebody cordoned the node before),
//! `network_loss` (a link went down before, or Ready comes and goes and the kubelet lives), `cni_failure` (it is the network
//! plugin that is not ready); a kubelet that just started is not ready for a moment.
//! First look: `kubectl describe node NODE`; on the node `systemctl status kubelet containerd` and
//! `journalctl -u kubelet -u containerd`.

mod scenes;

use std::{collections::BTreeMap, time::Duration};

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Event, Kind, Source, Text, keys};

pub(crate) use self::scenes::SCENES;
use super::network_loss::lost_link;
use crate::{
    node_state::{
        self, Eviction, cite_consequences, class, eviction, is_of_node, node_of, plan_before,
        reason, turned,
    },
    witness::{count, not_before, quoted, spot, times},
};

const SPEC: Spec = Spec {
    slug: "node_not_ready",
    title: "Node not ready",
    wakes_on: &[Kind::NodeCondition, Kind::UnitFailed, Kind::ObjectEvent],
    leads_to: &[
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "volume_mount",
        "service_abnormal",
        "unschedulable",
        "dns_failure",
        "network_policy",
    ],
};

/// Units without which a node is not ready.
const AGENTS: &[&str] = &[
    "kubelet",
    "containerd",
    "crio",
    "cri-o",
    "docker",
    "cri-docker",
    "k3s",
    "k3s-agent",
    "rke2-agent",
    "rke2-server",
];

/// Conditions of the node-problem-detector by which an agent restarts again and again.
const RESTARTS: &[&str] =
    &["FrequentKubeletRestart", "FrequentContainerdRestart", "FrequentDockerRestart"];

/// An agent that systemd starts again at once is nobody's incident.
const FAILURES_MIN: i64 = 2;

/// How long a kubelet that started may be not ready.
const START: Duration = Duration::from_secs(60);

/// What an event shows, the deepest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// A kubelet or runtime failed.
    Agent,
    /// The kubelet says what ails it.
    Word,
    /// Nobody hears the kubelet.
    Silence,
    /// The pods are marked not ready.
    Pods,
}

/// Finds nodes that are not ready.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut nodes: BTreeMap<Option<&Text>, Vec<(Layer, &Event)>> = BTreeMap::new();
        for event in view.events() {
            if let Some(layer) = layer(view, event) {
                nodes.entry(node_of(view, event)).or_default().push((layer, event));
            }
        }
        nodes.into_iter().filter_map(|(node, signs)| draft(view, node, &signs)).collect()
    }
}

/// Says what an event shows of a node that is not ready, if it shows anything.
fn layer(view: &View<'_>, event: &Event) -> Option<Layer> {
    if agent(event).is_some() {
        return Some(Layer::Agent);
    }
    if RESTARTS.iter().any(|name| turned(event, name, true)) {
        return Some(Layer::Agent);
    }
    if turned(event, "Ready", false) {
        return word(view, event);
    }
    // The node controller's Event of a pod does not name the node; without it nothing is said that
    // the node's own trace does not say better.
    let is_marked = event.kind == Kind::ObjectEvent
        && reason(event) == "NodeNotReady"
        && event.place.pod.is_some();
    (is_marked && node_of(view, event).is_some()).then_some(Layer::Pods)
}

/// Names the agent that a unit is, if it failed and not for want of memory, which is told by itself.
fn agent(event: &Event) -> Option<&str> {
    if event.kind != Kind::UnitFailed {
        return None;
    }
    let unit = event.place.workload.as_ref().map(|unit| unit.name.as_str());
    let unit = event.attributes.text(keys::UNIT).or(unit)?;
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    let is_oom = event.attributes.text(keys::UNIT_RESULT) == Some("oom-kill");
    (!is_oom && AGENTS.contains(&name)).then_some(name)
}

/// Says whether the kubelet itself says that its node is not ready, or somebody of a silent one.
fn word(view: &View<'_>, down: &Event) -> Option<Layer> {
    let said = down.message();
    let is_network = reason(down) == "NetworkPluginNotReady"
        || ["NetworkPluginNotReady", "cni plugin not initialized"]
            .iter()
            .any(|it| said.contains(it));
    let is_leaving = said.contains("shutting down");
    if is_network || is_leaving || starts(view, down) {
        return None;
    }
    let is_planned = plan_before(view, down.place.node.as_ref(), down).is_some();
    let is_own = down.source == Source::Journal || reason(down) == "KubeletNotReady";
    match (is_planned, is_own) {
        (true, _) => None,
        (false, true) => Some(Layer::Word),
        (false, false) => Some(Layer::Silence),
    }
}

/// Says whether the kubelet has just begun: then its node is not ready for a moment.
fn starts(view: &View<'_>, down: &Event) -> bool {
    reason(down) != "NodeStatusUnknown"
        && view.of(Kind::ObjectEvent).any(|start| {
            let begins = matches!(reason(start), "Starting" | "RegisteredNode");
            begins
                && is_of_node(start)
                && start.place.node == down.place.node
                && start.time.distance(down.time) <= START
        })
}

fn draft(view: &View<'_>, node: Option<&Text>, signs: &[(Layer, &Event)]) -> Option<Draft> {
    let of = |layer| signs.iter().filter(move |(it, _)| *it == layer).map(|(_, event)| *event);
    let failures: i64 = of(Layer::Agent)
        .map(|event| if event.kind == Kind::UnitFailed { count(event) } else { FAILURES_MIN })
        .sum();
    let is_down = signs.iter().any(|(layer, _)| *layer != Layer::Agent);
    let is_others = is_rebooted(view, node) || is_cut_off(view, node);
    if (failures < FAILURES_MIN && !is_down) || is_others {
        return None;
    }
    let (layer, root) =
        signs.iter().min_by_key(|(layer, event)| (*layer, event.order())).copied()?;
    let name = node_state::name(node);
    let (what, why) = words(layer, root);
    let draft = Draft::new(node_state::subject(node, root)?, class(root), root, text(layer, root))
        .touching(&root.place)
        .title(format!("{name} is not ready: {what}"))
        .because(format!("{name} is not ready: {why}{}.", quoted(root)))
        .advise(
            "On the node: `systemctl status kubelet containerd`, `journalctl -u kubelet -u \
             containerd`; restart what is down.",
        )
        .advise(
            "Look for tasks in state D (`ps -eo state,pid,comm`); drain what does not recover.",
        );
    let draft = signs.iter().fold(draft, |draft, (layer, event)| {
        draft.touching(&event.place).step(event, text(*layer, event))
    });
    let draft = cite_around(view, draft, node, root);
    Some(judge(view, draft, layer, signs))
}

fn is_rebooted(view: &View<'_>, node: Option<&Text>) -> bool {
    view.of(Kind::ObjectEvent)
        .any(|event| reason(event) == "Rebooted" && event.place.node.as_ref() == node)
}

/// Says whether the node's link went down before it was lost: that is the network's story.
fn is_cut_off(view: &View<'_>, node: Option<&Text>) -> bool {
    lost_link(view).is_some_and(|(down, _)| down.place.node.as_ref() == node)
}

fn words(layer: Layer, root: &Event) -> (String, String) {
    let told = |what: &str, why: &str| (what.to_owned(), why.to_owned());
    match layer {
        Layer::Agent => {
            let unit = agent(root).or_else(|| root.attributes.text(keys::CONDITION));
            let unit = unit.unwrap_or("the kubelet or the container runtime");
            let again = times(count(root));
            let result = root.attributes.text(keys::UNIT_RESULT);
            let result = result.map(|it| format!(" with result {it}")).unwrap_or_default();
            (format!("{unit} failed{again}"), format!("{unit} failed{again}{result}"))
        }
        Layer::Word if is_of_runtime(root) => told(
            "the container runtime does not answer",
            "the kubelet says that the container runtime does not answer",
        ),
        Layer::Word => told("the kubelet says so", "the kubelet itself says so"),
        Layer::Silence => told(
            "its kubelet stopped posting its status",
            "its kubelet stopped posting its status, so kubelet or container runtime are down or \
             hang, or the machine is gone",
        ),
        Layer::Pods => told(
            "its pods were marked not ready",
            "the node controller marked its pods not ready because the node is not",
        ),
    }
}

fn is_of_runtime(word: &Event) -> bool {
    let said = word.message();
    matches!(reason(word), "PLEGNotHealthy" | "ContainerRuntimeDown")
        || ["PLEG", "container runtime"].iter().any(|mark| said.contains(mark))
}

fn text(layer: Layer, event: &Event) -> String {
    let (what, _) = words(layer, event);
    match layer {
        Layer::Pods => {
            format!("{} is not ready because its node is not{}", spot(&event.place), quoted(event))
        }
        Layer::Agent | Layer::Word | Layer::Silence => format!("{what}{}", quoted(event)),
    }
}

fn cite_around(view: &View<'_>, draft: Draft, node: Option<&Text>, root: &Event) -> Draft {
    let here = |event: &Event| event.place.node.is_none() || event.place.node.as_ref() == node;
    let draft = view
        .of(Kind::TaskHung)
        .filter(|hung| here(hung))
        .fold(draft, |draft, hung| draft.step(hung, format!("a task hung{}", quoted(hung))));
    // Pods that are on this node leave with it; those of others have their own reasons.
    let is_mine =
        |event: &Event| here(event) && !matches!(eviction(event), Some(Eviction::Request));
    let draft = cite_consequences(view, draft, root, is_mine);
    let again = view.events().find(|event| turned(event, "Ready", true) && here(event));
    match again.filter(|again| not_before(again, root)) {
        Some(again) => draft.step(again, "the node was ready again"),
        None => draft,
    }
}

/// Says what the node's trouble is not, and what keeps it from being a verdict.
fn judge(view: &View<'_>, draft: Draft, layer: Layer, signs: &[(Layer, &Event)]) -> Draft {
    let speaks: Vec<_> =
        signs.iter().filter(|(layer, _)| *layer <= Layer::Word).map(|(_, it)| *it).collect();
    let draft = draft.rule_out("node_reboot", "no other boot id was seen", &[]).rule_out(
        "node_drain",
        "nobody cordoned the node before",
        &[],
    );
    match layer {
        Layer::Agent | Layer::Word => {
            draft.rule_out("network_loss", "the node itself says what ails it", &speaks)
        }
        Layer::Silence if is_flapping(view, signs) => draft
            .missing("what kubelet and container runtime logged on the node")
            .or(
                "network_loss",
                "the kubelet lives and the network between it and the API server loses packets",
                "on the node: `journalctl -u kubelet`: timeouts to the API server mean the network, a \
                 start or a hang means the kubelet",
            ),
        Layer::Silence => draft.missing("what kubelet and container runtime logged on the node"),
        Layer::Pods => draft.missing("the node's own condition Ready"),
    }
}

/// Says whether the node was ready between two silences.
fn is_flapping(view: &View<'_>, signs: &[(Layer, &Event)]) -> bool {
    let mut silences =
        signs.iter().filter(|(it, _)| *it == Layer::Silence).map(|(_, event)| *event);
    let Some(first) = silences.next() else { return false };
    silences.any(|last| {
        view.events().any(|event| {
            let between = first.order() < event.order() && event.order() < last.order();
            let node = is_of_node(event) && event.place.node == first.place.node;
            between && node && turned(event, "Ready", true)
        })
    })
}

#[cfg(test)]
mod tests {
    use tapio_model::Entity;

    use super::*;

    const SILENT: &str = "0s node:n1 NodeCondition condition=Ready status=false \
        reason=NodeStatusUnknown msg=\"Kubelet stopped posting node status.\"";

    fn node() -> Entity {
        Entity::Node { name: "n1".into() }
    }

    #[test]
    fn a_silent_kubelet_is_told_and_says_what_is_missing() {
        let [draft] = &told!(Detector, SILENT)[..] else { panic!("one node") };
        assert_eq!(draft.subject(), &node());
        assert_eq!(
            draft.headline(),
            "Node n1 is not ready: its kubelet stopped posting its status"
        );
        assert!(draft.doubt().is_none() && draft.gaps().len() == 1);
    }

    #[test]
    fn the_deepest_layer_is_the_root() {
        let word = "1s unit:kubelet.service@n1 NodeCondition src=journal condition=Ready \
            status=false reason=PLEGNotHealthy msg=\"PLEG is not healthy\"";
        let unit = "3s unit:containerd.service@n1 UnitFailed unit=containerd.service \
            result=signal reason=RestartLoop count=6";
        for (story, want, kind) in [
            (format!("{SILENT}; {word}"), "container runtime does not answer", Kind::NodeCondition),
            (format!("{SILENT}; {word}; {unit}"), "containerd failed 6 times", Kind::UnitFailed),
        ] {
            let [draft] = &told!(Detector, &story)[..] else { panic!("{story}") };
            assert!(draft.headline().ends_with(want), "{}", draft.headline());
            assert_eq!(draft.evidence()[0].kind, kind);
            assert!(draft.ruled_out().iter().any(|out| out.pattern == "network_loss"));
        }
    }

    #[test]
    fn pods_join_their_node_to_their_workload() {
        let story = "1s shop/cart-1@n1%cart PodReadiness condition=Ready status=false; \
            1s shop/cart-1%cart ObjectEvent reason=NodeNotReady msg=\"Node is not ready\"; \
            2s svc:shop/cart%cart EndpointsChanged ready=1 not_ready=1";
        let [draft] = &told!(Detector, story)[..] else { panic!("one node") };
        let service = Entity::Service { namespace: "shop".into(), name: "cart".into() };
        assert_eq!(draft.subject(), &node());
        assert!(draft.touches().contains(&service), "{:?}", draft.touches());
        assert_eq!(draft.evidence().len(), 3);
    }

    #[test]
    fn a_node_that_comes_and_goes_may_be_the_network() {
        let story = format!(
            "{SILENT}; 9s node:n1 NodeCondition condition=Ready status=true; {}",
            SILENT.replace("0s", "20s")
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one node") };
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("network_loss"));
    }

    #[test]
    fn two_nodes_are_two_drafts() {
        let story = format!("{SILENT}; {}", SILENT.replace("n1", "n2"));
        assert_eq!(told!(Detector, &story).len(), 2);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let after = |more: &str| format!("{more}; {}", SILENT.replace("0s", "20s"));
        for story in [
            &after("0s node:n1 ObjectEvent reason=NodeNotSchedulable"),
            &after("30s node:n1 ObjectEvent reason=Rebooted"),
            &after("0s node:n1 Log src=kernel reason=LinkDown"),
            "0s node:n1 NodeCondition condition=Ready status=true",
            "0s node:n1 NodeCondition condition=DiskPressure status=true",
            "0s node:n1 NodeCondition condition=Ready status=false reason=KubeletNotReady \
                msg=\"node is shutting down\"",
            "0s node:n1 NodeCondition condition=Ready status=false reason=KubeletNotReady \
                msg=\"Network plugin returns error: cni plugin not initialized\"",
            "0s node:n1 ObjectEvent reason=Starting; 1s node:n1 NodeCondition condition=Ready \
                status=false reason=KubeletNotReady",
            "0s unit:kubelet.service@n1 UnitFailed unit=kubelet.service result=exit-code",
            "0s unit:web.service@n1 UnitFailed unit=web.service reason=RestartLoop count=9",
            "0s unit:kubelet.service@n1 UnitFailed unit=kubelet.service result=oom-kill count=3",
            "0s node:n1 ObjectEvent reason=NodeNotSchedulable",
            "0s shop/cart-1%cart ObjectEvent reason=NodeNotReady msg=\"Node is not ready\"",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
