//! A node's connection tracking table is full, and the kernel drops the packets of new connections;
//! those that stand go on.
//!
//! Evidence: the kernel's line `table full, dropping packet`, or the node-problem-detector's
//! `ConntrackFull`; beside it attempts from that node without an answer, names first.
//! Root: the first of these lines.
//! Not this: `network_policy` (only certain pairs, and on every node), `dns_failure` (the name
//! service itself is down, for all nodes), `network_loss` (connections that stand suffer too),
//! `pid_exhaustion` (a call fails with an errno of its own).
//! First look: on the node `sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max`,
//! then `conntrack -L -o extended | awk '{print $7}' | sort | uniq -c | sort -n`.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Event, Kind, Text, keys};

use crate::{
    Scene,
    node_state::{self, class, is_of_node, reason},
    witness::{count, quoted, spot, times},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "conntrack_full",
        "a full table on the callers' node",
        "0s node:n1 ConntrackFull msg=\"nf_conntrack: nf_conntrack: table full, dropping packet\" trace=1
         1s node:n1 ConntrackFull msg=\"nf_conntrack: nf_conntrack: table full, dropping packet\" trace=1
         1s shop/api-1/api@n1%api DnsFailure dns=db.shop.svc.cluster.local rcode=timeout count=2 trace=2
         5s shop/api-1/api@n1%api SynRetransmit peer=db addr=10.0.0.7 port=5432 count=3 trace=2
         9s shop/api-1/api@n1%api ConnectTimeout peer=db addr=10.0.0.7 port=5432 trace=2
         6s shop/cart-1/cart@n1%cart SynRetransmit peer=redis addr=10.0.0.9 port=6379 count=3 trace=3
         9s shop/cart-1/cart@n1%cart ConnectTimeout peer=redis addr=10.0.0.9 port=6379 trace=3",
    ),
    Scene::cause(
        "conntrack_full",
        "the detector's word and one caller",
        "0s node:n1 ObjectEvent reason=ConntrackFull count=1 sev=warn msg=\"nf_conntrack: table full, dropping packet\"
         2s node:n1 ObjectEvent reason=ConntrackFull count=7 sev=warn msg=\"nf_conntrack: table full, dropping packet\"
         3s shop/api-1/api@n1%api SynRetransmit peer=db addr=10.0.0.7 port=5432 count=3
         9s shop/api-1/api@n1%api ConnectTimeout peer=db addr=10.0.0.7 port=5432",
    ),
    Scene::cause(
        "connection_failed",
        "a pair that gets no answer on a node with room in its table",
        "0s shop/api-1/api@n1%api SynRetransmit peer=db addr=10.0.0.7 port=5432 count=3
         9s shop/api-1/api@n1%api ConnectTimeout peer=db addr=10.0.0.7 port=5432",
    ),
    Scene::cause(
        "pid_exhaustion",
        "a call fails with an errno of its own",
        "0s shop/api-1/api@n1%api LimitReached resource=ports tapio.syscall=connect error=EADDRNOTAVAIL count=400 pid=3 proc=api
         1s shop/api-1/api@n1%api Log sev=error msg=\"connect: cannot assign requested address\"",
    ),
    Scene::healthy(
        "a packet that was lost",
        "0s shop/api-1/api@n1%api SynRetransmit peer=db addr=10.0.0.7 port=5432
         1s shop/api-1/api@n1%api Log msg=connected",
    ),
];

const SPEC: Spec = Spec {
    slug: "conntrack_full",
    title: "Connection tracking table full",
    wakes_on: &[Kind::ConntrackFull, Kind::ObjectEvent],
    leads_to: &[
        "connection_failed",
        "dns_failure",
        "readiness_lost",
        "liveness_kill",
        "cascading_dependency",
        "service_abnormal",
        "network_policy",
    ],
};

/// Finds nodes whose table is full.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut nodes: BTreeMap<Option<&Text>, Vec<&Event>> = BTreeMap::new();
        for event in view.events().filter(|event| is_full(event)) {
            nodes.entry(event.place.node.as_ref()).or_default().push(event);
        }
        nodes.into_iter().filter_map(|(node, full)| draft(view, node, &full)).collect()
    }
}

