//! From spans to stories: what a service gets and what of it fails, learnt as it comes, next to what
//! Kubernetes and the kernel say of its workload.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc};

use tapio_baseline::{BaselineLimits, Watch};
use tapio_collect::{Binder, Home, Unbound, event_id};
use tapio_engine::{Limits, Patterns, Ring, Rules, Told};
use tapio_model::{
    Class, Event, Kind, Place, Severity, Source, SpanId, State, Story, StoryId, Timestamp, TraceId,
    Verdict, Workload, keys,
};
use tapio_patterns::all;

/// Minutes of everyday before anything happens: what is known then may be compared with.
const LEARNT: i64 = 12;

/// A shop as an engine with a watch sees it.
struct Shop {
    ring: Ring,
    binder: Binder,
    events: Vec<Event>,
    requests: u64,
}

impl Shop {
    fn new() -> Self {
        let patterns: Patterns = all().into_iter().map(|entry| entry.pattern).collect();
        let rules = Arc::new(Rules::new(&patterns, Limits::default()));
        let ring = Ring::new(&rules).watched(Watch::new(BaselineLimits::default()));
        Self { ring, binder: Binder::new(Home::default()), events: Vec::new(), requests: 0 }
    }

    fn place(workload: &str) -> Place {
        Place {
            namespace: Some("shop".into()),
            workload: Some(Workload { kind: "Deployment".into(), name: workload.into() }),
            ..Place::default()
        }
    }

    /// Adds a minute of requests to a service: of so many one fails.
    fn minute(&mut self, service: &str, minute: i64, requests: i64, failing: Option<i64>) {
        for request in 0..requests {
            self.requests += 1;
            let at = minute * 60_000 + request * 60_000 / requests;
            let id = event_id(&[b"span", &self.requests.to_le_bytes()]);
            let is_failed = failing.is_some_and(|every| request % every == 0);
            let place = Place { service: Some(service.into()), ..Self::place(service) };
            let mut span = Unbound::new(id, Timestamp::from_millis(at), Source::Otlp, Kind::Span)
                .at(place)
                .with(keys::SPAN_NAME, format!("GET /{service}"))
                .with(keys::SPAN_KIND, "server")
                .with(keys::SPAN_STATUS, if is_failed { "error" } else { "unset" })
                .with(keys::DURATION, 4_000_000_i64);
            span.trace_id = Some(TraceId::from_bytes(*id.as_bytes()));
            span.span_id = Some(SpanId::from_bytes(self.requests.to_be_bytes()));
            self.events.push(self.binder.bind(span));
        }
    }

    /// Adds minutes of everyday for two services.
    fn everyday(&mut self, minutes: std::ops::Range<i64>) {
        for minute in minutes {
            self.minute("cart", minute, 120, None);
            self.minute("pay", minute, 60, None);
        }
    }

    /// Adds what somebody else says of a workload.
    fn say(&mut self, second: i64, workload: &str, kind: Kind, attributes: &[(&str, &str)]) {
        let at = Timestamp::from_secs(second);
        let id = event_id(&[kind.name().as_bytes(), workload.as_bytes(), &second.to_le_bytes()]);
        let (source, severity) = if kind == Kind::CpuThrottled {
            (Source::Cgroup, Severity::Warn)
        } else {
            (Source::Kubernetes, Severity::Info)
        };
        let said = Unbound::new(id, at, source, kind).at(Self::place(workload));
        let said = said.rated(severity, 0.3, Class::Other);
        let said = attributes.iter().fold(said, |said, (key, value)| said.with(*key, *value));
        self.events.push(self.binder.bind(said));
    }

    /// Shows it all to the engine, and returns the stories it told, as they were told last, with
    /// what each cites.
    fn stories(mut self) -> Vec<(Story, Vec<Arc<Event>>)> {
        self.events.sort_by_key(Event::order);
        for event in self.events {
            let now = event.time;
            self.ring.observe(Arc::new(event), now);
        }
        self.ring.finish(Limits::default().window);
        let mut evidence = BTreeMap::new();
        let mut stories: BTreeMap<StoryId, Story> = BTreeMap::new();
        for told in self.ring.take_told() {
            match told {
                Told::Story(story) => drop(stories.insert(story.id, *story)),
                Told::Evidence(events) => {
                    evidence.extend(events.into_iter().map(|event| (event.id, event)));
                }
                Told::Dead { .. } => panic!("a trace panicked"),
            }
        }
        let is_own = |story: &Story| !matches!(story.state, State::Merged { .. });
        let own = stories.into_values().filter(is_own);
        let cited = |story: &Story| -> Vec<Arc<Event>> {
            story.event_ids.iter().filter_map(|id| evidence.get(id).cloned()).collect()
        };
        own.map(|story| (story.clone(), cited(&story))).collect()
    }
}

fn one(shop: Shop) -> (Story, Vec<Arc<Event>>) {
    let mut stories = shop.stories();
    assert_eq!(stories.len(), 1, "{:#?}", titles(&stories));
    stories.remove(0)
}

fn titles(stories: &[(Story, Vec<Arc<Event>>)]) -> Vec<String> {
    stories.iter().map(|(story, _)| format!("{}: {}", story.pattern, story.title)).collect()
}

/// Returns the patterns that a story thinks of, the best first.
fn candidates(story: &Story) -> Vec<&str> {
    match &story.verdict {
        Verdict::Cause => vec![&story.pattern],
        Verdict::Unknown { hypotheses, .. } => hypotheses.iter().map(|it| &*it.pattern).collect(),
    }
}

