//! The traps of watching, played by a scripted server. After each: nothing missed, nothing told
//! twice; the longest blindness is printed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test may fail it")]
#![expect(clippy::print_stdout, reason = "the longest blindness is what a reader wants")]

mod scope;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kube::{Client, Config};
use serde_json::json;
use tapio_collect::{
    Account, Collector as _, CollectorError, DropReason, Outlet, Stopper, Unbound, stop_signal,
};
use tapio_collect_kube::{
    KubeCollector, KubeConfig, LeadState, MemoryPositions, Positions, Resource, ResourceStatus,
    StatusBoard, Timing, WatchState,
};
use tapio_model::{EventId, Severity, Value, keys};
use tapio_telemetry::{SystemClock, spawn_named};
use tapio_tests::api_server::{ApiServer, EVENTS, Faults, MAPS};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config(resources: &[Resource]) -> KubeConfig {
    let timing = Timing {
        watch: ms(1_000),
        watch_grace: Duration::from_secs(3_600),
        request: ms(400),
        probe_every: ms(50),
        probe: ms(200),
        relist_every: Duration::from_secs(3_600),
        backoff_min: ms(10),
        backoff_max: ms(80),
        brief: ms(5),
        refused_after: ms(100),
        refused_retry: ms(60),
        stale_after: ms(600),
        save_every: ms(20),
        save_lag: ms(0),
        owners: ms(0),
    };
    let resources = resources.iter().copied().collect();
    KubeConfig { resources, timing, lead: false, ..KubeConfig::default() }
}

/// A running collector and what it told.
struct Run {
    events: mpsc::Receiver<Unbound>,
    board: Arc<StatusBoard>,
    account: Arc<Account>,
    stopper: Stopper,
    running: JoinHandle<Result<(), CollectorError>>,
    ids: BTreeSet<EventId>,
    alarms: Vec<Unbound>,
}

impl Run {
    fn start(server: &ApiServer, config: KubeConfig, positions: Arc<dyn Positions>) -> Self {
        let collector = KubeCollector::new(config, Arc::new(SystemClock), positions)
            .with_client(client(server));
        let board = collector.status();
        let (sender, events) = mpsc::channel(64);
        let account = Arc::new(Account::default());
        let (stopper, stop) = stop_signal();
        let outlet = Outlet::new(sender, Arc::clone(&account));
        let running = spawn_named("collector", Box::new(collector).run(outlet, stop));
        let (ids, alarms) = (BTreeSet::new(), Vec::new());
        Self { events, board, account, stopper, running, ids, alarms }
    }

    /// Starts over ConfigMaps, and waits until it watches.
    async fn of_maps(server: &ApiServer) -> Self {
        let run = Self::start(server, config(&[Resource::ConfigMaps]), memory());
        run.reach("configmaps", |status| status.state == WatchState::Watching).await;
        run
    }

    async fn reach(&self, name: &str, is_so: impl Fn(&ResourceStatus) -> bool + Send + Sync) {
        let reached = self.board.wait_until(|all| all.resources.get(name).is_some_and(&is_so));
        let reached = timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{:?}", self.board.snapshot());
    }

    /// Takes the next event; alarms are put aside, and an id seen twice fails the test.
    async fn next(&mut self) -> Unbound {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("{:?}", self.board.snapshot())).unwrap();
            assert!(self.ids.insert(event.id), "told twice: {event:?}");
            if text(&event, keys::REASON) != "TapioWatchStale" {
                return event;
            }
            self.alarms.push(event);
        }
    }

    /// Takes exactly these events next, in any order: name and version, or name and `deleted`.
    async fn expect(&mut self, wanted: &[String]) {
        let mut told = Vec::new();
        for _ in wanted {
            told.push(said(&self.next().await));
        }
        told.sort();
        let mut wanted = wanted.to_vec();
        wanted.sort();
        assert_eq!(told, wanted);
    }

    /// Ends the trap: what comes next is the sentinel, so nothing was told that should not be.
    async fn finish(mut self, server: &ApiServer, trap: &str) {
        let version = server.put("sentinel");
        self.expect(&[at("sentinel", version)]).await;
        let status = self.board.snapshot();
        for (name, resource) in &status.resources {
            println!("{trap}: {name} blind for at most {:?}", resource.blind_max);
        }
        self.stop().await;
    }

    async fn stop(self) {
        self.stopper.stop();
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        let account = self.account.snapshot();
        assert_eq!(account.read, account.emitted + account.dropped.iter().sum::<u64>());
        let is_excused = [DropReason::Malformed, DropReason::Full];
        let excused: u64 = is_excused.iter().map(|reason| account.dropped(*reason)).sum();
        assert_eq!(account.lost(), excused);
    }
}

async fn serve() -> ApiServer {
    ApiServer::start().await.unwrap()
}

