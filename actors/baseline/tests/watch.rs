//! A small shop under the watch: what is told, and what is not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "watch/apart.rs"]
mod apart;

use std::{collections::BTreeMap, sync::Arc};

use tapio_baseline::{BaselineLimits, Part, Watch};
use tapio_model::{
    Attributes, Binding, Class, Event, EventId, Impact, Kind, Place, Severity, Source, SpanId,
    Text, Timestamp, TraceContext, TraceId, Value, keys,
};

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// `pay` returns before it has charged.
    EarlyReturn,
    /// `pay` throws, and `web` complains about it.
    Exception,
    /// `pay` does not find `bank`, and says so.
    Unreached,
    /// `pay` takes a second.
    Slow,
    /// Customers want another bank: `pay` calls `mint` instead, and writes so.
    OtherWish,
}

/// The shop: `web` calls `pay`, `pay` calls `bank`; each request is a trace.
#[derive(Debug, Default)]
struct Shop {
    events: Vec<Arc<Event>>,
    requests: u64,
}

impl Shop {
    /// Adds a request that begins at `millis`.
    fn request(&mut self, millis: i64, fault: Fault) {
        self.requests += 1;
        let slow = if fault == Fault::Slow { 1_000 } else { 0 };
        let (paid, served) = (millis + 30 + slow, millis + 50 + slow);
        let has_bank = !matches!(fault, Fault::EarlyReturn | Fault::Unreached);
        self.line(("web", 1), millis + 1, Severity::Info, "serving");
        self.line(("pay", 2), millis + 11, Severity::Info, "charging");
        if fault == Fault::OtherWish {
            self.span("mint", "POST /charge", (3, Some(2)), (millis + 15, millis + 25));
            self.line(("pay", 2), millis + 26, Severity::Info, "charged at the mint");
        } else if has_bank {
            self.span("bank", "POST /charge", (3, Some(2)), (millis + 15, millis + 25));
            self.line(("pay", 2), millis + 26, Severity::Info, "charged");
        }
        match fault {
            Fault::Exception => {
                self.line(("pay", 2), millis + 27, Severity::Error, "java.lang.Boom in charge");
                self.line(("web", 1), millis + 40, Severity::Error, "pay answered 500");
            }
            Fault::Unreached => {
                self.line(("pay", 2), millis + 27, Severity::Error, "connection refused by bank");
            }
            Fault::None | Fault::EarlyReturn | Fault::Slow | Fault::OtherWish => {}
        }
        self.span("pay", "charge", (2, Some(1)), (millis + 10, paid));
        self.span("web", "GET /buy", (1, None), (millis, served));
        self.line(("web", 1), served, Severity::Info, "served");
    }

    /// Adds a minute of requests, one a second.
    fn minute(&mut self, minute: i64, fault: Fault) {
        for second in 0..60 {
            self.request((minute * 60 + second) * 1_000, fault);
        }
    }

    fn span(&mut self, service: &str, name: &str, ids: (u64, Option<u64>), times: (i64, i64)) {
        let (begin, end) = times;
        let attributes = vec![
            (keys::SPAN_NAME.into(), name.into()),
            (keys::DURATION.into(), Value::Int((end - begin) * 1_000_000)),
        ];
        self.push((service, ids.0, ids.1), end, (Kind::Span, Severity::Info), attributes);
    }

    fn line(&mut self, (service, span): (&str, u64), at: i64, severity: Severity, text: &str) {
        let attributes = vec![(keys::MESSAGE.into(), text.into())];
        self.push((service, span, None), at, (Kind::Log, severity), attributes);
    }

    fn push(
        &mut self,
        (service, span, parent): (&str, u64, Option<u64>),
        at: i64,
        (kind, severity): (Kind, Severity),
        attributes: Vec<(Text, Value)>,
    ) {
        let id = |number: u64| SpanId::from_bytes(number.to_be_bytes());
        let trace = u128::from(self.requests).to_be_bytes();
        let number = u128::try_from(self.events.len()).unwrap();
        self.events.push(Arc::new(Event {
            id: EventId::from_bytes(number.to_be_bytes()),
            time: Timestamp::from_millis(at),
            source: Source::Otlp,
            kind,
            trace: TraceContext {
                trace_id: TraceId::from_bytes(trace),
                span_id: Some(id(span)),
                parent_span_id: parent.map(id),
                binding: Binding::Explicit,
            },
            place: Arc::new(Place { service: Some(service.into()), ..Place::default() }),
            severity,
            impact: Impact::NONE,
            class: Class::Other,
            attributes: Attributes::new(attributes),
        }));
    }

