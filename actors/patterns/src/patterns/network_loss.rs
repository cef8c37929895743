//! Packets of one pod or node are lost or late, whoever is at the other end.
//!
//! Evidence: data of standing connections sent again, and beside it connections to two peers or
//! more that were slow to be made or given up; or calls that became slower on several edges
//! while the service itself did not; or a node's link that went down before the node was lost.
//! Root: the first of these; the link, if the kernel says that it is down.
//! Not this: `network_policy` and `connection_failed` (one peer, and never an answer);
//! `conntrack_full` (only new connections fail, and the kernel says why); `cascading_dependency`
//! (one peer is slow, and its own spans say so); `cpu_throttling` (the service's own time rose).
//! First look: `nstat -az TcpRetransSegs` and `ip -s link` on the node, its MTU, and whether a pod on
//! another node has the same trouble.

use std::collections::BTreeSet;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, Source, Text, keys};

use super::connection_failed::{attempt, peer, peer_service, subject};
use crate::{
    Scene,
    last_words::quote,
    node_state::turned,
    witness::{count, may_share_node, spot, times},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "network_loss",
        "two workloads of one node lose packets to everybody",
        "0s shop/cart-1/cart@n1%cart TcpRetransmit peer=db addr=10.0.0.7 port=5432 count=40 trace=1
         2s shop/cart-1/cart@n1%cart ConnectSlow peer=pay addr=10.0.0.8 port=80 trace=1
         3s shop/cart-1/cart@n1%cart SynRetransmit peer=mq addr=10.0.0.9 port=5672 count=2 trace=1
         6s shop/cart-1/cart@n1%cart ConnectTimeout peer=mq addr=10.0.0.9 port=5672 trace=1
         1s shop/web-1/web@n1%web TcpRetransmit peer=cart addr=10.0.0.6 port=80 count=30 trace=2
         3s shop/web-1/web@n1%web ConnectSlow peer=img addr=10.0.0.5 port=80 trace=2
         4s shop/web-1/web@n1%web ConnectSlow peer=cart addr=10.0.0.6 port=80 trace=2",
    ),
    Scene::cause(
        "network_loss",
        "the kernel says that the link is down",
        "0s node:n1 Log src=kernel sev=error reason=LinkDown msg=\"igb 0000:03:00.0 eth0: igb: eth0 NIC Link is Down\"
         8s node:n1 NodeCondition condition=Ready status=false reason=NodeStatusUnknown",
    ),
    Scene::cause(
        "connection_failed",
        "one peer never answers",
        "0s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432 count=3
         6s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432",
    ),
    Scene::cause(
        "network_policy",
        "one peer is cut off by a policy, and a segment elsewhere is sent again after that",
        "0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny-egress change=added
         3s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432 count=3
         6s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432
         7s shop/cart-1/cart@n1%cart TcpRetransmit peer=db addr=10.0.0.7 port=5432",
    ),
    Scene::unknown(
        "network_loss",
        "every call of a service became slower, and nobody saw a packet",
        "0s svc:shop/cart Anomaly anomaly=edge_latency how=rose peer=db was=2.0 is=90.0
         1s svc:shop/cart Anomaly anomaly=edge_latency how=rose peer=pay was=9.0 is=99.0",
    ),
    Scene::healthy(
        "segments that are sent again every day, and one slow connection",
        "0s shop/cart-1/cart@n1%cart TcpRetransmit peer=db addr=10.0.0.7 port=5432 count=9
         1s shop/cart-1/cart@n1%cart TcpRetransmit peer=pay addr=10.0.0.8 port=80 count=5
         2s shop/cart-1/cart@n1%cart ConnectSlow peer=pay addr=10.0.0.8 port=80
         3s shop/cart-1/cart@n1%cart TcpReset peer=mq addr=10.0.0.9 port=5672
         9s node:n1 Log src=kernel sev=error reason=LinkDown msg=\"eth3: Link is down\" trace=2
         10s node:n1 Log src=kernel sev=info msg=\"eth3: Link is up\" trace=2",
    ),
    Scene::cause(
        "conntrack_full",
        "new connections to everybody fail, and the kernel says that its table is full",
        "0s node:n1 ConntrackFull trace=9
         1s node:n1 ConntrackFull trace=9
         2s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432 count=3 trace=1
         9s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432 trace=1
         9s shop/cart-1/cart@n1%cart ConnectTimeout peer=pay addr=10.0.0.8 port=80 trace=1",
    ),
    Scene::cause(
        "network_loss",
        "a link that is down, as node and API server tell it",
        r#"0s node:n1 Log src=kernel sev=error reason=LinkDown msg="igb 0000:03:00.0 eth0: igb: eth0 NIC Link is Down"
         8s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeStatusUnknown msg="Kubelet stopped posting node status."
         8s node:n1 NodeCondition condition=Ready status=false sev=error impact=0.8 reason=NodeNotReady count=1 msg="Node n1 status is now: NodeNotReady"
         8s node:n1 ObjectEvent reason=TaintAdded tapio.changed="node.kubernetes.io/unreachable:NoSchedule""#,
    ),
];