fn signals(cited: &[Arc<Event>]) -> Vec<&str> {
    let mut signals: Vec<_> =
        cited.iter().filter_map(|event| event.attributes.text(keys::ANOMALY_SIGNAL)).collect();
    signals.sort_unstable();
    signals.dedup();
    signals
}

fn has(cited: &[Arc<Event>], kind: Kind) -> bool {
    cited.iter().any(|event| event.kind == kind)
}

#[test]
fn a_surge_that_throttles_is_told_as_one_story() {
    let mut shop = Shop::new();
    shop.everyday(0..LEARNT);
    for minute in LEARNT..LEARNT + 2 {
        shop.minute("cart", minute, 960, None);
        shop.minute("pay", minute, 60, None);
    }
    let ratio = [(keys::MESSAGE, "throttled in 80 of 100 periods")];
    for second in [30, 40, 50, 60] {
        shop.say(LEARNT * 60 + second, "cart", Kind::CpuThrottled, &ratio);
    }
    let (story, cited) = one(shop);
    assert_eq!(candidates(&story), ["traffic_surge"], "{}", story.title);
    assert_eq!(signals(&cited), ["request_rate"]);
    assert!(has(&cited, Kind::CpuThrottled));
}

#[test]
fn a_surge_that_fails_requests_is_told_as_one_story() {
    let mut shop = Shop::new();
    shop.everyday(0..LEARNT);
    for minute in LEARNT..LEARNT + 2 {
        shop.minute("cart", minute, 960, Some(3));
        shop.minute("pay", minute, 60, None);
    }
    let (story, cited) = one(shop);
    assert_eq!(candidates(&story), ["traffic_surge"], "{}", story.title);
    assert_eq!(signals(&cited), ["error_rate", "request_rate"]);
}

#[test]
fn load_alone_is_no_fault() {
    for requests in [2_000, 960, 20, 0] {
        let mut shop = Shop::new();
        shop.everyday(0..LEARNT);
        for minute in LEARNT..LEARNT + 3 {
            shop.minute("cart", minute, requests, None);
            shop.minute("pay", minute, 60, None);
        }
        // A rollout, and a new size: everyday in the life of a workload.
        shop.say(LEARNT * 60 + 30, "cart", Kind::RolloutStarted, &[(keys::TEMPLATE_HASH, "b")]);
        let stories = shop.stories();
        assert!(stories.is_empty(), "{requests}: {:#?}", titles(&stories));
    }
}

#[test]
fn failing_requests_after_a_rollout_are_one_story_with_the_rollout_as_candidate() {
    let mut shop = Shop::new();
    shop.everyday(0..LEARNT);
    shop.say(LEARNT * 60, "cart", Kind::RolloutStarted, &[(keys::TEMPLATE_HASH, "b")]);
    for minute in LEARNT..LEARNT + 3 {
        shop.minute("cart", minute, 120, Some(4));
        shop.minute("pay", minute, 60, None);
    }
    let (story, cited) = one(shop);
    assert_eq!(candidates(&story).first(), Some(&"bad_rollout"), "{}", story.title);
    assert!(has(&cited, Kind::RolloutStarted) && has(&cited, Kind::Anomaly));
}

#[test]
fn failing_requests_after_a_change_of_configuration_are_one_story_with_the_change_as_candidate() {
    let mut shop = Shop::new();
    shop.everyday(0..LEARNT);
    let change = [
        (keys::OBJECT_KIND, "ConfigMap"),
        (keys::OBJECT_NAME, "cart-env"),
        (keys::CHANGE, "modified"),
        (keys::CHANGED, "LIMIT"),
    ];
    shop.say(LEARNT * 60, "cart", Kind::ConfigChanged, &change);
    for minute in LEARNT..LEARNT + 3 {
        shop.minute("cart", minute, 120, Some(4));
        shop.minute("pay", minute, 60, None);
    }
    let (story, cited) = one(shop);
    assert_eq!(candidates(&story).first(), Some(&"bad_config"), "{}", story.title);
    assert!(has(&cited, Kind::ConfigChanged) && has(&cited, Kind::Anomaly));
}

#[test]
fn failing_requests_elsewhere_are_not_the_rollouts() {
    let mut shop = Shop::new();
    shop.everyday(0..LEARNT);
    shop.say(LEARNT * 60, "cart", Kind::RolloutStarted, &[(keys::TEMPLATE_HASH, "b")]);
    for minute in LEARNT..LEARNT + 3 {
        shop.minute("cart", minute, 120, None);
        shop.minute("pay", minute, 60, Some(3));
    }
    let (story, cited) = one(shop);
    assert_eq!(candidates(&story).first(), Some(&"service_abnormal"), "{}", story.title);
    assert!(story.title.starts_with("pay"), "{}", story.title);
    assert!(!has(&cited, Kind::RolloutStarted));
}

#[test]
fn nothing_is_told_of_failing_requests_before_ten_minutes_are_known() {
    let mut shop = Shop::new();
    shop.everyday(0..8);
    for minute in 8..10 {
        shop.minute("cart", minute, 960, Some(2));
        shop.minute("pay", minute, 60, None);
    }
    let stories = shop.stories();
    assert!(stories.is_empty(), "{:#?}", titles(&stories));
}