    /// Shows it all to a watch, and returns what was told.
    fn told(mut self, limits: BaselineLimits) -> Vec<Arc<Event>> {
        self.events.sort_by_key(|event| event.order());
        let mut watch = Watch::new(limits);
        let mut told = Vec::new();
        for event in &self.events {
            told.extend(watch.advance(event.time));
            watch.observe(event, event.time);
        }
        let end = self.events.last().unwrap().time;
        told.extend(watch.advance(Timestamp::from_millis(end.as_millis() + 120_000)));
        told
    }
}

/// Returns what each service's anomalies weigh at most, by signal.
fn weights(told: &[Arc<Event>]) -> BTreeMap<(String, String), f64> {
    let mut weights = BTreeMap::new();
    for event in told {
        let service = event.place.service.as_deref().unwrap().to_owned();
        let signal = event.attributes.text(keys::ANOMALY_SIGNAL).unwrap().to_owned();
        let Some(Value::Float(weight)) = event.attributes.get(keys::ANOMALY_SCORE) else {
            panic!("{event:?}")
        };
        let most = weights.entry((service, signal)).or_insert(0.0_f64);
        *most = most.max(*weight);
    }
    weights
}

fn told_after(minutes: i64, fault: Fault, limits: BaselineLimits) -> Vec<Arc<Event>> {
    let mut shop = Shop::default();
    (0..minutes).for_each(|minute| shop.minute(minute, Fault::None));
    (minutes..minutes + 2).for_each(|minute| shop.minute(minute, fault));
    shop.told(limits)
}

#[test]
fn a_healthy_shop_is_silent() {
    assert_eq!(told_after(20, Fault::None, BaselineLimits::default()), []);
}

#[test]
fn a_fault_is_told_of_the_service_that_has_it_and_of_no_other() {
    for (fault, signal) in [
        (Fault::EarlyReturn, "call"),
        (Fault::Exception, "log_template"),
        (Fault::Slow, "self_time"),
    ] {
        let told = told_after(3, fault, BaselineLimits::default());
        let weights = weights(&told);
        let services: Vec<_> = weights.keys().map(|(service, _)| service.as_str()).collect();
        assert!(
            !services.is_empty() && services.iter().all(|it| *it == "pay"),
            "{fault:?} {weights:?}"
        );
        assert!(weights.contains_key(&("pay".into(), signal.into())), "{fault:?} {weights:?}");
    }
}

#[test]
fn the_caller_is_blamed_where_only_the_deepest_part_is_left_out() {
    let mut limits = BaselineLimits::default();
    limits.without.insert(Part::Deepest);
    let weights = weights(&told_after(3, Fault::Exception, limits));
    assert!(weights.keys().any(|(service, _)| service == "web"), "{weights:?}");
}

#[test]
fn who_is_not_reached_is_no_fault_of_who_says_so() {
    assert_eq!(told_after(3, Fault::Unreached, BaselineLimits::default()), []);
}

#[test]
fn a_log_that_stops_is_not_a_service_that_is_silent() {
    let mut shop = Shop::default();
    (0..3).for_each(|minute| shop.minute(minute, Fault::None));
    let before = shop.events.len();
    (3..5).for_each(|minute| shop.minute(minute, Fault::None));
    let (kept, rest) = shop.events.split_at(before);
    let spans = rest.iter().filter(|event| event.kind == Kind::Span);
    shop.events = kept.iter().chain(spans).cloned().collect();
    assert_eq!(shop.told(BaselineLimits::default()), []);
}

#[test]
fn a_gap_is_no_fault() {
    let mut shop = Shop::default();
    (0..3).for_each(|minute| shop.minute(minute, Fault::None));
    (40..43).for_each(|minute| shop.minute(minute, Fault::None));
    // The recording begins in the middle of a request.
    let cut = Timestamp::from_millis(40 * 60_000 + 20);
    shop.events.retain(|event| event.time < Timestamp::from_millis(180_100) || event.time > cut);
    assert_eq!(shop.told(BaselineLimits::default()), []);
}

#[test]
fn a_new_version_is_learnt_anew() {
    let version = |is_told: bool| {
        let mut shop = Shop::default();
        (0..3).for_each(|minute| shop.minute(minute, Fault::None));
        if is_told {
            let begin = (Kind::RolloutStarted, Severity::Info);
            shop.push(("pay", 0, None), 180_000, begin, Vec::new());
        }
        (3..8).for_each(|minute| shop.minute(minute, Fault::EarlyReturn));
        shop.told(BaselineLimits::default()).len()
    };
    assert_eq!(version(true), 0);
    assert!(version(false) > 0);
}

