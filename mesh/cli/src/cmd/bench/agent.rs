//! `tapio bench agent`: what an agent takes of the machine it watches.
//!
//! The agent is a process of its own, with every collector that works here, and sends directly to a
//! server of this process that counts. Its watch cache holds a cluster of some size. Lines of a log
//! are its load: first at a rate, then an hour's worth of them as fast as it takes them. A thread
//! also fails to write to a full device, for the probes.

mod cluster;

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::json;
use tapio_bus::{Offset, PublishError};
use tapio_chaos::real::{NodeCommand, NodeProcess};
use tapio_collect_kernel::{FloodPace, flood_full_device};
use tapio_direct::{DirectServer, ServeConfig, Sink};
use tapio_model::Source;
use tapio_wire::EventBatch;
use tokio::time::{Instant, sleep};

use self::cluster::Cluster;
use super::{
    mesh::{load_average, resident, rounded, seconds_of},
    report::{per_second, print},
};
use crate::{
    cmd::replay::park_until,
    out::{Out, errln},
};

/// How long the agent may take until it watches and reads.
const START_MAX: Duration = Duration::from_secs(60);

/// How long loading, verifying and listing may still echo in the figures.
const SETTLE: Duration = Duration::from_secs(10);

/// How long the agent may be without progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the log is written at a rate: what a busy service does.
const WRITE_EVERY: Duration = Duration::from_millis(20);

/// Lines that may be unread while they come as fast as they can: files are no queue to be measured.
const BEHIND_MAX: u64 = 50_000;

/// Lines that are written at once then.
const CHUNK: u64 = 2_000;

/// What docs/agent.md recommends for a DaemonSet: what was freed goes back to the kernel soon.
const ALLOCATOR: &str = "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0";

/// Failing calls a second, for the probes.
const FAILURES: u64 = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct AgentArgs {
    /// Lines a second that the watched log gets.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long it gets them.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Lines of the hour that then goes by as fast as the agent takes it; none with 0.
    #[arg(long, value_name = "LINES", default_value_t = 3_600_000)]
    hour_events: u64,
    /// Pods in the watch cache.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=150_000))]
    pods: u32,
    /// Nodes in the watch cache.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    nodes: u32,
    /// Leaves the kernel's probes out.
    #[arg(long)]
    no_probes: bool,
}

#[derive(Debug, Serialize)]
struct Figures {
    load_average_before: f64,
    /// Of one core, without load.
    idle_cpu_percent: f64,
    at_rate: Stage,
    hour: Option<Stage>,
    /// Ten seconds after the last event.
    at_rest: Memory,
    /// Of the child, by the kernel (`VmHWM`).
    peak_resident_mib: f64,
    load_average_after: f64,
}

/// A time under load.
#[derive(Debug, Serialize)]
struct Stage {
    /// Lines written, each of which came as an event.
    lines: u64,
    /// What else came: probes, counters, Kubernetes.
    others: u64,
    events_per_second: u64,
    /// Of one core.
    cpu_percent: f64,
    cpu_us_per_event: f64,
    #[serde(flatten)]
    memory: Memory,
}

/// Resident memory of the child.
///
/// # Units
/// MiB. `resident` is `VmRSS`, and holds everything that is mapped: `ring` too, the pages of
/// `anon_inode:bpf-map`, which the kernel maps twice over and counts twice.
#[derive(Debug, Serialize)]
struct Memory {
    resident_mib: f64,
    anonymous_mib: f64,
    file_mib: f64,
    ring_mib: f64,
}

/// Counts, and forgets.
#[derive(Debug, Default)]
struct CountingSink {
    /// Events from the log.
    lines: AtomicU64,
    others: AtomicU64,
}