/// Says whether an event tells of a full table.
pub(super) fn is_full(event: &Event) -> bool {
    event.kind == Kind::ConntrackFull
        || (event.kind == Kind::ObjectEvent
            && reason(event) == "ConntrackFull"
            && is_of_node(event))
}

/// Says whether an attempt from the node of a full table got no answer.
fn is_dropped(event: &Event, node: Option<&Text>) -> bool {
    let is_silent = matches!(event.kind, Kind::SynRetransmit | Kind::ConnectTimeout)
        || (event.kind == Kind::DnsFailure
            && event.attributes.text(keys::DNS_RCODE) == Some("timeout"));
    is_silent && event.place.node.as_ref().zip(node).is_none_or(|(one, other)| one == other)
}

fn draft(view: &View<'_>, node: Option<&Text>, full: &[&Event]) -> Option<Draft> {
    let root = *full.first()?;
    let name = node_state::name(node);
    let again = times(full.iter().map(|event| count(event)).sum());
    let draft = Draft::new(node_state::subject(node, root)?, class(root), root, text(root))
        .title(format!("{name} drops new connections: its connection tracking table is full"))
        .because(format!(
            "The connection tracking table of {name} is full, and the kernel said{again} that it \
             drops packets{}.",
            quoted(root)
        ))
        .advise(
            "Raise net.netfilter.nf_conntrack_max on the node: `sysctl net.netfilter` shows count and \
             maximum.",
        )
        .advise(
            "Find who opens so many (`conntrack -L`, counted by source); keep connections alive, and \
             cache names on the node.",
        )
        .rule_out("network_policy", "the kernel says that its table is full", &[root])
        .rule_out("dns_failure", "names time out because their packets are dropped here", &[root]);
    let draft = full.iter().fold(draft, |draft, event| draft.step(event, text(event)));
    Some(view.events().filter(|event| is_dropped(event, node)).fold(draft, |draft, event| {
        let asked = [keys::PEER_SERVICE, keys::PEER_ADDRESS, keys::DNS_NAME];
        let peer = asked.into_iter().find_map(|key| event.attributes.text(key)).unwrap_or("a peer");
        let who = spot(&event.place);
        let text = format!("{who} got no answer from {peer}{}", times(count(event)));
        draft.touching(&event.place).symptom(event, text)
    }))
}

fn text(event: &Event) -> String {
    format!("the connection tracking table is full{}{}", times(count(event)), quoted(event))
}

#[cfg(test)]
mod tests {
    use tapio_model::{Entity, EvidenceClass};

    use super::*;

    const FULL: &str = "0s node:n1 ConntrackFull count=3 msg=\"table full, dropping packet\"";

    #[test]
    fn holds_for_the_node_and_who_waits_on_it() {
        let story = format!(
            "{FULL}; 1s shop/api-1/api@n1 ConnectTimeout peer=db; 2s shop/api-2/api@n2 \
             ConnectTimeout peer=db; 3s shop/api-1/api@n1 DnsFailure dns=db rcode=timeout; \
             4s shop/api-1/api@n1 DnsFailure dns=nobody rcode=nxdomain"
        );
        let [draft] = &told!(Detector, &story)[..] else { panic!("one node") };
        assert_eq!(draft.subject(), &Entity::Node { name: "n1".into() });
        assert_eq!(draft.class(), EvidenceClass::KernelProof);
        assert_eq!(draft.evidence().len(), 3);
        assert!(draft.root_cause().contains("3 times"), "{}", draft.root_cause());
    }

    #[test]
    fn the_detectors_word_is_weaker() {
        let story = "0s node:n1 ObjectEvent reason=ConntrackFull count=1";
        let [draft] = &told!(Detector, story)[..] else { panic!("one node") };
        assert_eq!(draft.class(), EvidenceClass::EventText);
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            "0s a/b/c@n1 ConnectTimeout peer=db",
            "0s a/b/c@n1 LimitReached resource=ports",
            "0s a/b@n1 ObjectEvent reason=ConntrackFull",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
        assert_eq!(told!(Detector, &format!("{FULL}; {}", FULL.replace("n1", "n2"))).len(), 2);
    }
}
