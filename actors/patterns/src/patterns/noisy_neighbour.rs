//! Something else on the node takes the processors, the disk or the memory, and a workload that
//! does no more than before is slow.
//!
//! Evidence: tasks of a container that is not throttled and is not asked more, which wait for a
//! processor by the kernel's account; or that stall, while on the same node others stall too or a
//! pod came just before; and what is slow since.
//! Root: the neighbour that came or is busy, else the first wait.
//! Not this: `cpu_throttling` (its own limit holds it back), `traffic_surge` (it is asked more),
//! `container_oom` and `memory_eviction` (memory is gone, not slow), a slow disk of its own.
//! First look: `kubectl top pods -A` for the node, `/proc/pressure/*` there, and what was scheduled to
//! it before the onset.

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, EvidenceClass, Kind, keys};

use crate::{
    Scene,
    slowness::{describe, has_risen, is_more_work, is_slow, may_be_of},
    witness::{may_share_node, not_before, quoted, same_container, spot},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "noisy_neighbour",
        "a batch job takes the processors of two services",
        "0s batch/crunch-1@n1%Job/crunch PodScheduled reason=Scheduled trace=1
         3s batch/crunch-1/crunch@n1%Job/crunch Pressure resource=cpu ratio=0.9 trace=1
         4s shop/web-1/web@n1%web CpuDelayed resource=cpu dur=180ms count=90 msg=\"web (pid 7) waited 180.0 ms for a processor\" trace=2
         9s svc:shop/web%web Anomaly anomaly=self_time how=rose was=12.0 is=240.0 trace=2
         5s shop/cart-1/cart@n1%cart CpuDelayed resource=cpu dur=120ms count=40 msg=\"cart (pid 9) waited 120.0 ms for a processor\" trace=3
         5s shop/cart-1/cart@n1%cart Pressure resource=cpu ratio=0.7 trace=3
         9s shop/cart-1/cart@n1%cart ProbeFailed probe=readiness count=2 msg=\"Readiness probe failed: context deadline exceeded\" trace=3
         9s shop/cart-1@n1%cart PodReadiness status=false trace=3",
    ),
    Scene::unknown(
        "noisy_neighbour",
        "a database stalls on its disk, and its trace shows nobody else",
        "3s batch/crunch-1/crunch@n1%Job/crunch Pressure resource=io ratio=0.9 trace=1
         4s batch/crunch-1/crunch@n1%Job/crunch Log msg=\"batch 7 of 9\" trace=1
         5s shop/db-0/db@n1%StatefulSet/db Pressure resource=io ratio=0.7 trace=2
         9s svc:shop/db%StatefulSet/db Anomaly anomaly=self_time how=rose was=9.0 is=140.0 trace=2",
    ),
    Scene::cause(
        "cpu_throttling",
        "its own limit holds it back",
        "0s shop/web-1/web@n1%web CpuThrottled ratio=0.8 count=80
         1s shop/web-1/web@n1%web CpuDelayed dur=90ms count=30
         2s shop/web-1/web@n1%web Pressure resource=cpu ratio=0.8
         9s svc:shop/web%web Anomaly anomaly=self_time how=rose was=12.0 is=240.0",
    ),
    Scene::healthy(
        "a busy node on which nobody is slow",
        "0s batch/crunch-1@n1%Job/crunch PodScheduled reason=Scheduled
         3s batch/crunch-1/crunch@n1%Job/crunch Pressure resource=cpu ratio=0.9
         4s shop/web-1/web@n1%web CpuDelayed dur=80ms count=9
         5s shop/web-1/web@n1%web Log msg=ok",
    ),
];

const SPEC: Spec = Spec {
    slug: "noisy_neighbour",
    title: "Slowed down by a neighbour",
    wakes_on: &[Kind::CpuDelayed, Kind::Pressure],
    leads_to: &[
        "liveness_kill",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "service_abnormal",
        "dns_failure",
    ],
};

/// Finds workloads that are slow because of others on their node.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        // Nobody is slow on most busy nodes: that is asked first.
        if !view.has(Kind::Anomaly) && !view.has(Kind::ProbeFailed) {
            return Vec::new();
        }
        let mut groups: Vec<Vec<&Event>> = Vec::new();
        for event in view.events().filter(|event| is_wait(event)) {
            let is_one = |one: &&Event| are_peers(one, event);
            match groups.iter_mut().find(|group| group.iter().any(is_one)) {
                Some(group) => group.push(event),
                None => groups.push(vec![event]),
            }
        }
        groups.iter().filter_map(|group| draft(view, group)).collect()
    }
}

/// Says whether an event tells that tasks waited for what others may use.
fn is_wait(event: &Event) -> bool {
    matches!(event.kind, Kind::CpuDelayed | Kind::Pressure)
}

fn are_peers(one: &Event, other: &Event) -> bool {
    one.place.is_same_pod(&other.place)
        || one.place.is_same_workload(&other.place)
        || same_container(one, other)
}

fn resource(event: &Event) -> &str {
    event.attributes.text(keys::RESOURCE).unwrap_or("cpu")
}

