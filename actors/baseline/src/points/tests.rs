//! Change points of pods and nodes.

use tapio_model::{
    Attributes, Binding, Class, EventId, Impact, Kind, Rule, Severity, Source, TraceId,
};

use super::*;

fn pod(name: &str, node: Option<&str>) -> Place {
    Place {
        node: node.map(Text::from),
        namespace: Some("shop".into()),
        pod: Some(name.into()),
        service: Some(name.into()),
        ..Place::default()
    }
}

fn node(name: &str) -> Place {
    Place { node: Some(name.into()), ..Place::default() }
}

fn event(kind: Kind, place: &Place, minute: i64, metrics: &[(&str, f64)]) -> Event {
    let metrics = metrics.iter().map(|(name, value)| (Text::from(*name), Value::Float(*value)));
    Event {
        id: EventId::default(),
        time: Timestamp::from_secs(minute * 60),
        source: Source::Metrics,
        kind,
        trace: TraceContext {
            trace_id: TraceId::from_bytes([1; 16]),
            span_id: None,
            parent_span_id: None,
            binding: Binding::Inferred(Rule::Pod),
        },
        place: Arc::new(place.clone()),
        severity: Severity::Info,
        impact: Impact::NONE,
        class: Class::Other,
        attributes: Attributes::new(metrics),
    }
}

/// Shows a minute's samples for each minute, and returns what was told last.
fn told(minutes: i64, samples: impl Fn(i64) -> Vec<(Place, &'static str, f64)>) -> Vec<String> {
    let (mut points, limits) = (Points::default(), BaselineLimits::default());
    for minute in 0..minutes {
        for (place, metric, value) in samples(minute) {
            points.take(&event(Kind::Metric, &place, minute, &[(metric, value)]), &limits);
        }
    }
    let told = points.look(Timestamp::from_secs(minutes * 60));
    told.iter()
        .map(|point| {
            let (place, direction) = (point.place.label(), point.step.direction.name());
            assert_eq!(point.place.service, None);
            format!("{place} {} {direction}", point.resource)
        })
        .collect()
}

const CPU: &str = "k8s.pod.cpu.usage";
const NODE_CPU: &str = "k8s.node.cpu.utilization";

/// Returns a value that changes after 20 minutes.
fn from(minute: i64, before: f64, after: f64) -> f64 {
    if minute < 20 { before } else { after }
}

#[test]
fn a_pod_that_uses_more_is_told_at_the_second_sample() {
    let samples = |minute| vec![(pod("web", None), CPU, from(minute, 0.2, 0.9))];
    assert_eq!(told(21, samples), [""; 0], "one peak is no change");
    assert_eq!(told(22, samples), ["shop/web cpu rose"]);
    assert_eq!(told(60, samples), [""; 0], "what stays is normal");
}

#[test]
fn a_node_is_told_as_a_node() {
    let samples = |minute| vec![(node("n1"), NODE_CPU, from(minute, 0.2, 0.9))];
    assert_eq!(told(22, samples), ["n1 cpu rose"]);
    let samples = |minute| vec![(node("n1"), "system.memory.utilization", from(minute, 0.4, 0.95))];
    assert_eq!(told(22, samples), ["n1 memory rose"]);
}

#[test]
fn a_pod_of_the_node_explains_it_and_one_of_another_does_not() {
    let samples = |home: &'static str| {
        move |minute| {
            vec![
                (node("n1"), NODE_CPU, from(minute, 0.2, 0.9)),
                (pod("web", Some(home)), CPU, from(minute, 0.2, 3.0)),
            ]
        }
    };
    assert_eq!(told(22, samples("n1")), ["shop/web cpu rose"]);
    let mut both = told(22, samples("n2"));
    both.sort();
    assert_eq!(both, ["n1 cpu rose", "shop/web cpu rose"]);
}

#[test]
fn a_sample_that_does_not_name_its_node_is_placed_by_the_log_of_its_pod() {
    let (mut points, limits) = (Points::default(), BaselineLimits::default());
    for minute in 0..23 {
        let sample = [(NODE_CPU, from(minute, 0.2, 0.9))];
        points.take(&event(Kind::Metric, &pod("web", None), minute, &sample), &limits);
        points.note_home(&event(Kind::Log, &pod("web", Some("n1")), minute, &[]));
    }
    let told = points.look(Timestamp::from_secs(23 * 60));
    let [point] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(*point.place, node("n1"));
    // Its trace is the pod's, not the node's.
    assert_eq!(point.trace, None);
}

#[test]
fn a_counter_is_what_it_gains_and_a_restart_is_no_loss() {
    let name = "k8s.pod.network.io";
    let gained = |minute: i64| {
        let steady = 6e6 * f64::from(i32::try_from(minute.min(20)).unwrap());
        steady + 6e8 * f64::from(i32::try_from((minute - 20).max(0)).unwrap())
    };
    let samples = |minute| vec![(pod("web", None), name, gained(minute))];
    assert_eq!(told(21, samples), [""; 0]);
    assert_eq!(told(23, samples), ["shop/web network rose"]);
    let restarted = |minute: i64| {
        vec![(pod("web", None), name, 6e6 * f64::from(i32::try_from(minute % 15).unwrap()))]
    };
    assert_eq!(told(60, restarted), [""; 0]);
}

#[test]
fn what_a_day_does_is_no_change_point() {
    let day = |minute: i64| {
        let turn = f64::from(i32::try_from(minute).unwrap()) / 1_440.0 * std::f64::consts::TAU;
        vec![(node("n1"), NODE_CPU, 0.45 + 0.4 * turn.sin())]
    };
    for minutes in (60..3_000).step_by(60) {
        assert_eq!(told(minutes, day), [""; 0], "{minutes}");
    }
}

#[test]
fn as_many_series_are_known_as_there_is_room_for() {
    let limits = BaselineLimits { points_bytes_max: 100 << 10, ..BaselineLimits::default() };
    let mut points = Points::default();
    for minute in 0..10 {
        for number in 0..100 {
            let place = pod(&format!("web-{number}"), None);
            points.take(&event(Kind::Metric, &place, minute, &[(CPU, 0.5)]), &limits);
        }
    }
    let known = points.by_key.len();
    assert!((10..100).contains(&known), "{known}");
    // Those that fell silent make room for others.
    points.take(&event(Kind::Metric, &pod("new", None), 600, &[(CPU, 0.5)]), &limits);
    assert_eq!(points.by_key.len(), 1);
}