const SPEC: Spec = Spec {
    slug: "network_loss",
    title: "Packets lost or late",
    wakes_on: &[
        Kind::ConnectSlow,
        Kind::ConnectTimeout,
        Kind::SynRetransmit,
        Kind::Anomaly,
        Kind::NodeCondition,
    ],
    leads_to: &[
        "connection_failed",
        "dns_failure",
        "cascading_dependency",
        "readiness_lost",
        "liveness_kill",
        "node_not_ready",
        "service_abnormal",
    ],
};

/// Segments sent again below this are every network's daily bread.
pub(super) const SEGMENTS_MIN: i64 = 10;

/// Peers that suffer at least: what befalls one is that one's, or the way's to it.
const PEERS_MIN: usize = 2;

/// Finds pods and nodes whose packets are lost.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let found = [link_down(view), lost(view), late(view)];
        found.into_iter().flatten().take(1).collect()
    }
}

/// The kernel says that a link is down, and the node was lost after it. A spare port may be down
/// for years.
fn link_down(view: &View<'_>) -> Option<Draft> {
    let (down, lost) = lost_link(view)?;
    let node = Entity::node(&down.place)?;
    let draft = Draft::new(node, EvidenceClass::KernelProof, down, quote(down))
        .title(format!("the network link of {} is down", spot(&down.place)))
        .because(format!("a link went down, and the node was lost after it: {}", quote(down)))
        .symptom(lost, "the node is not ready")
        .advise("check cable, port and switch; dmesg and ip -s link on the node's console")
        .rule_out(
            "node_not_ready",
            "the kubelet cannot be heard over a link that is down",
            &[down],
        );
    Some(draft)
}

/// Returns the line of a link that is down, and the loss of its node after it.
pub(super) fn lost_link<'a>(view: &View<'a>) -> Option<(&'a Event, &'a Event)> {
    let is_down = |line: &Event| line.attributes.text(keys::REASON) == Some("LinkDown");
    view.of(Kind::NodeCondition).filter(|event| turned(event, "Ready", false)).find_map(|lost| {
        let down = view.find(Kind::Log, |line| {
            is_down(line) && line.order() < lost.order() && may_share_node(line, lost)
        })?;
        Some((down, lost))
    })
}