#[async_trait]
impl Sink for CountingSink {
    async fn keep(&self, batch: EventBatch) -> Result<Offset, PublishError> {
        let lines = batch.events.iter().filter(|event| event.source == Source::App).count() as u64;
        self.lines.fetch_add(lines, Relaxed);
        self.others.fetch_add(batch.events.len() as u64 - lines, Relaxed);
        Ok(Offset(self.lines.load(Relaxed)))
    }
}

pub(crate) fn run(args: &AgentArgs, out: Out) -> anyhow::Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build()?;
    let figures = runtime.block_on(measure(args))?;
    print(out, &figures)
}

async fn measure(args: &AgentArgs) -> anyhow::Result<Figures> {
    let load_average_before = load_average();
    let mut world = World::start(args).await?;
    errln("tapio: the agent runs and has seen the cluster");
    let over = Arc::new(AtomicBool::new(false));
    let (failing, pace) = (Arc::clone(&over), FloodPace { calls: None, rate: Some(FAILURES) });
    let failures = thread::Builder::new().name("failures".into());
    let failures = failures.spawn(move || flood_full_device(1, pace, &failing))?;
    let measured = async {
        sleep(SETTLE).await;
        world.take_stock();
        let idle = world.begin();
        sleep(SETTLE).await;
        let idle_cpu_percent = idle.cpu_percent(&world);
        errln(format_args!("tapio: {} lines a second for {} s", args.rate, args.seconds));
        let at_rate = world.at_rate(args).await?;
        errln(format_args!("tapio: {} lines as fast as they go", args.hour_events));
        let hour =
            if args.hour_events > 0 { Some(world.rush(args.hour_events).await?) } else { None };
        sleep(SETTLE).await;
        let (at_rest, peak_resident_mib) = (world.memory(), world.peak_mib());
        let load_average_after = load_average();
        let end = world.agent.terminate(PATIENCE).await;
        let status = end.with_context(|| world.agent.stderr_tail())?;
        ensure!(status.success(), "the agent ended with {status}: {}", world.agent.stderr_tail());
        errln(world.agent.stderr_tail().trim_end());
        anyhow::Ok(Figures {
            load_average_before,
            idle_cpu_percent,
            at_rate,
            hour,
            at_rest,
            peak_resident_mib,
            load_average_after,
        })
    };
    let figures = measured.await;
    over.store(true, Relaxed);
    // Without such a device there are no failures, and the probes have less to tell.
    drop(failures.join());
    figures
}

/// The agent, what it watches and where its events go.
struct World {
    agent: NodeProcess,
    pid: u32,
    sink: Arc<CountingSink>,
    log: File,
    written: u64,
    cluster: Cluster,
    /// Held for as long as the agent lives.
    _server: DirectServer,
}

impl World {
    async fn start(args: &AgentArgs) -> anyhow::Result<Self> {
        let sink = Arc::<CountingSink>::default();
        let as_sink: Arc<dyn Sink> = Arc::<CountingSink>::clone(&sink);
        let any = "127.0.0.1:0".parse()?;
        let server = DirectServer::start(any, as_sink, ServeConfig::default()).await?;
        let cluster = Cluster::start(args.pods, args.nodes).await?;
        let mut agent = NodeProcess::prepare("bench-agent")?;
        let state = agent.state_dir();
        let log_path = state.join("shop.log");
        let log = File::options().create(true).append(true).open(&log_path)?;
        let config = json!({
            "node": "node-0", "cluster": "bench", "log_level": "warn",
            "output": { "mode": "direct", "direct": { "url": format!("http://{}", server.address()) } },
            "spool": { "path": state.join("spool") },
            "collectors": { "kernel": { "enabled": !args.no_probes },
                "host": { "files": [log_path] } },
        });
        let write = |name: &str, what: &serde_json::Value| -> anyhow::Result<PathBuf> {
            // JSON is YAML.
            let path = state.join(name);
            fs::write(&path, what.to_string())?;
            Ok(path)
        };
        let (config, kubeconfig) =
            (write("agent.yaml", &config)?, write("kubeconfig", &cluster.kubeconfig())?);
        let program = std::env::current_exe().context("finding this program")?;
        let args = ["agent".into(), "--config".into(), config.into()].to_vec();
        let env = vec![
            ("KUBECONFIG".to_owned(), kubeconfig.into()),
            ("_RJEM_MALLOC_CONF".to_owned(), ALLOCATOR.into()),
        ];
        agent.start(&NodeCommand { program, args, env }).await?;
        let pid = agent.pid().context("the agent's process")?;
        let mut world = Self { agent, pid, sink, log, written: 0, cluster, _server: server };
        world.wait_for_senses().await?;
        Ok(world)
    }

