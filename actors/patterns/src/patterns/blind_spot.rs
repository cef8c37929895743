//! Tapio itself saw less than it should have: its spool overflowed or was damaged, or the API
//! server was not heard. What happened meanwhile may be told in part, or not at all.
//!
//! Evidence: the agent's own event of what its spool lost, the collector's own event of a watch
//! that hears nothing.
//! Root: the first of these events.
//! Not this: `node_not_ready` and `api_server_overload` (what is broken is the cluster's, and has
//! evidence of its own; a blind spot says only what is not known, and explains nothing).
//! First look: `tapio check` on the node, then the agent's metrics of its output and spool.

use std::collections::BTreeMap;

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use crate::{
    Scene,
    witness::{count, quoted, truth},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "blind_spot",
        "a spool overflows twice",
        r#"5s node:n1 ObjectEvent src=metrics sev=warn impact=0.75 reason=TapioSpoolDropped count=120 msg="the agent's spool lost 120 events of level high; what they would have shown is missing"
         9s node:n1 ObjectEvent src=metrics sev=warn impact=0.5 reason=TapioSpoolDropped count=31 msg="the agent's spool lost 31 events of level normal; what they would have shown is missing""#,
    ),
    Scene::cause(
        "blind_spot",
        "the API server is not heard for a while",
        r#"5s node:n1 ObjectEvent sev=warn reason=TapioWatchStale status=true msg="no sign from the API server for 90 s: blind for pods, events"
         25s node:n1 ObjectEvent reason=TapioWatchStale status=false msg="the API server is heard again: pods, events""#,
    ),
    Scene::cause(
        "node_oom",
        "the node is in trouble, and what is seen of it is whole",
        r#"1s node:n1 NodeOom reason=SystemOOM pid=11 proc=java msg="System OOM encountered, victim process: java, pid: 11"
         2s node:n1 ObjectEvent reason=NodeNotSchedulable sev=warn
         3s node:n1 ObjectEvent reason=TapioWatchStale status=false msg="the API server is heard again: pods""#,
    ),
    Scene::healthy(
        "the API server is heard again, and nothing was lost",
        r#"5s node:n1 ObjectEvent reason=TapioWatchStale status=false msg="the API server is heard again: pods, events"
         6s node:n1 ObjectEvent reason=Pulled msg="Successfully pulled image in 3s""#,
    ),
];

const SPEC: Spec = Spec {
    slug: "blind_spot",
    title: "Evidence was lost",
    wakes_on: &[Kind::ObjectEvent],
    leads_to: &[],
};

const SPOOL: &str = "TapioSpoolDropped";
const WATCH: &str = "TapioWatchStale";

/// Finds times of which Tapio knows less than it should.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut blind: BTreeMap<Entity, Vec<&Event>> = BTreeMap::new();
        for event in view.of(Kind::ObjectEvent) {
            if let Some(subject) = subject(event) {
                blind.entry(subject).or_default().push(event);
            }
        }
        blind.into_iter().filter_map(|(subject, events)| draft(subject, &events)).collect()
    }
}

/// Returns what was blind. It is an object of Tapio's own, and no part of the cluster, so that a
/// blind spot is a story of its own and the cause of no other.
fn subject(event: &Event) -> Option<Entity> {
    let place = &event.place;
    let (of, kind) = match event.attributes.text(keys::REASON)? {
        SPOOL => (place.node.as_ref(), "TapioSpool"),
        WATCH => (place.cluster.as_ref(), "TapioWatch"),
        _ => return None,
    };
    let name = of.cloned().unwrap_or_default();
    Some(Entity::Object { namespace: "".into(), kind: kind.into(), name })
}

