//! A container is throttled at its own CPU limit, and answers too slowly for it.
//!
//! Evidence: the cgroup's throttled periods, and what is slow since: probes that time out, a
//! service whose own time rose. Throttling alone is everyday and no incident.
//! Root: the first throttling.
//! Not this: `noisy_neighbour` (no limit of its own is reached: tasks wait for a processor that
//! others use), `traffic_surge` (it is asked more), `liveness_kill` (the probe is too strict for an
//! application that has all the time it wants).
//! First look: `kubectl top pod POD --containers` against the CPU limit, then `nr_throttled` in
//! cpu.stat and the number of threads (GOMAXPROCS, worker pools).

use tapio_engine::{Draft, Pattern, Spec, View};
use tapio_model::{Entity, Event, Kind, Value, keys};

use crate::{
    Scene,
    node_state::class,
    slowness::{describe, has_risen, is_more_work, is_slow, may_be_of},
    witness::{not_before, quoted, same_container, spot},
};

/// Scenes whose cause is known.
pub(crate) const SCENES: &[Scene] = &[
    Scene::cause(
        "cpu_throttling",
        "a throttled container misses its liveness probe and is killed",
        "0s shop/web-1/web@n1%web CpuThrottled ratio=0.8 count=80 msg=\"throttled in 80 of 100 periods\"
         10s shop/web-1/web@n1%web CpuThrottled ratio=0.9 count=90 msg=\"throttled in 90 of 100 periods\"
         12s shop/web-1/web@n1%web ProbeFailed probe=liveness count=3 msg=\"Liveness probe failed: Get http://10.42.0.9:8080/live: context deadline exceeded (Client.Timeout exceeded while awaiting headers)\"
         12s shop/web-1/web@n1%web ContainerKilling reason=Killing probe=liveness count=1 msg=\"Container web failed liveness probe, will be restarted\"
         20s shop/web-1/web@n1%web ContainerTerminated exit=137 reason=Error
         21s shop/web-1/web@n1%web ContainerStarted cid=new",
    ),
    Scene::cause(
        "cpu_throttling",
        "a throttled service is slow, and is taken out",
        "0s shop/web-1/web@n1%web CpuThrottled ratio=0.7 count=70
         5s svc:shop/web%web Anomaly anomaly=self_time how=rose was=12.0 is=240.0
         9s shop/web-1/web@n1%web ProbeFailed probe=readiness count=3 msg=\"Readiness probe failed: context deadline exceeded\"
         10s shop/web-1@n1%web PodReadiness status=false
         10s svc:shop/web%web EndpointsChanged ready=0 not_ready=1",
    ),
    Scene::cause(
        "cpu_throttling",
        "somebody looked, and it used all that it may",
        "0s shop/web-1/web@n1%web CpuThrottled reason=AtLimit msg=\"it uses 200m of the 200m of processor time that it may use\"
         1s shop/web-1/web@n1%web CpuThrottled reason=AtLimit msg=\"it uses 200m of the 200m of processor time that it may use\"",
    ),
    Scene::cause(
        "liveness_kill",
        "a probe that fails with an answer, beside throttling",
        "0s shop/web-1/web@n1%web CpuThrottled ratio=0.4 count=40
         9s shop/web-1/web@n1%web ProbeFailed probe=liveness count=3 msg=\"Liveness probe failed: HTTP probe failed with statuscode: 500\"
         9s shop/web-1/web@n1%web ContainerKilling reason=Killing probe=liveness count=1 msg=\"Container web failed liveness probe, will be restarted\"
         20s shop/web-1/web@n1%web ContainerTerminated exit=137 reason=Error",
    ),
    Scene::cause(
        "noisy_neighbour",
        "no limit is reached, and the node's processors are taken",
        "0s shop/web-1/web@n1%web CpuDelayed resource=cpu dur=180ms count=90 msg=\"web (pid 7) waited 180.0 ms for a processor\" trace=1
         2s shop/web-1/web@n1%web Pressure resource=cpu ratio=0.8 trace=1
         9s svc:shop/web%web Anomaly anomaly=self_time how=rose was=12.0 is=240.0 trace=1
         1s batch/crunch-1/crunch@n1%crunch Pressure resource=cpu ratio=0.9 trace=2
         9s batch/crunch-1/crunch@n1%crunch Log msg=\"batch 7 of 9\" trace=2",
    ),
    Scene::healthy(
        "throttling that nobody feels",
        "0s shop/web-1/web@n1%web CpuThrottled ratio=0.7 count=70
         10s shop/web-1/web@n1%web CpuThrottled ratio=0.7 count=70
         11s shop/web-1/web@n1%web Log msg=ok",
    ),
    Scene::healthy(
        "a slow start within its limit",
        "0s shop/web-1/web@n1%web ContainerStarted
         1s shop/web-1/web@n1%web CpuThrottled ratio=0.9 count=90
         9s shop/web-1/web@n1%web ProbeFailed probe=startup count=2 msg=\"Startup probe failed: context deadline exceeded\"
         20s shop/web-1@n1%web PodReadiness status=true",
    ),
    Scene::cause(
        "traffic_surge",
        "it is asked more than ever and reaches its limit",
        "0s svc:shop/web%web Anomaly anomaly=request_rate how=rose was=100.0 is=900.0
         5s shop/web-1/web@n1%web CpuThrottled ratio=0.9 count=90
         6s svc:shop/web%web Anomaly anomaly=self_time how=rose was=12.0 is=240.0",
    ),
];