    /// Waits until the pods are watched, by both who want to know them, and the log is read.
    async fn wait_for_senses(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while self.cluster.watches() < 2 || self.sink.lines.load(Relaxed) == 0 {
            let tail = || self.agent.stderr_tail();
            ensure!(begin.elapsed() < START_MAX, "the agent is not ready: {}", tail());
            if self.sink.lines.load(Relaxed) == 0 {
                self.write(1)?;
            }
            sleep(Duration::from_millis(250)).await;
            ensure!(self.agent.is_running(), "the agent has ended: {}", self.agent.stderr_tail());
        }
        Ok(())
    }

    /// Forgets the lines that were written before the log was read: they are not told.
    fn take_stock(&mut self) {
        self.written = self.sink.lines.load(Relaxed);
    }

    fn write(&mut self, lines: u64) -> anyhow::Result<()> {
        let mut text = String::new();
        for number in self.written..self.written + lines {
            line(number, &mut text);
        }
        self.log.write_all(text.as_bytes()).context("writing the log")?;
        self.written += lines;
        Ok(())
    }

    async fn at_rate(&mut self, args: &AgentArgs) -> anyhow::Result<Stage> {
        self.arrived(0).await?;
        let begun = self.begin();
        let (first, rate) = (self.written, u64::from(args.rate));
        let lines = rate * u64::from(args.seconds);
        while self.written - first < lines {
            let due = (begun.at.elapsed() + WRITE_EVERY).as_millis();
            let due = u64::try_from(due)?.saturating_mul(rate) / 1_000;
            let next = due.min(lines).saturating_sub(self.written - first);
            self.write(next)?;
            park_until(Instant::now() + WRITE_EVERY);
        }
        // Nothing but the rate: who has not read a second later is measured as it is.
        self.arrived(rate).await?;
        let stage = begun.end(self);
        self.arrived(0).await?;
        Ok(stage)
    }

    async fn rush(&mut self, lines: u64) -> anyhow::Result<Stage> {
        let begun = self.begin();
        let mut left = lines;
        while left > 0 {
            let next = left.min(CHUNK);
            self.write(next)?;
            left -= next;
            self.arrived(BEHIND_MAX).await?;
        }
        self.arrived(0).await?;
        Ok(begun.end(self))
    }