/// Packets of standing and of new connections are lost, to several peers, and some pass.
fn lost(view: &View<'_>) -> Option<Draft> {
    let shows = |event: &&Event| {
        matches!(event.kind, Kind::ConnectSlow | Kind::ConnectTimeout | Kind::SynRetransmit)
    };
    let is_seen = |event: &&Event| matches!(event.source, Source::Network | Source::Kernel);
    let harm: Vec<_> = view.events().filter(shows).filter(is_seen).collect();
    let segments: Vec<_> = view.of(Kind::TcpRetransmit).collect();
    let again: i64 = segments.iter().map(|event| count(event)).sum();
    let harmed: BTreeSet<_> = harm.iter().filter_map(|event| subject(event)).collect();
    if again < SEGMENTS_MIN || harmed.len() < PEERS_MIN || view.has(Kind::ConntrackFull) {
        return None;
    }
    let mut events: Vec<&Event> = harm.into_iter().chain(segments).collect();
    events.sort_by_key(|event| event.order());
    let first = *events.first()?;
    let mut draft = begin(&events, EvidenceClass::KernelProof, first, told(first))?
        .because(format!(
            "{again} segments were sent again, and connections to {} peers were slow or given \
             up: {}",
            harmed.len(),
            peer(first)
        ))
        .rule_out("network_policy", "packets of standing connections are lost as well", &[first])
        .rule_out("conntrack_full", "standing connections suffer, not only new ones", &[first]);
    for event in &events {
        draft = draft.symptom(event, told(event)).touching(&event.place);
        draft = subject(event).into_iter().chain(peer_service(event)).fold(draft, Draft::touch);
    }
    // A connection that came to be, however late, proves that some packets pass.
    if events.iter().any(|event| event.kind == Kind::ConnectSlow) {
        return Some(draft);
    }
    Some(draft.missing("a connection that was made after all").or(
        "node_not_ready",
        "the peers share a node that is gone",
        "kubectl get nodes, and the nodes of the peers: kubectl get pods -o wide",
    ))
}

/// Calls on several edges became slower, and the service itself did not.
fn late(view: &View<'_>) -> Option<Draft> {
    let rose = |wanted: &'static str| {
        view.of(Kind::Anomaly).filter(move |event| {
            let text = |key| event.attributes.text(key);
            text(keys::ANOMALY_SIGNAL) == Some(wanted) && text(keys::ANOMALY_CHANGE) == Some("rose")
        })
    };
    let edges: Vec<&Event> = rose("edge_latency").collect();
    let peers: BTreeSet<_> =
        edges.iter().filter_map(|event| event.attributes.text(keys::PEER_SERVICE)).collect();
    let is_own = rose("self_time").chain(rose("request_rate")).next().is_some();
    if peers.len() < PEERS_MIN || is_own {
        return None;
    }
    let first = *edges.first()?;
    let named = peers.iter().copied().collect::<Vec<_>>().join(", ");
    let again: i64 = view.of(Kind::TcpRetransmit).map(count).sum();
    let segments = view.of(Kind::TcpRetransmit).next().filter(|_| again >= SEGMENTS_MIN);
    // The kernel proves the loss; that the calls are late for it, their time suggests.
    let class =
        if segments.is_some() { EvidenceClass::ObjectStatus } else { EvidenceClass::CoOccurrence };
    let mut draft = begin(&edges, class, first, format!("calls to {} take longer", peer(first)))?
        .because(format!(
            "calls to {named} take longer at the same time, the service itself does not"
        ))
        .rule_out("cpu_throttling", "the service's own time did not rise", &[first]);
    for event in &edges {
        draft = draft.symptom(event, format!("calls to {} take longer", peer(event)));
        draft = draft.touching(&event.place);
    }
    Some(match segments {
        Some(again) => draft.step(again, told(again)),
        None => draft.missing("what the kernel saw of the connections").or(
            "cascading_dependency",
            format!("{named} depend on one thing that is slow"),
            "nstat -az TcpRetransSegs on the node of the caller: a rise means that packets are lost",
        ),
    })
}

/// Begins a draft about the one node that all of it happened on, else about who suffers.
fn begin(
    events: &[&Event],
    class: EvidenceClass,
    root: &Event,
    text: impl Into<Text>,
) -> Option<Draft> {
    let nodes: BTreeSet<_> = events.iter().filter_map(|event| Entity::node(&event.place)).collect();
    let who = Entity::owner(&root.place)?;
    let title = match nodes.first() {
        Some(node) if nodes.len() == 1 => format!("packets of {who} on {node} are lost or late"),
        Some(_) | None => format!("packets of {who} are lost or late"),
    };
    let draft = Draft::new(who, class, root, text)
        .touching(&root.place)
        .title(title)
        .advise("compare with pods on other nodes: one node means its link, MTU or queue")
        .advise("move the pod, or cordon and drain the node");
    // Whoever else suffers on the node suffers from the same.
    Some(nodes.into_iter().fold(draft, Draft::touch))
}

