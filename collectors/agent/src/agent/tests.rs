use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;
use tapio_bus::{MemoryBus, MemoryBusLimits, Start, Subscription};
use tapio_collect::{Outlet, Stop, Unbound, event_id};
use tapio_config::LiveSender;
use tapio_model::{EventId, Kind, Source, Timestamp};
use tempfile::tempdir;
use tokio::time::{sleep, timeout};

use super::*;
use crate::{OutputMode, SpoolConfig};

const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(43_200)
    }
}

/// What a scripted collector does when it runs.
#[derive(Debug, Clone, Copy)]
enum Deed {
    /// Emits so many events and waits to be stopped.
    Emit(u64),
    /// Emits one and breaks.
    Break,
    Panic,
    End,
}

#[derive(Debug)]
struct Scripted {
    deed: Deed,
    from: u64,
}

#[async_trait]
impl Collector for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn run(self: Box<Self>, outlet: Outlet, mut stop: Stop) -> Result<(), CollectorError> {
        let many = match self.deed {
            Deed::Emit(many) => many,
            Deed::Break | Deed::Panic | Deed::End => 1,
        };
        for number in self.from..self.from + many {
            outlet.account().read(1);
            let id = event_id(&[&number.to_le_bytes()]);
            let event = Unbound::new(id, Timestamp::from_secs(1), Source::App, Kind::ProcessExit);
            outlet.emit(event).await?;
            outlet.account().emitted(1);
        }
        match self.deed {
            Deed::Emit(_) => stop.stopped().await,
            Deed::Break => {
                let why = "it fell over".to_owned();
                return Err(CollectorError::Broken { source_name: "it".to_owned(), why });
            }
            Deed::Panic => panic!("as told"),
            Deed::End => {}
        }
        Ok(())
    }
}

/// A collector that does one thing after the other, the last for ever.
fn scripted(name: &'static str, deeds: &'static [Deed]) -> CollectorSpec {
    let turn = AtomicU64::default();
    let make = move |config: &AgentConfig| {
        if !config.collectors.kernel.enabled {
            return Ok(None);
        }
        let turn = turn.fetch_add(1, Relaxed);
        let at = usize::try_from(turn).unwrap_or_default().min(deeds.len() - 1);
        let collector: Box<dyn Collector> =
            Box::new(Scripted { deed: deeds[at], from: turn * 1_000 });
        Ok(Some(collector))
    };
    let differs = |now: &AgentConfig, next: &AgentConfig| now.collectors != next.collectors;
    CollectorSpec { name, differs, make: Box::new(make) }
}

fn memory() -> Arc<MemoryBus> {
    Arc::new(MemoryBus::new(MemoryBusLimits::default()))
}

/// Outputs by mode: one over NATS, none direct.
fn outputs(nats: Option<&Arc<MemoryBus>>, direct: Option<&Arc<MemoryBus>>) -> MakeOutput {
    let (nats, direct) = (nats.map(Arc::clone), direct.map(Arc::clone));
    Box::new(move |config| {
        let bus = match config.output.mode {
            OutputMode::Nats => nats.as_ref().map(Arc::clone),
            OutputMode::Direct => direct.as_ref().map(Arc::clone),
        };
        Box::pin(async move {
            let error = || OutputError { what: "nobody there".into(), cure: "start it".into() };
            let bus: Arc<dyn Bus> = bus.ok_or_else(error)?;
            Ok(bus)
        })
    })
}

fn start(
    config: AgentConfig,
    collectors: Vec<CollectorSpec>,
    outputs: MakeOutput,
) -> (Agent, LiveSender<AgentConfig>) {
    let (sender, live) = Live::new(config);
    let home = live.current().home();
    let parts = AgentParts {
        config: live,
        collectors,
        outputs,
        clock: Arc::new(Noon),
        binder: Arc::new(Binder::new(home.clone())),
        home,
        log_level: Box::new(|_| {}),
    };
    (Agent::start(parts).expect("started"), sender)
}

fn with_spool(folder: &Path) -> AgentConfig {
    let path = Some(folder.join("spool"));
    let spool = SpoolConfig { path, ..SpoolConfig::default() };
    AgentConfig { node: Some("node-1".into()), spool, ..AgentConfig::default() }
}

async fn until(what: &str, agent: &Agent, holds: impl Fn(&AgentStatus) -> bool) -> AgentStatus {
    let waiting = async {
        while !holds(&agent.status()) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "{what}: {:#?}", agent.status());
    agent.status()
}

/// Reads what there is.
async fn ids(bus: &MemoryBus) -> BTreeSet<EventId> {
    let shards: Vec<_> = ShardCount::DEFAULT.shards().collect();
    let mut reader: Box<dyn Subscription> =
        bus.subscribe(&shards, Start::Earliest).await.expect("a reader");
    let mut ids = BTreeSet::new();
    while let Ok(Some(delivery)) = timeout(Duration::from_millis(1), reader.next()).await {
        ids.extend(delivery.batch.events.iter().map(|event| event.id));
    }
    ids
}

fn expected(numbers: std::ops::Range<u64>) -> BTreeSet<EventId> {
    numbers.map(|number| event_id(&[&number.to_le_bytes()])).collect()
}

