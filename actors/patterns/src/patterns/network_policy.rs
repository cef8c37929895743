//! A network policy drops what used to pass.
//!
//! Evidence: a `NetworkPolicy` came, went or changed in the trace of a workload that it concerns,
//! and then connections of that workload get no answer: SYNs sent again, attempts and questions
//! for names that nobody answers, none of which failed before. The change alone is no evidence.
//! Root: the change of the policy.
//! Not this: `connection_failed` and `selector_mismatch` (an RST came back: a policy drops in
//! silence); `conntrack_full` (the kernel says that its table is full); `network_loss` (packets of
//! standing connections to other peers are lost too); `dns_failure` (the resolver answers, and
//! fails); silence that began before the change.
//! First look: `kubectl describe networkpolicy POLICY -n NAMESPACE` against source, target and port
//! of what fails; `hubble observe --verdict DROPPED` where Cilium runs.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EventId, EvidenceClass, Kind, Source, Timestamp, keys};

use super::{
    connection_failed::{attempt, peer, peer_service, subject},
    network_loss::SEGMENTS_MIN,
};
use crate::{
    Scene,
    witness::{count, spot, touch_namesake},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "network_policy",
        "egress to the database is cut off",
        "0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny-egress change=added
         3s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432
         5s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432 count=2
         9s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432",
    ),
    Scene::cause(
        "network_policy",
        "nobody may ask for names any more",
        "0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny-egress change=modified
         3s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout
         9s shop/cart-1/cart@n1%cart DnsFailure dns=db.shop.svc.cluster.local rcode=timeout count=2",
    ),
    Scene::cause(
        "network_policy",
        "a policy that lets nothing out stands, and no name resolves",
        "0s shop/client PolicyChanged okind=NetworkPolicy oname=deny-egress change=added reason=DeniesEgress
         3s shop/client DnsFailure src=app dns=db.data rcode=timeout
         9s shop/client DnsFailure src=app dns=db.data rcode=timeout count=40",
    ),
    Scene::cause(
        "connection_failed",
        "an RST came back after a policy changed",
        "0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny-egress change=added
         3s shop/cart-1/cart@n1%cart ConnectRefused peer=db addr=10.0.0.7 port=5432 count=3",
    ),
    Scene::cause(
        "connection_failed",
        "silence that began before the policy changed",
        "0s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432 count=2
         4s shop/x%cart PolicyChanged okind=NetworkPolicy oname=allow-all change=added
         9s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432",
    ),
    Scene::unknown(
        "network_policy",
        "only the application says that it got no answer",
        "0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny-egress change=added
         3s shop/cart-1/cart@n1%cart ConnectTimeout src=app addr=10.0.0.7 port=5432
         9s shop/cart-1/cart@n1%cart ConnectTimeout src=app addr=10.0.0.7 port=5432",
    ),
    Scene::healthy(
        "a policy that lets pass what is sent, and one SYN that was lost",
        "0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny-egress change=added
         3s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432
         9s shop/cart-1/cart@n1%cart Log msg=\"served\"",
    ),
    Scene::cause(
        "conntrack_full",
        "the node's table is full, and a policy happened to change as well",
        "0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=allow change=added trace=1
         1s node:n1 ConntrackFull trace=9
         2s node:n1 ConntrackFull trace=9
         3s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432 count=3 trace=1
         9s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432 trace=1",
    ),
];

const SPEC: Spec = Spec {
    slug: "network_policy",
    title: "Network policy drops traffic",
    wakes_on: &[Kind::PolicyChanged],
    leads_to: &[
        "connection_failed",
        "dns_failure",
        "cascading_dependency",
        "readiness_lost",
        "liveness_kill",
        "cannot_start",
        "service_abnormal",
    ],
};

/// SYNs go again after 1, 3 and 7 s: one that is lost happens every day.
const SYN_RETRANSMITS_MIN: i64 = 3;

