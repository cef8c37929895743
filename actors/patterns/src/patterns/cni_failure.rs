//! Pods get no network: the node's network plugin is not there, does not work, or has no address
//! left. Their sandboxes fail, so no image is pulled and no container made.
//!
//! Evidence: the kubelet's failed sandboxes whose message names the network; pods that wait for it
//! (`NetworkNotReady`); a node that is not ready because its plugin is not. A sandbox that fails
//! for another reason stays a doubt.
//! Root: the first such event that names the cause, else the first one.
//! Not this: `image_pull` (the sandbox was there: the kubelet came to pull); `cannot_start` (so was
//! the container); a node that boots is not ready for its plugin's first seconds.
//! First look: the plugin's pod on that node (`kubectl get pods -n kube-system -o wide`), its log,
//! and the free addresses of the subnet.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use crate::{
    Scene,
    last_words::quote,
    witness::{count, may_share_node, spot, touch_their_services, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "cni_failure",
        "the subnet has no address left",
        "0s shop/cart-1@n1%cart PodScheduled
        1s shop/cart-1@n1%cart ObjectEvent reason=FailedCreatePodSandBox sev=error impact=0.6 count=3 msg=\"Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \\\"9c1\\\": plugin type=\\\"aws-cni\\\" failed (add): add cmd: failed to assign an IP address to container\"",
    ),
    Scene::cause(
        "cni_failure",
        "a node lost its plugin, and pods of two workloads wait",
        "0s node:n1 NodeCondition trace=1 condition=Ready status=false reason=KubeletNotReady sev=error impact=0.8 msg=\"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized\"
        0s node:n1 NodeCondition trace=1 src=journal condition=Ready status=false reason=NetworkPluginNotReady sev=error impact=0.75 msg=\"Error syncing pod, skipping: network is not ready: cni plugin not initialized\"
        2s shop/cart-1@n1%cart PodScheduled trace=2
        3s shop/cart-1@n1%cart ObjectEvent trace=2 reason=NetworkNotReady sev=error count=2 msg=\"network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized\"
        4s shop/db-0@n1%StatefulSet/db ContainerCreateFailed trace=3 src=journal reason=FailedCreatePodSandBox msg=\"failed to setup network for sandbox 9c1: plugin type=calico failed: stat /var/lib/calico/nodename: no such file or directory\"
        9s shop/db-0@n1%StatefulSet/db ObjectEvent trace=3 reason=FailedCreatePodSandBox sev=error msg=\"Failed to create pod sandbox: plugin type=calico failed: stat /var/lib/calico/nodename: no such file or directory\"",
    ),
    Scene::cause(
        "image_pull",
        "the sandbox is there and the image is not",
        "0s shop/cart-1@n1%cart PodScheduled
        1s shop/cart-1/cart@n1%cart ImagePullFailed reason=Failed image=shop/cart:v9 msg=\"Failed to pull image \\\"shop/cart:v9\\\": manifest unknown\"
        9s shop/cart-1/cart@n1%cart ImagePullFailed reason=BackOff image=shop/cart:v9 msg=\"Back-off pulling image \\\"shop/cart:v9\\\"\"",
    ),
    Scene::unknown(
        "cni_failure",
        "sandboxes fail and the message names no network",
        "0s shop/cart-1@n1%cart PodScheduled
        1s shop/cart-1@n1%cart ObjectEvent reason=FailedCreatePodSandBox sev=error count=4 msg=\"Failed to create pod sandbox: rpc error: code = DeadlineExceeded desc = context deadline exceeded\"",
    ),
    Scene::healthy(
        "the next attempt succeeds",
        "0s shop/cart-1@n1%cart PodScheduled
        1s shop/cart-1@n1%cart ObjectEvent reason=FailedCreatePodSandBox sev=error msg=\"Failed to create pod sandbox: failed to setup network for sandbox \\\"9c1\\\": connection refused\"
        8s shop/cart-1/cart@n1%cart ContainerStarted",
    ),
    Scene::healthy(
        "a new node waits for its plugin",
        "0s node:n9 ObjectEvent reason=Starting msg=\"Starting kubelet.\"
        1s node:n9 NodeCondition condition=Ready status=false reason=KubeletNotReady sev=error impact=0.8 msg=\"container runtime network not ready: cni plugin not initialized\"
        9s node:n9 NodeCondition condition=Ready status=true reason=KubeletReady",
    ),
];

const SPEC: Spec = Spec {
    slug: "cni_failure",
    title: "Pods get no network",
    wakes_on: &[Kind::ObjectEvent, Kind::ContainerCreateFailed, Kind::NodeCondition],
    leads_to: &[
        "node_not_ready",
        "unschedulable",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "job_failed",
        "init_deadlock",
        "admission_webhook",
    ],
};

/// Failed sandboxes are tried again: a single one whose cause is not certain is no story.
const FAILURES_MIN: i64 = 2;

const NO_ADDRESS: &str = "no address is left";

