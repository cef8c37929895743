//! An agent in this process, fed by a collector that keeps a ledger.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use tapio_agent::{
    Agent, AgentConfig, AgentParts, AgentStatus, CollectorSpec, MakeOutput, OutputError, OutputMode,
};
use tapio_bus::Bus;
use tapio_collect::{Binder, Collector, CollectorError, Outlet, Stop, Unbound, event_id};
use tapio_config::{Origin, Watching, watch};
use tapio_direct::{DirectBus, DirectConfig};
use tapio_model::{Class, Clock as _, EventId, Kind, Severity, Source, TraceId};
use tapio_nats::{Connection, NatsBus, NatsBusOptions};
use tapio_telemetry::SystemClock;
use tempfile::TempDir;
use tokio::time::{Instant, interval};

use super::world::{Arrived, Mesh, Outcome, PATIENCE, check, nats, said, until};

/// How often the generator looks how many events are due.
const TICK: Duration = Duration::from_millis(5);

/// Room for all that a test emits, should its machine be too slow to send any of it meanwhile.
const SPOOL_BYTES: u64 = 1 << 30;

/// What was emitted: the events of the numbers below a count.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    emitted: AtomicU64,
    is_enough: AtomicBool,
}

impl Ledger {
    pub(super) fn count(&self) -> u64 {
        self.emitted.load(Relaxed)
    }
}

fn id(number: u64) -> EventId {
    event_id(&[b"ledger", &number.to_le_bytes()])
}

/// Traces of some forty events each, some of every level.
fn event(number: u64) -> Unbound {
    let trace = u128::from(number / 1_000 * 25 + number % 25 + 1);
    let impact = match number {
        _ if number.is_multiple_of(500) => 1.0,
        _ if number.is_multiple_of(50) => 0.8,
        _ => 0.0,
    };
    let event = Unbound::new(id(number), SystemClock.now(), Source::App, Kind::Log);
    Unbound { trace_id: Some(TraceId::from_bytes(trace.to_be_bytes())), ..event }
        .rated(Severity::Info, impact, Class::Application)
        .message(format!("order {number} placed"))
}

/// Emits so many events a second, or as many as are taken.
#[derive(Debug)]
struct Generator {
    ledger: Arc<Ledger>,
    rate: u64,
}

#[async_trait]
impl Collector for Generator {
    fn name(&self) -> &'static str {
        "generator"
    }

    async fn run(self: Box<Self>, outlet: Outlet, mut stop: Stop) -> Result<(), CollectorError> {
        let mut tick = interval(TICK);
        let (mut since, mut due) = (Instant::now(), 0);
        while !self.ledger.is_enough.load(Relaxed) {
            tick.tick().await;
            // What was not taken in time is not made up for: a stall shall not end in a flood.
            let passed = since.elapsed().min(TICK * 20);
            since = Instant::now();
            due += self.rate * u64::try_from(passed.as_micros()).unwrap_or_default();
            while due >= 1_000_000 && !self.ledger.is_enough.load(Relaxed) {
                due -= 1_000_000;
                outlet.emit(event(self.ledger.count())).await?;
                self.ledger.emitted.fetch_add(1, Relaxed);
            }
        }
        stop.stopped().await;
        Ok(())
    }
}

/// The agent and its ledger.
pub(super) struct Feed {
    pub(super) agent: Agent,
    pub(super) ledger: Arc<Ledger>,
    config: PathBuf,
    _watching: Watching,
    /// Where the configuration and the spool are; the last to go.
    home: TempDir,
}