#[test]
fn a_clock_far_ahead_silences_nobody() {
    let mut shop = Shop::default();
    (0..3).for_each(|minute| shop.minute(minute, Fault::None));
    let mut ahead = (*shop.events[0]).clone();
    ahead.time = Timestamp::MAX;
    (3..5).for_each(|minute| shop.minute(minute, Fault::Exception));
    shop.events.sort_by_key(|event| event.order());
    let mut watch = Watch::new(BaselineLimits::default());
    let mut told = 0;
    for event in &shop.events {
        told += watch.advance(event.time).len();
        watch.observe(event, event.time);
        watch.observe(&Arc::new(ahead.clone()), event.time);
    }
    assert!(told > 0);
    assert_eq!(watch.stats().ahead, shop.events.len() as u64);
}

#[test]
fn what_was_lost_on_the_way_is_not_missing() {
    let mut shop = Shop::default();
    (0..4).for_each(|minute| shop.minute(minute, Fault::None));
    shop.events.sort_by_key(|event| event.order());
    let mut watch = Watch::new(BaselineLimits::default());
    let mut told = Vec::new();
    for (number, event) in shop.events.iter().enumerate() {
        told.extend(watch.advance(event.time));
        // Every fourth line of the last minute gets lost, and whoever loses it says so.
        let is_lost = event.time > Timestamp::from_millis(180_000)
            && event.kind == Kind::Log
            && number % 4 == 0;
        if is_lost {
            watch.interrupt();
        } else {
            watch.observe(event, event.time);
        }
    }
    assert_eq!(told, []);
}

#[test]
fn what_stays_is_normal_after_a_while_and_told_until_then() {
    let mut shop = Shop::default();
    (0..3).for_each(|minute| shop.minute(minute, Fault::None));
    (3..40).for_each(|minute| shop.minute(minute, Fault::Exception));
    let told = shop.told(BaselineLimits::default());
    let last = told.iter().map(|event| event.time).max().unwrap();
    let minutes = (last.as_millis() - 180_000) / 60_000;
    assert!((9..15).contains(&minutes), "told for {minutes} minutes");
}

#[test]
fn the_same_events_are_told_the_same_way() {
    let told = || told_after(3, Fault::Exception, BaselineLimits::default());
    assert_eq!(told(), told());
}

#[test]
fn a_flood_of_traces_is_passed_over_and_counted() {
    let limits = BaselineLimits { traces_per_second_max: 1, ..BaselineLimits::default() };
    let mut watch = Watch::new(limits);
    let mut shop = Shop::default();
    (0..10).for_each(|request| shop.request(request, Fault::None));
    for event in &shop.events {
        watch.observe(event, Timestamp::ZERO);
    }
    let stats = watch.stats();
    assert_eq!((stats.passed_over, stats.traces), (9 * 7, 0));
}

#[test]
fn who_wants_something_else_is_no_fault() {
    assert_eq!(told_after(3, Fault::OtherWish, BaselineLimits::default()), []);
}

#[test]
fn what_happens_a_hundred_times_in_one_trace_happened_to_one_customer() {
    let told = |traces: u64| {
        let mut shop = Shop::default();
        (0..3).for_each(|minute| shop.minute(minute, Fault::None));
        for trace in 0..traces {
            let at = 180_000 + i64::try_from(trace).unwrap() * 1_000;
            shop.request(at, Fault::None);
            for span in 10..110 {
                shop.line(("pay", span), at + 20, Severity::Error, "java.lang.Boom in charge");
                shop.span("pay", "charge", (span, Some(1)), (at + 15, at + 25));
            }
        }
        shop.told(BaselineLimits::default()).len()
    };
    assert_eq!(told(2), 0);
    assert!(told(9) > 0);
}

/// Three minutes of the usual, and then two in which `gift` is asked for every 40 s, after it was
/// asked for ten times.
fn rarely(fault: bool, window_segments_max: usize) -> usize {
    let mut shop = Shop::default();
    let gift = |shop: &mut Shop, at: i64, is_broken: bool| {
        shop.requests += 1;
        if is_broken {
            shop.line(("gift", 1), at + 5, Severity::Error, "no paper left");
        }
        shop.span("gift", "wrap", (1, None), (at, at + 10));
    };
    (0..14).for_each(|minute| shop.minute(minute, Fault::None));
    (0..10).for_each(|time| gift(&mut shop, time * 40_000 + 500, false));
    (17..21).for_each(|time| gift(&mut shop, time * 40_000 + 500, fault));
    shop.told(BaselineLimits { window_segments_max, ..BaselineLimits::default() }).len()
}