/// A cause that the plugin's or runtime's words name.
#[derive(Debug)]
struct Cause {
    /// Any of these, in lower case, names it.
    marks: &'static [&'static str],
    what: &'static str,
    cure: &'static str,
    /// Says whether the next attempt will fail too.
    is_certain: bool,
}

/// The first that fits decides: the general words come last.
const CAUSES: &[Cause] = &[
    Cause {
        marks: &[
            "failed to assign an ip",
            "no available ip",
            "no ip addresses available",
            "no more ips",
            "failed to allocate for range",
            "no free ip",
            "insufficientfreeaddresses",
            "insufficientcidrblocks",
            "ip pool exhausted",
        ],
        what: NO_ADDRESS,
        cure: "extend the subnet or the pods' range, and see who holds the addresses",
        is_certain: true,
    },
    Cause {
        marks: &[
            "cni plugin not initialized",
            "cni config uninitialized",
            "networkpluginnotready",
            "network plugin is not ready",
            "no networks found in /etc/cni",
            "failed to find plugin",
            "/etc/cni/net.d",
        ],
        what: "the node's network plugin is not installed or not ready",
        cure: "bring the plugin's pod on that node back: kubectl get pods -n kube-system -o wide",
        is_certain: true,
    },
    Cause {
        marks: &[
            "/var/lib/calico/nodename",
            "cilium.sock",
            "cilium api client",
            "127.0.0.1:50051",
            "/run/flannel/subnet.env",
            "connection is unauthorized",
        ],
        what: "the network plugin's agent on the node does not answer",
        cure: "restart the agent's pod on that node, and read its log",
        is_certain: true,
    },
    Cause {
        marks: &[
            "failed to setup network for sandbox",
            "failed to set up sandbox container",
            "set up pod",
            "networkplugin cni",
            "plugin type=",
            "cni plugin",
            "network is not ready",
        ],
        what: "the network plugin fails",
        cure: "read the log of the plugin's pod on that node",
        is_certain: false,
    },
];

/// Finds nodes whose pods get no network.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut nodes: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for failure in view.events().filter(|event| is_failure(view, event)) {
            let node = Entity::node(&failure.place);
            let node = node.or_else(|| Entity::workload(&failure.place));
            if let Some(node) = node.or_else(|| Entity::narrowest(&failure.place)) {
                nodes.entry(node).or_default().push(failure);
            }
        }
        nodes.into_iter().filter_map(|(node, failures)| draft(view, node, &failures)).collect()
    }
}

/// Says whether a pod failed to get its sandbox, by the kubelet's word or the runtime's.
pub(super) fn is_failed_sandbox(event: &Event) -> bool {
    matches!(event.kind, Kind::ObjectEvent | Kind::ContainerCreateFailed)
        && event.attributes.text(keys::REASON) == Some("FailedCreatePodSandBox")
}

fn is_failure(view: &View<'_>, event: &Event) -> bool {
    if event.kind == Kind::NodeCondition {
        let is_out = truth(event, keys::STATUS) == Some(false)
            && event.attributes.text(keys::CONDITION) == Some("Ready");
        return is_out
            && cause(event).is_some_and(|cause| cause.is_certain)
            && !is_node_well(view, event);
    }
    let waits = event.kind == Kind::ObjectEvent
        && event.attributes.text(keys::REASON) == Some("NetworkNotReady");
    (waits || is_failed_sandbox(event)) && !is_early(event) && !is_made_good(view, event)
}

/// Says whether a pod came before the network, as those do that a `DaemonSet` puts on a new node.
fn is_early(event: &Event) -> bool {
    let of_daemon = event.place.workload.as_ref().is_some_and(|owner| &*owner.kind == "DaemonSet");
    of_daemon && cause(event).is_none_or(|cause| cause.what != NO_ADDRESS)
}

/// Says whether the node boots, or is ready again.
fn is_node_well(view: &View<'_>, condition: &Event) -> bool {
    view.events().filter(|event| may_share_node(event, condition)).any(|event| {
        let reason = event.attributes.text(keys::REASON);
        let boots = event.kind == Kind::ObjectEvent
            && matches!(reason, Some("Starting" | "RegisteredNode" | "Rebooted"));
        let is_back = event.kind == Kind::NodeCondition
            && event.attributes.text(keys::CONDITION) == Some("Ready")
            && truth(event, keys::STATUS) == Some(true)
            && event.order() > condition.order();
        boots || is_back
    })
}

/// Says whether the pod has its sandbox after all: what comes after it began.
fn is_made_good(view: &View<'_>, failure: &Event) -> bool {
    view.events().any(|event| {
        let reason = event.attributes.text(keys::REASON);
        let is_past = matches!(event.kind, Kind::ContainerStarted | Kind::ImagePullFailed)
            || (event.kind == Kind::ObjectEvent && matches!(reason, Some("Pulling" | "Pulled")));
        is_past && event.order() > failure.order() && event.place.is_same_pod(&failure.place)
    })
}

fn cause(event: &Event) -> Option<&'static Cause> {
    let reason = event.attributes.text(keys::REASON).unwrap_or_default();
    let said = format!("{reason} {}", event.message()).to_ascii_lowercase();
    CAUSES.iter().find(|cause| cause.marks.iter().any(|mark| said.contains(mark)))
}