fn draft(view: &View<'_>, waits: &[&Event]) -> Option<Draft> {
    let first = *waits.first()?;
    let place = &first.place;
    let is_felt = |event: &&Event| not_before(event, first) && is_slow(event, place);
    let slow: Vec<_> = view.events().filter(is_felt).collect();
    let felt = *slow.first()?;
    // What holds it back itself, or what it does more, needs no neighbour.
    let own = |event: &Event| {
        let throttled = event.kind == Kind::CpuThrottled && are_peers(event, first);
        let busier = has_risen(event, "cpu") && may_be_of(&event.place, place);
        let short = event.kind == Kind::MemoryLimitReached && are_peers(event, first);
        throttled || busier || short || is_more_work(event, place)
    };
    if view.events().any(own) {
        return None;
    }
    let neighbours: Vec<_> =
        view.events().filter(|event| is_neighbour(event, first, felt)).collect();
    let root = neighbours.iter().copied().min_by_key(|event| event.order()).unwrap_or(first);
    let (name, what) = (spot(place), resource(first));
    // Who it is that takes the processor is then known by exclusion only.
    let class = if neighbours.is_empty() {
        EvidenceClass::CoOccurrence
    } else {
        EvidenceClass::ObjectStatus
    };
    let node = Entity::node(place);
    let subject = node.or_else(|| Entity::narrowest(place))?;
    let draft = Draft::new(subject, class, root, text(root))
        .touching(place)
        .title(match neighbours.first() {
            Some(other) => format!("{name} is slowed down by {} on its node", spot(&other.place)),
            None => format!("{name} waits for {what} that others on its node may use"),
        })
        .because(format!(
            "{name} does no more than it did and reaches no limit of its own, and yet it waits for \
             {what}{}.",
            quoted(first)
        ))
        .advise("Limit or move the neighbour: CPU limits, anti-affinity, or a node of its own.")
        .advise(format!("Give {name} requests that it can count on (Guaranteed), or move it."))
        .rule_out("cpu_throttling", "it is not throttled at a limit of its own", &[]);
    let draft = neighbours
        .iter()
        .chain(waits)
        .fold(draft, |draft, event| draft.touching(&event.place).step(event, text(event)));
    let draft = slow
        .iter()
        .fold(draft, |draft, event| draft.touching(&event.place).symptom(event, describe(event)));
    if !neighbours.is_empty() {
        return Some(draft.rule_out("traffic_surge", "others on the node wait too", &neighbours));
    }
    let draft = draft.missing("who else is busy on the node");
    // A task that could run waits for those that do; a stall may be over its own threads.
    if waits.iter().any(|event| event.kind == Kind::CpuDelayed) {
        return Some(draft.rule_out("traffic_surge", "no rise of its requests was seen", &[]));
    }
    Some(draft.or(
        "traffic_surge",
        "it has more work itself",
        "`kubectl top pods -A` for the node and /proc/pressure there: if nobody else waits, it is its \
         own work",
    ))
}

/// Says whether an event tells of somebody else on the node: that stalls as well, or that came.
fn is_neighbour(event: &Event, first: &Event, felt: &Event) -> bool {
    let comes = event.kind == Kind::PodScheduled && event.order() < felt.order();
    let is_known = event.place.node.is_some() && may_share_node(event, first);
    (is_wait(event) || comes) && is_known && !are_peers(event, first)
}

fn text(event: &Event) -> String {
    let place = spot(&event.place);
    if event.kind == Kind::PodScheduled {
        return format!("{place} came to the node");
    }
    format!("{place} waits for {}{}", resource(event), quoted(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: &str = "4s shop/web-1/web@n1%web Pressure resource=cpu ratio=0.8";
    const SLOW: &str = "9s svc:shop/web%web Anomaly anomaly=self_time how=rose was=12.0 is=240.0";
    const OTHER: &str = "3s batch/crunch-1/crunch@n1%crunch Pressure resource=cpu ratio=0.9";

    #[test]
    fn a_neighbour_that_is_seen_is_the_root() {
        let [draft] = &told!(Detector, &format!("{OTHER}; {WAITS}; {SLOW}"))[..] else {
            panic!("one victim")
        };
        assert_eq!(draft.subject(), &Entity::Node { name: "n1".into() });
        assert!(draft.headline().contains("by container batch/crunch-1/crunch"));
        assert_eq!(draft.evidence().len(), 3);
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn a_wait_for_nobody_known_is_a_doubt() {
        for more in ["", "; 3s batch/crunch-1/crunch@n2%crunch Pressure resource=cpu"] {
            let story = format!("{WAITS}; {SLOW}{more}");
            let [draft] = &told!(Detector, &story)[..] else { panic!("one victim") };
            assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("traffic_surge"));
        }
    }

    #[test]
    fn a_wait_for_a_processor_is_told_though_nobody_is_seen_to_take_it() {
        let story = format!("4s shop/web-1/web@n1%web CpuDelayed dur=180ms count=90; {SLOW}");
        let [draft] = &told!(Detector, &story)[..] else { panic!("one victim") };
        assert_eq!(draft.class(), EvidenceClass::CoOccurrence);
        assert!(draft.doubt().is_none() && draft.gaps().len() == 1);
    }

    #[test]
    fn own_reasons_need_no_neighbour() {
        for own in [
            "1s shop/web-1/web@n1%web CpuThrottled ratio=0.6",
            "1s svc:shop/web%web Anomaly anomaly=request_rate how=rose",
            "1s shop/web-1@n1%web Anomaly anomaly=cpu how=rose",
            "1s shop/web-1/web@n1%web MemoryLimitReached",
        ] {
            assert_eq!(told!(Detector, &format!("{own}; {OTHER}; {WAITS}; {SLOW}")), [], "{own}");
        }
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        for story in [
            WAITS,
            SLOW,
            &format!("{OTHER}; {WAITS}"),
            &format!("{WAITS}; {}", SLOW.replace("web", "api")),
            &format!("{WAITS}; {}", SLOW.replace("9s", "1s")),
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