#[tokio::test(start_paused = true)]
async fn events_of_all_collectors_reach_the_output() {
    let folder = tempdir().expect("a folder");
    let bus = memory();
    let specs = vec![scripted("one", &[Deed::Emit(500)]), scripted("two", &[Deed::End])];
    let (agent, _config) = start(with_spool(folder.path()), specs, outputs(Some(&bus), None));
    let status = until("published", &agent, |status| status.pumped.published_events == 501).await;
    assert_eq!(status.collectors["one"].state, CollectorState::Running);
    assert_eq!(status.collectors["two"].state, CollectorState::Ended);
    assert_eq!(status.collectors["one"].accounts.emitted, 500);
    let status = agent.shutdown(PATIENCE).await;
    assert_eq!(status.collectors["one"].state, CollectorState::Off);
    assert_eq!((status.pumped.lost(), status.switch.spool.held_bytes), (0, 0));
    assert_eq!(ids(&bus).await, expected(0..500));
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_breaks_or_panics_is_made_again() {
    let bus = memory();
    let specs = vec![scripted("weak", &[Deed::Break, Deed::Panic, Deed::Emit(2)])];
    let (agent, _config) = start(AgentConfig::default(), specs, outputs(Some(&bus), None));
    let status = until("healthy", &agent, |status| status.collectors["weak"].restarts == 2).await;
    assert!(matches!(&status.collectors["weak"].state, CollectorState::Broken(_)));
    let running = |status: &AgentStatus| status.collectors["weak"].state == CollectorState::Running;
    until("running", &agent, running).await;
    let status = agent.shutdown(PATIENCE).await;
    assert_eq!(status.collectors["weak"].accounts.emitted, 4, "the account goes on");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_here_is_looked_for_again() {
    let looks = Arc::new(AtomicU64::default());
    let counted = Arc::clone(&looks);
    let absent = CollectorSpec {
        name: "absent",
        differs: |_, _| false,
        make: Box::new(move |_| {
            counted.fetch_add(1, Relaxed);
            let [source_name, why, cure] = ["a", "b", "c"].map(str::to_owned);
            Err(CollectorError::Absent { source_name, why, cure })
        }),
    };
    let bus = memory();
    let (agent, _config) = start(AgentConfig::default(), vec![absent], outputs(Some(&bus), None));
    sleep(Duration::from_secs(150)).await;
    assert_eq!(looks.load(Relaxed), 3);
    let status = agent.shutdown(PATIENCE).await;
    assert_eq!(status.collectors["absent"].restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_switches_the_output_and_the_collectors() {
    let folder = tempdir().expect("a folder");
    let (nats, direct) = (memory(), memory());
    let specs = vec![scripted("one", &[Deed::Emit(10)])];
    let config = with_spool(folder.path());
    let (agent, sender) = start(config.clone(), specs, outputs(Some(&nats), Some(&direct)));
    until("nats", &agent, |status| status.pumped.published_events == 10).await;
    let mut next = config.clone();
    next.output.mode = OutputMode::Direct;
    sender.apply(next.clone());
    until("direct", &agent, |status| status.switch.output == "direct").await;
    next.collectors.kernel.enabled = false;
    sender.apply(next.clone());
    until("off", &agent, |status| status.collectors["one"].state == CollectorState::Off).await;
    next.collectors.kernel.enabled = true;
    sender.apply(next);
    until("on again", &agent, |status| status.pumped.published_events == 20).await;
    let status = agent.shutdown(PATIENCE).await;
    assert_eq!((status.switch.switches, status.reloads.applied), (2, 3));
    assert_eq!(ids(&nats).await, expected(0..10));
    assert_eq!(ids(&direct).await, expected(1_000..1_010));
}

#[tokio::test(start_paused = true)]
async fn an_output_that_cannot_be_made_leaves_the_old_one() {
    let nats = memory();
    let specs = vec![scripted("one", &[Deed::Emit(1)])];
    let (agent, sender) = start(AgentConfig::default(), specs, outputs(Some(&nats), None));
    until("nats", &agent, |status| status.switch.output == "nats").await;
    let mut next = AgentConfig::default();
    next.output.mode = OutputMode::Direct;
    sender.apply(next);
    let status = until("said", &agent, |status| status.output_problem.is_some()).await;
    assert_eq!(status.output_problem.as_deref(), Some("nobody there; start it"));
    assert_eq!(status.switch.output, "nats");
    sender.apply(AgentConfig::default());
    until("well again", &agent, |status| status.output_problem.is_none()).await;
    agent.shutdown(PATIENCE).await;
}

#[tokio::test(start_paused = true)]
async fn what_no_output_took_is_sent_after_the_next_start() {
    let folder = tempdir().expect("a folder");
    let specs = vec![scripted("one", &[Deed::Emit(300)])];
    let (agent, _config) = start(with_spool(folder.path()), specs, outputs(None, None));
    until("spooled", &agent, |status| status.switch.spool.appended_events == 300).await;
    let status = agent.shutdown(Duration::from_secs(1)).await;
    assert_eq!((status.pumped.published_events, status.pumped.lost()), (300, 0));
    assert_eq!(status.switch.spool.held_events, [300, 0, 0]);
    let bus = memory();
    let reopened = async {
        // The lock goes with the last task of the first agent.
        loop {
            let limits = AgentConfig::default().spool_limits(1);
            if Spool::open(&folder.path().join("spool"), limits).is_ok() {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, reopened).await.is_ok());
    let (agent, _config) = start(with_spool(folder.path()), Vec::new(), outputs(Some(&bus), None));
    until("sent", &agent, |status| status.switch.drained_events == 300).await;
    agent.shutdown(PATIENCE).await;
    assert_eq!(ids(&bus).await, expected(0..300));
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_output_and_spool_ends_and_counts() {
    let specs = vec![scripted("one", &[Deed::Emit(5)])];
    let (agent, _config) = start(AgentConfig::default(), specs, outputs(None, None));
    until("parked", &agent, |status| status.switch.parked_events == 5).await;
    let status = agent.shutdown(Duration::from_secs(1)).await;
    assert_eq!((status.pumped.received_events, status.pumped.closed_events), (5, 5));
}