fn draft(view: &View<'_>, node: Entity, failures: &[&Event]) -> Option<Draft> {
    let first = *failures.first()?;
    let told = failures.iter().find_map(|failure| Some((*failure, cause(failure)?)));
    let certain = failures.iter().find_map(|failure| {
        cause(failure).filter(|cause| cause.is_certain).map(|cause| (*failure, cause))
    });
    let told = certain.or(told);
    let total: i64 = failures.iter().map(|failure| count(failure)).sum();
    if certain.is_none() && total < FAILURES_MIN {
        return None;
    }
    let root = told.map_or(first, |(failure, _)| failure);
    let by_status = failures.iter().any(|failure| failure.kind == Kind::NodeCondition);
    let class = if by_status { EvidenceClass::ObjectStatus } else { EvidenceClass::EventText };
    let (who, on) = match &root.place.node {
        Some(name) if root.place.pod.is_some() => (spot(&root.place), format!(" on {name}")),
        Some(name) => (format!("what begins on {name}"), String::new()),
        None => (spot(&root.place), String::new()),
    };
    let mut draft = Draft::new(node, class, root, quote(root));
    for failure in failures {
        draft = draft.touching(&failure.place).step(failure, quote(failure));
    }
    draft = touch_their_services(view, draft, failures);
    let Some((_, cause)) = told else { return Some(unnamed(draft, &who, &on)) };
    let draft = draft
        .title(format!("{who} gets no network{on}: {}", cause.what))
        .because(format!("{who} has no sandbox to run in{on}: {}; {}", cause.what, quote(root)))
        .advise(cause.cure)
        .rule_out("image_pull", "the network fails before any image is pulled", &[root])
        .rule_out("node_not_ready", "the runtime works: it says what fails", &[root]);
    Some(draft)
}

fn unnamed(draft: Draft, who: &str, on: &str) -> Draft {
    draft
        .title(format!("{who} gets no sandbox{on}: perhaps it has no network"))
        .because(format!("the runtime cannot make the sandbox of {who}{on}, and names no network"))
        .missing("the network plugin's or the runtime's own words")
        .advise("read the runtime's journal on the node: journalctl -u containerd")
        .or(
            "node_not_ready",
            "the container runtime of the node does not work",
            "see whether pods on the node's own network (hostNetwork) start there: then it is the \
             network plugin",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(words: &str) -> String {
        format!("1s a/b-1@n1%b ObjectEvent reason=FailedCreatePodSandBox msg=\"{words}\"")
    }

    #[test]
    fn the_words_name_the_cause() {
        let cases = [
            ("no IP addresses available in range set: 10.1.0.1-10.1.0.254", "no address"),
            ("failed to find plugin \\\"calico\\\" in path [/opt/cni/bin]", "not installed"),
            ("unable to connect to Cilium daemon: dial unix /var/run/cilium/cilium.sock", "agent"),
        ];
        for (words, what) in cases {
            let draft = one!(Detector, &failed(words)).unwrap();
            assert!(draft.headline().contains(what), "{words}: {}", draft.headline());
            assert_eq!(draft.subject().to_string(), "node n1");
            assert!(draft.touches().iter().any(|it| it.to_string() == "Deployment a/b"));
            assert!(draft.doubt().is_none());
        }
    }

    #[test]
    fn one_failure_of_an_unknown_kind_is_nothing_and_two_are() {
        let words = "failed to setup network for sandbox 9c1: EOF";
        assert_eq!(one!(Detector, &failed(words)), None);
        let draft = one!(Detector, &format!("{}; {}", failed(words), failed(words))).unwrap();
        assert!(draft.headline().contains("plugin fails"), "{}", draft.headline());
    }

    #[test]
    fn a_sandbox_that_fails_for_no_named_reason_stays_a_doubt() {
        let draft =
            one!(Detector, &format!("{} count=5", failed("context deadline exceeded"))).unwrap();
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("node_not_ready"));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let lost = "5s node:n1 NodeCondition condition=Ready status=false msg=\"cni plugin not initialized\"";
        assert!(one!(Detector, lost).is_some());
        let good = format!("{}; 5s a/b-1@n1%b ObjectEvent reason=Pulling", failed("no free IP"));
        let boots = format!("1s node:n1 ObjectEvent reason=RegisteredNode; {lost}");
        let back = format!("{lost}; 9s node:n1 NodeCondition condition=Ready status=true");
        for story in [
            &*good,
            &boots,
            &back,
            "0s node:n1 NodeCondition condition=Ready status=false msg=\"PLEG is not healthy\"",
            "0s a/b-1/b@n1%b ContainerCreateFailed reason=RunContainerError count=3 msg=\"plugin type=x\"",
            "0s a/b-1@n1%DaemonSet/b ObjectEvent reason=NetworkNotReady msg=\"cni plugin not initialized\"",
            "0s a/b-1@n1%b ObjectEvent reason=Pulled",
        ] {
            assert_eq!(one!(Detector, story), None, "{story}");
        }
    }
}