const SPEC: Spec = Spec {
    slug: "cpu_throttling",
    title: "Throttled at its CPU limit",
    wakes_on: &[Kind::CpuThrottled],
    leads_to: &[
        "liveness_kill",
        "readiness_lost",
        "connection_failed",
        "cascading_dependency",
        "service_abnormal",
        "dns_failure",
        "slow_call",
    ],
};

/// Finds containers that are slow because they are throttled.
#[derive(Debug)]
pub(crate) struct Detector;

impl Pattern for Detector {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn detect(&self, view: &View<'_>) -> Vec<Draft> {
        let mut groups: Vec<Vec<&Event>> = Vec::new();
        for event in view.of(Kind::CpuThrottled) {
            // A pod's own group is throttled with its container's.
            let is_one =
                |one: &&Event| one.place.is_same_pod(&event.place) || same_container(one, event);
            match groups.iter_mut().find(|group| group.iter().any(is_one)) {
                Some(group) => group.push(event),
                None => groups.push(vec![event]),
            }
        }
        groups.iter().filter_map(|group| draft(view, group)).collect()
    }
}

fn draft(view: &View<'_>, throttled: &[&Event]) -> Option<Draft> {
    let first = *throttled.first()?;
    // The container says more than the pod's group that was told with it.
    let named = throttled.iter().find(|event| event.place.container.is_some());
    let place = &named.unwrap_or(&first).place;
    let is_felt = |event: &&Event| {
        let is_start = event.attributes.text(keys::PROBE) == Some("startup");
        not_before(event, first) && is_slow(event, place) && !is_start
    };
    let slow: Vec<_> = view.events().filter(is_felt).collect();
    let felt = slow.first().copied().or_else(|| is_at_limit(first).then_some(first))?;
    let (name, share) = (spot(place), share(throttled));
    let draft = Draft::new(Entity::narrowest(place)?, class(first), first, text(first))
        .touching(place)
        .title(format!("{name} is too slow: it is throttled at its CPU limit{share}"))
        .because(format!(
            "{name} uses up its CPU limit and is throttled{share}, so it answers too late{}.",
            quoted(felt)
        ))
        .advise(format!("Raise or remove the CPU limit of {name}; requests alone keep its share."))
        .advise(
            "Match its threads to the limit: GOMAXPROCS, worker pools, garbage collector threads.",
        )
        .rule_out("noisy_neighbour", "it is throttled at its own limit", throttled);
    let draft = throttled
        .iter()
        .fold(draft, |draft, event| draft.touching(&event.place).step(event, text(event)));
    let draft = slow
        .iter()
        .fold(draft, |draft, event| draft.touching(&event.place).symptom(event, describe(event)));
    let busy = |event: &&Event| has_risen(event, "cpu") && may_be_of(&event.place, place);
    let draft = view
        .of(Kind::Anomaly)
        .filter(busy)
        .fold(draft, |draft, event| draft.step(event, "it uses more processor time than it did"));
    Some(match view.of(Kind::Anomaly).find(|event| is_more_work(event, place)) {
        Some(more) => draft.step(more, "it is asked more than it was").or(
            "traffic_surge",
            "it is asked more than its limit allows for",
            "requests a second against usage: if usage per request is what it was, it is the traffic",
        ),
        None => draft.rule_out("traffic_surge", "no rise of its requests was seen", &[]),
    })
}