/// Attempts of which none was answered, where the policy is known to deny them: one may be an accident.
const ATTEMPTS_MIN: i64 = 2;

/// Finds policies behind silence.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        if !view.of(Kind::PolicyChanged).any(is_policy) || view.has(Kind::ConntrackFull) {
            return Vec::new();
        }
        let mut edges: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for event in view.events().filter(|event| is_attempt(event)) {
            if let Some(edge) = subject(event) {
                edges.entry(edge).or_default().push(event);
            }
        }
        let mut cut: BTreeMap<EventId, (&Event, Vec<&Event>)> = BTreeMap::new();
        for attempts in edges.into_values().filter(|attempts| is_cut_off(view, attempts)) {
            let change = attempts.first().and_then(|first| change_before(view, first.order()));
            if let Some(change) = change {
                cut.entry(change.id).or_insert((change, Vec::new())).1.extend(attempts);
            }
        }
        if cut.is_empty() {
            return waiting(view).into_iter().collect();
        }
        cut.into_values().filter_map(|(change, silent)| draft(change, silent)).collect()
    }
}

/// Returns the last policy for the pods of a workload as a change that waits for callers who get no
/// answer from it: of them other traces tell.
fn waiting(view: &View<'_>) -> Option<Draft> {
    let change = view.of(Kind::PolicyChanged).rfind(|change| is_policy(change))?;
    let workload = Entity::workload(&change.place)?;
    let text = |key| change.attributes.text(key).unwrap_or_default();
    let (name, how) = (text(keys::OBJECT_NAME), text(keys::CHANGE));
    let draft = Draft::new(
        policy(change),
        EvidenceClass::ObjectStatus,
        change,
        format!("NetworkPolicy {name} {how}"),
    )
    .touching(&change.place)
    .title(format!("{} keeps callers from {workload}", policy(change)))
    .because(format!(
        "callers of {workload} get no answer since NetworkPolicy {name} was {how}, and did before"
    ))
    .missing("which callers the policy names")
    .advise(format!("allow the traffic: kubectl describe networkpolicy {name}"))
    .advise("or take the change back, and see whether the connections stand again")
    .rule_out("selector_mismatch", "no RST came back: nobody refuses", &[]);
    Some(touch_namesake(draft, &change.place).candidate(&["connection_failed"]))
}

fn policy(change: &Event) -> Entity {
    let of_object = change.attributes.text(keys::OBJECT_NAMESPACE).map(Into::into);
    let namespace = of_object.or_else(|| change.place.namespace.clone()).unwrap_or_default();
    let name = change.attributes.text(keys::OBJECT_NAME).unwrap_or_default().into();
    Entity::Object { namespace, kind: "NetworkPolicy".into(), name }
}

/// Returns the last change of a network policy before that moment.
pub(super) fn change_before<'a>(
    view: &View<'a>,
    moment: (Timestamp, EventId),
) -> Option<&'a Event> {
    view.of(Kind::PolicyChanged).rfind(|change| is_policy(change) && change.order() < moment)
}

fn is_policy(change: &Event) -> bool {
    change.attributes.text(keys::OBJECT_KIND).is_some_and(|kind| kind.ends_with("NetworkPolicy"))
}

/// Says what a policy is known to deny: all that goes out of the pods that it selects, or what comes
/// to them from this caller.
fn denied(change: &Event) -> Option<&'static str> {
    match change.attributes.text(keys::REASON)? {
        "DeniesEgress" => Some("lets nothing out of its pods"),
        "DeniesIngress" => Some("lets only others in to its pods"),
        _ => None,
    }
}

fn is_silent(event: &Event) -> bool {
    matches!(event.kind, Kind::ConnectTimeout | Kind::SynRetransmit)
        || (event.kind == Kind::DnsFailure
            && event.attributes.text(keys::DNS_RCODE) == Some("timeout"))
}

fn is_attempt(event: &Event) -> bool {
    is_silent(event) || matches!(event.kind, Kind::ConnectRefused | Kind::DnsFailure)
}