fn client(server: &ApiServer) -> Client {
    let mut config = Config::new(server.url().parse().unwrap());
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

fn memory() -> Arc<dyn Positions> {
    Arc::new(MemoryPositions::default())
}

fn text<'a>(event: &'a Unbound, key: &str) -> &'a str {
    let found = event.attributes.iter().find(|(known, _)| known == key);
    found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
}

fn said(event: &Unbound) -> String {
    let name = text(event, keys::OBJECT_NAME);
    match text(event, keys::CHANGE) {
        "deleted" => format!("{name} deleted"),
        _ => format!("{name} {}", text(event, keys::RESOURCE_VERSION)),
    }
}

fn at(name: &str, version: u64) -> String {
    format!("{name} {version}")
}

fn gone(name: &str) -> String {
    format!("{name} deleted")
}

#[tokio::test]
async fn what_was_there_is_no_news_and_what_comes_is() {
    let server = serve().await;
    server.put("old");
    let mut run = Run::of_maps(&server).await;
    let versions = [server.put("old"), server.put("new")];
    run.expect(&[at("old", versions[0]), at("new", versions[1])]).await;
    server.delete(MAPS, "new");
    run.expect(&[gone("new")]).await;
    run.finish(&server, "no fault").await;
}

#[tokio::test]
async fn a_410_inside_a_200_relists_at_once_and_finds_what_went_in_the_gap() {
    let server = serve().await;
    server.put("a");
    server.put("b");
    let mut run = Run::of_maps(&server).await;
    server.fault(Faults { is_frozen: true, ..Faults::default() });
    let version = server.put("a");
    server.delete(MAPS, "b");
    server.compact();
    server.fault(Faults { gone: true, ..Faults::default() });
    run.reach("configmaps", |status| status.failures >= 1).await;
    server.fault(Faults::default());
    run.expect(&[at("a", version), gone("b")]).await;
    run.finish(&server, "410 in a 200").await;
}

#[tokio::test]
async fn a_403_that_passes_costs_nothing() {
    let server = serve().await;
    server.put("a");
    server.fault(Faults { status: Some(403), status_times: 2, ..Faults::default() });
    let mut run = Run::of_maps(&server).await;
    let version = server.put("a");
    run.expect(&[at("a", version)]).await;
    run.finish(&server, "two 403 at the start").await;
}

#[tokio::test]
async fn a_long_503_is_retried_in_sight_and_missed_nothing() {
    let server = serve().await;
    server.put("a");
    let mut run = Run::of_maps(&server).await;
    server.fault(Faults { status: Some(503), ..Faults::default() });
    server.cut();
    run.reach("configmaps", |status| status.failures >= 12).await;
    let versions = [server.put("a"), server.put("b")];
    run.reach("configmaps", |status| status.is_stale).await;
    server.fault(Faults::default());
    run.expect(&[at("a", versions[0]), at("b", versions[1])]).await;
    run.reach("configmaps", |status| !status.is_stale && status.trouble.is_none()).await;
    run.finish(&server, "long 503").await;
}

#[tokio::test]
async fn a_frozen_server_raises_the_alarm_and_ends_it() {
    let server = serve().await;
    server.put("a");
    let mut run = Run::of_maps(&server).await;
    server.fault(Faults { is_frozen: true, ..Faults::default() });
    let version = server.put("a");
    run.reach("configmaps", |status| status.is_stale).await;
    server.fault(Faults::default());
    run.expect(&[at("a", version)]).await;
    run.reach("configmaps", |status| !status.is_stale).await;
    let version = server.put("b");
    run.expect(&[at("b", version)]).await;
    assert_eq!(run.alarms.first().map(|alarm| alarm.severity), Some(Severity::Warn));
    run.finish(&server, "frozen server").await;
}

#[tokio::test]
async fn a_store_rebuilt_below_is_noticed_while_the_watch_is_silent() {
    let server = serve().await;
    server.put("a");
    let mut run = Run::of_maps(&server).await;
    server.rebuild(10);
    let version = server.put("a");
    assert!(version < 100);
    run.expect(&[at("a", version)]).await;
    run.finish(&server, "store rebuilt").await;
}

#[tokio::test]
async fn rights_taken_in_mid_watch_show_name_the_rule_and_come_back() {
    let server = serve().await;
    server.put("a");
    let mut run = Run::of_maps(&server).await;
    server.fault(Faults { is_revoked: true, ..Faults::default() });
    let version = server.put("a");
    run.expect(&[at("a", version)]).await;
    run.reach("configmaps", |status| status.trouble.is_some()).await;
    server.cut();
    run.reach("configmaps", |status| status.state == WatchState::Refused).await;
    let rule = run.board.snapshot().resources["configmaps"].refused.clone().unwrap();
    let line = r#"apiGroups: [""], resources: ["configmaps"], verbs: ["list", "watch"]"#;
    assert_eq!(rule.to_string(), line);
    let version = server.put("a");
    server.fault(Faults::default());
    run.expect(&[at("a", version)]).await;
    run.reach("configmaps", |status| status.refused.is_none()).await;
    run.finish(&server, "rights revoked").await;
}