/// Says whether somebody looked how much it uses, and it was all that it may: who looks does so
/// because he waits for it.
fn is_at_limit(event: &Event) -> bool {
    event.attributes.text(keys::REASON) == Some("AtLimit")
}

/// Returns the largest share of periods that were throttled, in words.
fn share(throttled: &[&Event]) -> String {
    let ratios = throttled.iter().filter_map(|event| match event.attributes.get(keys::RATIO)? {
        Value::Float(ratio) => Some(*ratio),
        Value::Text(_) | Value::Int(_) | Value::Bool(_) => None,
    });
    let most = ratios.max_by(f64::total_cmp);
    most.map(|ratio| format!(" in {:.0} % of its periods", ratio * 100.0)).unwrap_or_default()
}

fn text(event: &Event) -> String {
    if is_at_limit(event) {
        return format!("{}: {}", spot(&event.place), event.message());
    }
    format!("{} was throttled{}{}", spot(&event.place), share(&[event]), quoted(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROTTLED: &str = "1s shop/web-1/web@n1%web CpuThrottled ratio=0.75";
    const LATE: &str = "9s shop/web-1/web@n1%web ProbeFailed probe=liveness msg=\"context deadline \
        exceeded\"";

    #[test]
    fn throttling_that_is_felt_is_told() {
        let pod = "2s shop/web-1@n1%web CpuThrottled ratio=0.9";
        let [draft] = &told!(Detector, &format!("{THROTTLED}; {pod}; {LATE}"))[..] else {
            panic!("one pod")
        };
        assert_eq!(
            draft.headline(),
            "container shop/web-1/web is too slow: it is throttled at its CPU limit in 90 % of its \
             periods"
        );
        assert_eq!(draft.evidence().len(), 3);
        assert_eq!(draft.subject(), &Entity::Container { id: "cid-shop-web-1-web".into() });
        assert!(draft.doubt().is_none());
    }

    #[test]
    fn more_traffic_is_a_doubt() {
        let more = "0s svc:shop/web%web Anomaly anomaly=request_rate how=rose";
        let [draft] = &told!(Detector, &format!("{more}; {THROTTLED}; {LATE}"))[..] else {
            panic!("one pod")
        };
        assert_eq!(draft.doubt().map(|doubt| doubt.alternative), Some("traffic_surge"));
    }

    #[test]
    fn look_alikes_and_health_are_not_it() {
        let before = format!("{}; {THROTTLED}", LATE.replace("9s", "0s").replace("1s", "9s"));
        for story in [
            THROTTLED,
            LATE,
            &format!(
                "{THROTTLED}; {}",
                LATE.replace("context deadline exceeded", "statuscode: 500")
            ),
            &format!("{THROTTLED}; {}", LATE.replace("web-1", "web-2")),
            &format!("{THROTTLED}; {}", LATE.replace("liveness", "startup")),
            &before.replace("1s shop", "20s shop"),
        ] {
            assert_eq!(told!(Detector, story), [], "{story}");
        }
    }
}