#[test]
fn what_is_rare_is_looked_at_for_longer() {
    assert!(rarely(true, 12) > 0);
    assert_eq!((rarely(true, 4), rarely(false, 12)), (0, 0));
}

#[test]
fn what_is_over_is_not_told_again() {
    let mut shop = Shop::default();
    (0..3).for_each(|minute| shop.minute(minute, Fault::None));
    shop.minute(3, Fault::Exception);
    // Whatever was unlike is the last that is heard.
    let last = shop.told(BaselineLimits::default()).iter().map(|event| event.time).max().unwrap();
    assert!(last <= Timestamp::from_secs(300), "{last:?}");
}

/// `web` asks `pay` and `cart` by a client's span each; the way to `pay` may be slow.
fn by_clients(slow_ms: i64) -> Vec<Arc<Event>> {
    let mut shop = Shop::default();
    for second in 0..360_i64 {
        let (at, slow) = (second * 1_000, if second < 180 { 0 } else { slow_ms });
        shop.requests += 1;
        shop.span("web", "GET /buy", (1, None), (at, at + 90 + slow));
        shop.span("web", "HTTP GET", (2, Some(1)), (at + 5, at + 45 + slow));
        shop.span("pay", "charge", (3, Some(2)), (at + 10 + slow / 2, at + 40 + slow / 2));
        shop.span("web", "HTTP PUT", (4, Some(1)), (at + 50 + slow, at + 80 + slow));
        shop.span("cart", "empty", (5, Some(4)), (at + 55 + slow, at + 75 + slow));
    }
    shop.told(BaselineLimits::default())
}

#[test]
fn a_slow_way_is_that_of_the_end_whose_other_ways_are_no_better() {
    let weights = weights(&by_clients(200));
    let blamed: Vec<_> = weights.keys().cloned().collect();
    assert_eq!(blamed, [("pay".to_owned(), "edge_latency".to_owned())]);
    assert_eq!(by_clients(5), []);
}

/// Shows requests to a watch whose operations have ever new names, one a second.
fn ever_new(limits: BaselineLimits) -> Watch {
    let mut shop = Shop::default();
    for second in 0..600_i64 {
        shop.requests += 1;
        let name = format!("GET /item/{second}");
        shop.span("web", &name, (1, None), (second * 1_000, second * 1_000 + 9));
        shop.span("pay", "charge", (2, Some(1)), (second * 1_000 + 2, second * 1_000 + 7));
    }
    shop.events.sort_by_key(|event| event.order());
    let mut watch = Watch::new(limits);
    for event in &shop.events {
        watch.advance(event.time);
        watch.observe(event, event.time);
    }
    watch
}

#[test]
fn what_was_not_seen_for_longest_is_forgotten_first() {
    let stats = ever_new(BaselineLimits::default()).stats();
    assert_eq!((stats.operations, stats.forgotten), (586, 0), "the last segment is open");
    let max = stats.learnt_bytes / 2;
    let limits = BaselineLimits { learnt_bytes_max: max, ..BaselineLimits::default() };
    let stats = ever_new(limits).stats();
    assert!(stats.forgotten > 200 && stats.operations > 100, "{stats:?}");
    assert!(stats.learnt_bytes <= max, "{stats:?}");
    assert_eq!(stats.operations, 586 - usize::try_from(stats.forgotten).unwrap());
}

#[test]
fn when_all_that_is_known_is_in_use_nothing_further_is_learnt() {
    let limits = BaselineLimits { learnt_bytes_max: 20_000, ..BaselineLimits::default() };
    let stats = ever_new(limits).stats();
    assert!(stats.operations < 300, "{stats:?}");
}

#[test]
fn traces_beyond_their_bytes_are_passed_over_and_counted() {
    let usual = ever_new(BaselineLimits::default()).stats();
    assert_eq!(usual.passed_over, 0);
    let limits = BaselineLimits { window_bytes_max: 5_000, ..BaselineLimits::default() };
    let stats = ever_new(limits).stats();
    assert_eq!(stats.traces, usual.traces);
    assert!(stats.passed_over > 100 && stats.passed_over < 1_200, "{stats:?}");
    let limits = BaselineLimits { open_bytes_max: 2_000, ..BaselineLimits::default() };
    let stats = ever_new(limits).stats();
    assert!(stats.passed_over > 100 && stats.traces < usual.traces, "{stats:?}");
}