/// Says whether nothing at all came back on an edge, and often enough to be no accident.
fn is_cut_off(view: &View<'_>, attempts: &[&Event]) -> bool {
    if !attempts.iter().all(|event| is_silent(event)) {
        return false;
    }
    let syns = attempts.iter().filter(|event| event.kind == Kind::SynRetransmit);
    let others = || attempts.iter().filter(|event| event.kind != Kind::SynRetransmit);
    let again: i64 = syns.map(|event| count(event)).sum();
    let given_up: i64 = others().map(|event| count(event)).sum();
    let is_seen = others().any(|event| event.source != Source::App);
    let is_enough = again >= SYN_RETRANSMITS_MIN || given_up > 1 || (is_seen && given_up > 0);
    is_enough && !loses_elsewhere(view, attempts)
}

/// Says whether packets of standing connections to other peers are lost as well, more than every
/// day: no policy does that.
fn loses_elsewhere(view: &View<'_>, attempts: &[&Event]) -> bool {
    let of = |event: &Event| event.attributes.text(keys::PEER_ADDRESS).map(str::to_owned);
    let own: Vec<_> = attempts.iter().map(|event| of(event)).collect();
    let others = view.of(Kind::TcpRetransmit).filter(|event| !own.contains(&of(event)));
    others.map(count).sum::<i64>() >= SEGMENTS_MIN
}