fn told(event: &Event) -> String {
    match event.kind == Kind::TcpRetransmit {
        true => format!("segments sent again{} to {}", times(count(event)), peer(event)),
        false if event.kind == Kind::ConnectSlow => format!("slow to connect to {}", peer(event)),
        false => attempt(event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: &str =
        "0s shop/cart-1/cart@n1%cart TcpRetransmit peer=db addr=10.0.0.7 count=12\n";
    const SLOW: &str = "2s shop/cart-1/cart@n1%cart ConnectSlow peer=pay addr=10.0.0.8\n";
    const GONE: &str = "6s shop/cart-1/cart@n1%cart ConnectTimeout peer=mq addr=10.0.0.9\n";

    #[test]
    fn standing_and_new_connections_of_several_peers_mean_loss() {
        let draft = one!(Detector, &[AGAIN, SLOW, GONE].concat()).unwrap();
        let title = "packets of Deployment shop/cart on node n1 are lost or late";
        assert_eq!(draft.headline(), title);
        assert!(draft.doubt().is_none());
        assert!(draft.root_cause().starts_with("12 segments"), "{}", draft.root_cause());
        assert!(draft.touches().contains(&Entity::Node { name: "n1".into() }));
        let edge = Entity::Edge { from: "cart".into(), to: "mq".into() };
        assert!(draft.touches().contains(&edge), "what fails on the edge is explained");
        let other = AGAIN.replace("@n1", "@n2");
        let draft = one!(Detector, &[&other, SLOW, GONE].concat()).unwrap();
        assert_eq!(draft.headline(), "packets of Deployment shop/cart are lost or late");
    }

    #[test]
    fn where_nothing_passes_the_peers_may_be_gone() {
        let db = GONE.replace("mq", "db");
        let draft = one!(Detector, &[AGAIN, GONE, &db].concat()).unwrap();
        assert_eq!(draft.doubt().unwrap().alternative, "node_not_ready");
    }

    #[test]
    fn late_calls_need_the_kernels_word() {
        let late = "0s svc:cart Anomaly anomaly=edge_latency how=rose peer=db
            1s svc:cart Anomaly anomaly=edge_latency how=rose peer=pay\n";
        assert!(one!(Detector, late).unwrap().doubt().is_some());
        for (again, is_doubt) in [(2, true), (20, false)] {
            let story = format!("{late}\n2s svc:cart TcpRetransmit peer=db count={again}");
            assert_eq!(one!(Detector, &story).unwrap().doubt().is_some(), is_doubt, "{again}");
        }
        for own in ["self_time", "request_rate"] {
            let story = format!("{late}\n0s svc:cart Anomaly anomaly={own} how=rose");
            assert_eq!(one!(Detector, &story), None, "{own}");
        }
    }

    #[test]
    fn a_link_that_is_down_explains_the_node_that_is_lost() {
        let down =
            "0s node:n1 Log src=kernel sev=error reason=LinkDown msg=\"eth0: Link is down\"\n";
        let lost = "5s node:n1 NodeCondition condition=Ready status=false\n";
        let draft = one!(Detector, &[down, lost].concat()).unwrap();
        assert_eq!(draft.subject().to_string(), "node n1");
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        for story in [lost.to_owned(), down.to_owned(), [&down.replace("0s", "9s"), lost].concat()]
        {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let few = AGAIN.replace("count=12", "count=9");
        let app = GONE.replace("peer", "src=app peer");
        for story in [
            AGAIN.to_owned(),
            [SLOW, GONE].concat(),
            [AGAIN, SLOW].concat(),
            [&few, SLOW, GONE].concat(),
            [AGAIN, &app, &app].concat(),
            [AGAIN, SLOW, GONE, "1s node:n1 ConntrackFull"].concat(),
        ] {
            assert_eq!(one!(Detector, &story), None, "{story}");
        }
    }
}