    /// Waits until all lines but so many have come as events.
    async fn arrived(&mut self, but: u64) -> anyhow::Result<()> {
        let (mut known, mut since) = (0, Instant::now());
        loop {
            let lines = self.sink.lines.load(Relaxed);
            if lines.saturating_add(but) >= self.written {
                ensure!(lines <= self.written, "{} lines written, {lines} told", self.written);
                return Ok(());
            }
            if lines > known {
                (known, since) = (lines, Instant::now());
            }
            let is_stuck = since.elapsed() > PATIENCE || !self.agent.is_running();
            let tail = || self.agent.stderr_tail();
            ensure!(!is_stuck, "{lines} of {} lines came: {}", self.written, tail());
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn begin(&self) -> Begun {
        Begun {
            at: Instant::now(),
            cpu: seconds_of(self.pid),
            lines: self.sink.lines.load(Relaxed),
            others: self.sink.others.load(Relaxed),
        }
    }

    fn memory(&self) -> Memory {
        Memory {
            resident_mib: mib(resident(self.pid, "VmRSS:")),
            anonymous_mib: mib(resident(self.pid, "RssAnon:")),
            file_mib: mib(resident(self.pid, "RssFile:")),
            ring_mib: mib(mapped(self.pid, "bpf-map")),
        }
    }

    fn peak_mib(&self) -> f64 {
        mib(resident(self.pid, "VmHWM:"))
    }
}

/// When something began, and what the child had used by then.
struct Begun {
    at: Instant,
    cpu: f64,
    lines: u64,
    others: u64,
}

impl Begun {
    fn cpu_percent(&self, world: &World) -> f64 {
        let elapsed = self.at.elapsed().as_secs_f64().max(f64::EPSILON);
        rounded((seconds_of(world.pid) - self.cpu) / elapsed * 100.0)
    }

    fn end(&self, world: &World) -> Stage {
        let (cpu_percent, elapsed) = (self.cpu_percent(world), self.at.elapsed());
        let lines = world.sink.lines.load(Relaxed) - self.lines;
        let others = world.sink.others.load(Relaxed) - self.others;
        let events = u32::try_from((lines + others).max(1)).map_or(f64::from(u32::MAX), f64::from);
        let cpu = cpu_percent / 100.0 * elapsed.as_secs_f64();
        Stage {
            lines,
            others,
            events_per_second: per_second(lines + others, elapsed),
            cpu_percent,
            cpu_us_per_event: rounded(cpu * 1e6 / events),
            memory: world.memory(),
        }
    }
}

/// Returns the resident bytes of mappings whose name holds `name`.
///
/// # Source
/// proc(5), `/proc/PID/smaps`.
fn mapped(pid: u32, name: &str) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut is_it, mut kib) = (false, 0);
    for line in maps.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if !first.ends_with(':') {
            is_it = line.contains(name);
        } else if first == "Rss:" && is_it {
            let number = line.trim_start_matches("Rss:").trim().trim_end_matches(" kB");
            kib += number.parse::<u64>().unwrap_or_default();
        }
    }
    kib * 1_024
}

fn mib(bytes: u64) -> f64 {
    let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
    rounded(f64::from(kib) / 1_024.0)
}

/// Writes a line as a shop would: mostly access, now and then trouble, some of it secret.
fn line(number: u64, text: &mut String) {
    let (seconds, millis) = (number / 1_000, number % 1_000);
    let time = format!(
        "2026-11-01T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    let (user, took) = (number * 7_919 % 50_000, number * 31 % 900);
    let said = match number % 100 {
        0 => format!("ERROR payment for order {number} failed: card declined by issuer"),
        1..=4 => format!("WARN slow query took {took} ms rows={user} table=orders"),
        5..=9 => format!("INFO session of customer{user}@example.org renewed, attempt {took}"),
        10..=39 => format!("INFO cart.CartService - added item {user} to cart of user {took}"),
        40..=59 => format!(
            "INFO trace_id=4bf92f3577b34da6a3ce{number:012x} span_id=00f067aa{user:08x} checkout of {took} items"
        ),
        _ => format!("INFO 10.1.2.3 - GET /api/v1/products/{user} HTTP/1.1 200 {took} {took}ms"),
    };
    text.push_str(&time);
    text.push(' ');
    text.push_str(&said);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_lines_are_alike() {
        let mut text = String::new();
        (0..10_000).for_each(|number| line(number, &mut text));
        let lines: BTreeSet<_> = text.lines().collect();
        assert_eq!(lines.len(), 10_000);
    }

    #[test]
    fn what_is_not_mapped_takes_no_memory() {
        let pid = std::process::id();
        assert_eq!(mapped(pid, "no such mapping"), 0);
        assert!(mapped(pid, "[stack]") > 0);
        assert!(mapped(pid, "[stack]") < resident(pid, "VmRSS:"));
    }
}