impl Feed {
    /// Starts an agent that publishes over NATS.
    pub(super) fn start(mesh: &Mesh, rate: u64) -> Outcome<Self> {
        let home = TempDir::new().map_err(said)?;
        let config = home.path().join("agent.yaml");
        let ledger = Arc::<Ledger>::default();
        write(&config, mesh, &home, "nats")?;
        let origin = Origin { path: Some(config.clone()), lookup: Arc::new(|_| None) };
        let (live, watching) = watch::<AgentConfig>(origin).map_err(said)?;
        let now = live.current();
        let agent = Agent::start(AgentParts {
            config: live,
            collectors: vec![generator(Arc::clone(&ledger), rate)],
            outputs: outputs(),
            clock: Arc::new(SystemClock),
            binder: Arc::new(Binder::new(now.home())),
            home: now.home(),
            log_level: Box::new(|_| {}),
        });
        let agent = agent.map_err(said)?;
        Ok(Self { agent, ledger, config, _watching: watching, home })
    }

    /// Rewrites the configuration.
    pub(super) fn point_to(&self, mesh: &Mesh, mode: &str) -> Outcome {
        write(&self.config, mesh, &self.home, mode)
    }

    /// Ends the generator and then the agent, and returns its last words and the ledger's count.
    pub(super) async fn finish(self) -> Outcome<(AgentStatus, u64)> {
        self.ledger.is_enough.store(true, Relaxed);
        // However long a slow machine takes to send what it has spooled: it goes on.
        until(async || {
            let held: u64 = self.agent.status().switch.spool.held_events.iter().sum();
            check(held == 0, || format!("{held} are held"))
        })
        .await?;
        let status = self.agent.shutdown(PATIENCE).await;
        let held: u64 = status.switch.spool.held_events.iter().sum();
        check((status.pumped.lost(), held) == (0, 0), || format!("{status:?}"))?;
        Ok((status, self.ledger.count()))
    }
}

/// Compares the events stream with the ledger; fails unless each event is there, and no other.
/// Returns how many copies came too many.
pub(super) async fn compare(mesh: &Mesh, count: u64) -> Outcome<u64> {
    let arrived = Arrived::read(mesh, usize::try_from(count).map_err(said)?).await?;
    let lost = (0..count).filter(|number| !arrived.events.contains_key(&id(*number))).count();
    let known = usize::try_from(count).map_err(said)? - lost;
    let foreign = arrived.events.len() - known;
    check((lost, foreign, arrived.torn) == (0, 0, 0), || {
        format!("of {count} events {lost} are lost, {foreign} foreign, {} torn", arrived.torn)
    })?;
    Ok(arrived.repeats())
}

fn write(config: &Path, mesh: &Mesh, home: &TempDir, mode: &str) -> Outcome {
    let spool = home.path().join("spool");
    let spool = format!("spool: {{ path: '{}', bytes_max: {SPOOL_BYTES} }}\n", spool.display());
    let text = mesh.output(mode) + &spool;
    fs::write(config, text).map_err(said)
}

fn generator(ledger: Arc<Ledger>, rate: u64) -> CollectorSpec {
    let make = move |_: &AgentConfig| {
        let generator = Generator { ledger: Arc::clone(&ledger), rate };
        let collector: Box<dyn Collector> = Box::new(generator);
        Ok(Some(collector))
    };
    CollectorSpec { name: "generator", differs: |_, _| false, make: Box::new(make) }
}

/// Makes the real outputs, as the command does.
fn outputs() -> MakeOutput {
    Box::new(|config| {
        Box::pin(async move {
            let refused = |what: String| OutputError { what, cure: "look at the test".to_owned() };
            let bus: Arc<dyn Bus> = match config.output.mode {
                OutputMode::Nats => {
                    let wanted = nats(config.output.nats.url.clone());
                    let connection = Connection::open(&wanted).await;
                    let connection = connection.map_err(|why| refused(why.to_string()))?;
                    Arc::new(NatsBus::new(connection, NatsBusOptions::default()))
                }
                OutputMode::Direct => {
                    let nodes = config.output.direct.nodes();
                    let nodes = nodes.ok_or_else(|| refused("no address".to_owned()))?;
                    let bus = DirectBus::start(DirectConfig::to(nodes.addresses));
                    Arc::new(bus.map_err(|why| refused(why.to_string()))?)
                }
            };
            Ok(bus)
        })
    })
}