fn draft(change: &Event, mut silent: Vec<&Event>) -> Option<Draft> {
    silent.sort_by_key(|event| event.order());
    let first = *silent.first()?;
    let text = |key| change.attributes.text(key).unwrap_or_default();
    let (name, how) = (text(keys::OBJECT_NAME), text(keys::CHANGE));
    let of_object = change.attributes.text(keys::OBJECT_NAMESPACE).map(Into::into);
    let namespace = of_object.or_else(|| change.place.namespace.clone()).unwrap_or_default();
    let (who, whom) = (spot(&first.place), peer(first));
    let lag = first.time.since(change.time).as_secs();
    let is_seen = silent.iter().any(|event| event.source != Source::App);
    // The kernel proves the silence; that the policy is behind it, order and scope only suggest.
    let class = if is_seen { EvidenceClass::ObjectStatus } else { EvidenceClass::LogTemplate };
    let mut draft =
        Draft::new(policy(change), class, change, format!("NetworkPolicy {name} {how}"))
            .touching(&change.place)
            .title(format!("NetworkPolicy {namespace}/{name} cuts {who} off from {whom}"))
            .because(format!(
                "{lag} s after NetworkPolicy {name} was {how}, what {who} sends to {whom} gets no \
             answer, and nothing was lost before"
            ))
            .advise(format!(
                "allow the traffic: kubectl describe networkpolicy {name} -n {namespace}"
            ))
            .advise("or take the change back, and see whether the connections stand again")
            .rule_out("selector_mismatch", "no RST came back: nobody refuses", &[first])
            .rule_out("network_loss", "no packet to another peer was seen lost", &[]);
    for event in &silent {
        draft = draft.symptom(event, attempt(event)).touching(&event.place);
        draft = peer_service(event).into_iter().fold(draft, Draft::touch);
        // If the node drops all that is new, its story tells why.
        draft = Entity::node(&event.place).into_iter().fold(draft, Draft::touch);
    }
    if is_seen {
        return Some(draft);
    }
    let attempts: i64 = silent.iter().map(|event| count(event)).sum();
    if let Some(how) = denied(change).filter(|_| attempts >= ATTEMPTS_MIN) {
        let draft = draft.because(format!(
            "NetworkPolicy {name} {how}, and what {who} sends to {whom} gets no answer"
        ));
        return Some(draft.missing("what the kernel saw of the connection"));
    }
    Some(draft.missing("what the kernel saw of the connection").or(
        "cascading_dependency",
        format!("{whom} is reached and answers too slowly"),
        "ss -tn state syn-sent in the caller's pod: empty means that the peer is slow",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: &str =
        "0s shop/x%cart PolicyChanged okind=NetworkPolicy oname=deny change=added\n";
    const SILENT: &str = "3s shop/cart-1/cart@n1%cart SynRetransmit peer=db addr=10.0.0.7 port=5432
        9s shop/cart-1/cart@n1%cart ConnectTimeout peer=db addr=10.0.0.7 port=5432\n";

    #[test]
    fn silence_after_the_change_is_the_policys() {
        let draft = one!(Detector, &[CHANGE, SILENT].concat()).unwrap();
        assert_eq!(draft.subject().to_string(), "NetworkPolicy shop/deny");
        assert_eq!(draft.evidence()[0].kind, Kind::PolicyChanged);
        assert_eq!(draft.evidence().len(), 3);
        assert!(draft.doubt().is_none());
        assert!(draft.root_cause().starts_with("3 s after"), "{}", draft.root_cause());
        let db = Entity::Service { namespace: "shop".into(), name: "db".into() };
        assert!(draft.touches().contains(&db), "the callee's own incident joins");
        let node = Entity::Node { name: "n1".into() };
        assert!(draft.touches().contains(&node), "a node that drops all joins");
        assert_eq!(draft.class(), EvidenceClass::ObjectStatus, "order is no kernel proof");
    }

    #[test]
    fn several_peers_are_one_change() {
        let other = "4s shop/cart-2/cart@n2%cart ConnectTimeout peer=mq addr=10.0.0.8 port=5672";
        let draft = one!(Detector, &[CHANGE, SILENT, other].concat()).unwrap();
        assert_eq!(draft.evidence().len(), 4);
    }

    #[test]
    fn a_segment_lost_elsewhere_is_every_days() {
        let again = "4s shop/cart-1/cart@n1%cart TcpRetransmit addr=10.0.0.9 count=2";
        assert!(one!(Detector, &[CHANGE, SILENT, again].concat()).unwrap().doubt().is_none());
    }

    #[test]
    fn without_the_kernels_word_it_stays_a_doubt() {
        let app =
            SILENT.replace("SynRetransmit", "ConnectTimeout").replace(" peer", " src=app peer");
        let draft = one!(Detector, &[CHANGE, &app].concat()).unwrap();
        assert_eq!(draft.doubt().unwrap().alternative, "cascading_dependency");
        assert_eq!(draft.gaps().len(), 1);
    }

    #[test]
    fn a_change_alone_and_look_alikes_are_not_it() {
        let late = CHANGE.replace("0s", "20s");
        let quota = CHANGE.replace("NetworkPolicy", "ResourceQuota");
        let refused = "4s shop/cart-1/cart@n1%cart ConnectRefused peer=db addr=10.0.0.7 port=5432";
        let lossy = "4s shop/cart-1/cart@n1%cart TcpRetransmit addr=10.0.0.9 count=12";
        let full = "1s node:n1 ConntrackFull";
        for story in [
            CHANGE.to_owned(),
            [&late, SILENT].concat(),
            [&quota, SILENT].concat(),
            [CHANGE, SILENT, refused].concat(),
            [CHANGE, SILENT, lossy].concat(),
            [CHANGE, SILENT, full].concat(),
            [CHANGE, SILENT.lines().next().unwrap_or_default()].concat(),
        ] {
            assert_eq!(one!(Detector, &story).filter(|it| !it.is_candidate()), None, "{story}");
        }
    }
    #[test]
    fn a_change_alone_waits_for_callers_who_hear_nothing() {
        let draft = one!(Detector, CHANGE).unwrap();
        assert!(draft.is_candidate() && draft.headline().contains("Deployment shop/cart"));
        assert!(draft.touches().iter().any(|it| it.to_string() == "service cart"));
        assert_eq!(
            one!(Detector, &CHANGE.replace("%cart", "")),
            None,
            "nobody knows whose callers"
        );
    }
}