fn draft(subject: Entity, events: &[&Event]) -> Option<Draft> {
    let is_spool = |event: &Event| event.attributes.text(keys::REASON) == Some(SPOOL);
    // A watch that is heard again says so; that alone is no loss.
    let is_loss = |event: &&Event| is_spool(event) || truth(event, keys::STATUS) == Some(true);
    let losses: Vec<_> = events.iter().copied().filter(is_loss).collect();
    let root = losses.first().copied()?;
    let draft = Draft::new(subject, EvidenceClass::ObjectStatus, root, text(root));
    let draft = losses.iter().fold(draft, |draft, loss| draft.step(loss, text(loss)));
    if is_spool(root) {
        let lost: i64 = losses.iter().map(|loss| count(loss)).sum();
        let node = root.place.node.as_deref().unwrap_or("this host");
        return Some(
            draft
                .title(format!("{lost} events of {node} were lost before Tapio saw them"))
                .because(format!(
                    "The agent's spool on {node} could not keep {lost} events while its output \
                     did not take them{}.",
                    quoted(root)
                ))
                .advise("Bring the agent's output back: `tapio check` on the node says what fails.")
                .advise("Raise spool.bytes_max if the output may be away for so long again.")
                .missing(format!("what {lost} lost events of {node} would have shown")),
        );
    }
    let again = events.iter().rfind(|event| !is_loss(event) && event.order() > root.order());
    let draft = again.iter().fold(draft, |draft, event| draft.symptom(event, text(event)));
    let until = if again.is_some() { "for a while" } else { "and is blind" };
    Some(
        draft
            .title(format!("Tapio heard nothing of the API server {until}"))
            .because(format!(
                "No watch of the cluster had a sign of the API server{}.",
                quoted(root)
            ))
            .advise("See whether the API server answers this host: `kubectl get --raw /readyz`.")
            .advise("`tapio check` says which watches lack a rule.")
            .missing("changes of objects that nobody watched meanwhile"),
    )
}

fn text(event: &Event) -> String {
    let told = event.attributes.text(keys::MESSAGE);
    told.map_or_else(|| "Tapio lost evidence".to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: &str = "5s node:n1 ObjectEvent reason=TapioSpoolDropped count=120 msg=\"the \
        agent's spool lost 120 events\"";

    #[test]
    fn holds_for_what_a_spool_lost() {
        let more = "9s node:n1 ObjectEvent reason=TapioSpoolDropped count=3";
        let [draft] = &told!(Detector, &format!("{LOST}; {more}"))[..] else { panic!("one spool") };
        assert_eq!(draft.headline(), "123 events of n1 were lost before Tapio saw them");
        assert_eq!(draft.gaps().len(), 1);
        assert_eq!(draft.evidence().len(), 2);
        assert_eq!(draft.touches(), [draft.subject().clone()], "it is part of no other incident");
        let two = format!("{LOST}; 9s node:n2 ObjectEvent reason=TapioSpoolDropped count=3");
        assert_eq!(told!(Detector, &two).len(), 2);
    }

    #[test]
    fn holds_for_a_watch_that_hears_nothing() {
        let stale =
            "5s node:n1 ObjectEvent reason=TapioWatchStale status=true msg=\"blind for pods\"";
        let [draft] = &told!(Detector, stale)[..] else { panic!("one watch") };
        assert!(draft.headline().ends_with("and is blind"), "{}", draft.headline());
        assert!(draft.root_cause().contains("blind for pods"), "{}", draft.root_cause());
        let back = format!("{stale}; 9s node:n1 ObjectEvent reason=TapioWatchStale status=false");
        let [draft] = &told!(Detector, &back)[..] else { panic!("one watch") };
        assert!(draft.headline().ends_with("for a while"), "{}", draft.headline());
    }

    #[test]
    fn without_the_events_of_the_losses_there_is_nothing_to_tell() {
        let back = "9s node:n1 ObjectEvent reason=TapioWatchStale status=false";
        assert_eq!(told!(Detector, back), []);
    }

    #[test]
    fn what_breaks_in_the_cluster_is_not_it() {
        for story in [
            "0s node:n1 ObjectEvent reason=NodeNotReady",
            "0s a/b/c@n1 ObjectEvent reason=Pulled; 1s a/b/c@n1 ContainerTerminated exit=1",
            "0s node:n1 NodeCondition condition=Ready status=false",
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