#[tokio::test]
async fn a_401_is_waited_out() {
    let server = serve().await;
    let mut run = Run::of_maps(&server).await;
    server.fault(Faults { status: Some(401), status_times: 6, ..Faults::default() });
    server.cut();
    let version = server.put("a");
    run.expect(&[at("a", version)]).await;
    run.finish(&server, "six 401").await;
}

#[tokio::test]
async fn a_group_that_is_not_served_costs_itself_only() {
    let server = serve().await;
    let resources = [Resource::ConfigMaps, Resource::EndpointSlices];
    let mut run = Run::start(&server, config(&resources), memory());
    run.reach("endpointslices", |status| status.state == WatchState::NotServed).await;
    run.reach("configmaps", |status| status.state == WatchState::Watching).await;
    let version = server.put("a");
    run.expect(&[at("a", version)]).await;
    run.finish(&server, "group not served").await;
}

#[tokio::test]
async fn repeats_of_an_event_are_its_counts_and_its_expiry_is_nothing() {
    let server = serve().await;
    let resources = [Resource::Events, Resource::ConfigMaps];
    let mut run = Run::start(&server, config(&resources), memory());
    for name in ["events", "configmaps"] {
        run.reach(name, |status| status.state == WatchState::Watching).await;
    }
    let event = |count: i32| {
        json!({ "type": "Warning", "reason": "BackOff", "message": "Back-off restarting",
            "count": count, "lastTimestamp": format!("2026-01-01T00:00:{count:02}Z"),
            "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "p", "uid": "u" } })
    };
    let mut counts = Vec::new();
    for count in [1, 4, 5] {
        server.put_object(EVENTS, "p.1", event(count));
        let told = run.next().await;
        let value = told.attributes.iter().find(|(key, _)| key == keys::COUNT);
        counts.push(value.map(|(_, value)| value.clone()));
    }
    assert!(
        counts.contains(&Some(Value::Int(3))) || counts.contains(&Some(Value::Int(4))),
        "{counts:?}"
    );
    server.delete(EVENTS, "p.1");
    run.finish(&server, "event updates and expiry").await;
}

#[tokio::test]
async fn a_restart_continues_where_it_stopped() {
    let server = serve().await;
    for name in ["a", "b", "c"] {
        server.put(name);
    }
    let positions = memory();
    let start = || Run::start(&server, config(&[Resource::ConfigMaps]), Arc::clone(&positions));
    let mut run = start();
    run.reach("configmaps", |status| status.state == WatchState::Watching).await;
    let version = server.put("a");
    run.expect(&[at("a", version)]).await;
    run.stop().await;
    let versions = [server.put("b"), server.put("d")];
    server.delete(MAPS, "c");
    let mut run = start();
    run.expect(&[at("b", versions[0]), at("d", versions[1]), gone("c")]).await;
    run.finish(&server, "restart").await;
}

#[tokio::test]
async fn a_restart_after_the_past_is_gone_tells_nothing_twice() {
    let server = serve().await;
    server.put("a");
    let positions = memory();
    let start = || Run::start(&server, config(&[Resource::ConfigMaps]), Arc::clone(&positions));
    let run = start();
    run.reach("configmaps", |status| status.state == WatchState::Watching).await;
    run.stop().await;
    server.fault(Faults { has_no_past: true, ..Faults::default() });
    let run = start();
    run.reach("configmaps", |status| status.state == WatchState::Watching).await;
    run.finish(&server, "restart without a past").await;
}

#[tokio::test]
async fn listings_are_streamed_where_served() {
    let server = serve().await;
    server.stream_lists();
    server.put("a");
    let mut run = Run::of_maps(&server).await;
    let version = server.put("a");
    run.expect(&[at("a", version)]).await;
    assert!(server.requests().iter().any(|request| request.contains("sendInitialEvents=true")));
    run.finish(&server, "streamed listing").await;
}

#[tokio::test]
async fn one_of_two_watches_and_the_other_continues_after_it() {
    let server = serve().await;
    server.put("a");
    let start = |identity: &str| {
        let mut config = config(&[Resource::ConfigMaps]);
        config.lead = true;
        config.leader.identity = identity.into();
        config.leader.ttl = ms(1_500);
        Run::start(&server, config, memory())
    };
    let mut one = start("one");
    one.reach("configmaps", |status| status.state == WatchState::Watching).await;
    let mut two = start("two");
    let follows =
        two.board.wait_until(|status| status.lead == LeadState::Following { leader: "one".into() });
    timeout(PATIENCE, follows).await.unwrap();
    let version = server.put("a");
    one.expect(&[at("a", version)]).await;
    one.stop().await;
    let version = server.put("a");
    two.expect(&[at("a", version)]).await;
    two.finish(&server, "change of lead").await;
}
