//! The collector: a thread that empties the ring buffer for as long as it is let.

use std::{fs, sync::Arc, time::Duration};

use async_trait::async_trait;
use tapio_collect::{Collector, CollectorError, DropReason, Outlet, Stop, Unbound};
use tapio_ebpf_abi::{Body, DnsQuery, Probe, Record};
use tapio_model::Clock;
use tokio::{sync::watch, task::spawn_blocking};
use tracing::{info, warn};

use crate::{
    config::KernelConfig,
    fold::{Fold, Folds},
    identity::{Identity, Roots},
    loader::{LoadError, Loaded, load},
    probes::{Context, PATIENCE, record_id, translate, translate_unanswered},
    report::ProbeReport,
    ring::{Counts, Ring},
    senses::Senses,
    tier::probe_tier,
    time::{KernelNanos, WallTime, rest},
};

/// Records that are turned into events before these are passed on.
const BATCH_RECORDS_MAX: usize = 1_024;

/// The shortest and the longest pause between two looks. The shortest takes a flood of 870,000 records
/// a second with a ring of 256 KiB; the longest, after idle looks only, needs 2 MiB for its first burst.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(16);

/// So many records in one look are a crowd: the next look comes soon.
const CROWD: usize = 128;

/// How often counters and unanswered questions are looked at.
const ROUND: Duration = Duration::from_secs(1);

/// Watches the kernel through probes.
#[derive(Debug)]
pub struct KernelCollector {
    config: KernelConfig,
    clock: Arc<dyn Clock>,
    report: watch::Sender<Option<Arc<ProbeReport>>>,
}

impl KernelCollector {
    /// Makes a collector; nothing is loaded before it runs.
    #[must_use]
    pub fn new(config: KernelConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config, clock, report: watch::Sender::new(None) }
    }

    /// Returns where the collector says which probes run, once it knows.
    #[must_use]
    pub fn report(&self) -> watch::Receiver<Option<Arc<ProbeReport>>> {
        self.report.subscribe()
    }
}

#[async_trait]
impl Collector for KernelCollector {
    fn name(&self) -> &'static str {
        "kernel"
    }

    async fn run(self: Box<Self>, outlet: Outlet, stop: Stop) -> Result<(), CollectorError> {
        // Loading takes a second of verifying, and looking up names reads files: both block.
        let read = spawn_blocking(move || Reading::begin(*self)?.run(&outlet, &stop));
        read.await.unwrap_or_else(|died| {
            Err(CollectorError::Broken { source_name: SOURCE.into(), why: died.to_string() })
        })
    }
}

/// Loads the probes, says which run, and lets them go again: for `tapio check`.
///
/// # Errors
/// [`LoadError`] if none would run.
pub fn try_probes(config: &KernelConfig) -> Result<ProbeReport, LoadError> {
    load(config, probe_tier(), |_settings| {}).map(|loaded| loaded.report)
}

const SOURCE: &str = "kernel probes";

impl From<LoadError> for CollectorError {
    fn from(error: LoadError) -> Self {
        if let LoadError::Blind { reason, cure } = error {
            return Self::Absent { source_name: SOURCE.into(), why: reason, cure };
        }
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            why = format!("{why}: {inner}");
            cause = inner.source();
        }
        let cure = "see which program the kernel refused with tapio check".into();
        Self::Absent { source_name: SOURCE.into(), why, cure }
    }
}

/// The reader's state.
struct Reading {
    loaded: Option<Loaded>,
    ring: Ring,
    senses: Senses,
    folds: Folds,
    wall: WallTime,
    clock: Arc<dyn Clock>,
    boot_id: Vec<u8>,
    sees_connections: bool,
    probes: Vec<(Probe, Counts)>,
    round: KernelNanos,
}

/// What one look brought.
#[derive(Default)]
struct Harvest {
    events: Vec<Unbound>,
    /// Records that the events stand for.
    emitted: u64,
    malformed: u64,
    ignored: u64,
}

impl Reading {
    fn begin(collector: KernelCollector) -> Result<Self, CollectorError> {
        let KernelCollector { config, clock, report } = collector;
        let mut loaded = load(&config, probe_tier(), |_settings| {})?;
        let ring = Ring::take(&mut loaded.ebpf)?;
        for probe in loaded.report.probes.iter().filter(|probe| !probe.is_whole()) {
            warn!(probe = probe.slug, refused = ?probe.refused, "a probe does not run as it should");
        }
        info!(tier = %loaded.report.tier.tier, "the kernel's probes run");
        let boot_id = fs::read_to_string(&config.boot_id_path).unwrap_or_default();
        let identity = Identity::new(&Roots::default(), config.place_of_cgroup);
        let reading = Self {
            ring,
            senses: Senses::new(identity, config.addresses),
            folds: Folds::default(),
            wall: WallTime::read(clock.as_ref()),
            clock,
            boot_id: boot_id.trim().as_bytes().to_vec(),
            sees_connections: loaded.report.runs(Probe::TcpState.slug()),
            probes: config.probes.iter().map(|probe| (*probe, Counts::default())).collect(),
            round: KernelNanos::now(),
            loaded: Some(loaded),
        };
        let said = reading.loaded.as_ref().map(|loaded| Arc::new(loaded.report.clone()));
        report.send_replace(said);
        Ok(reading)
    }

    fn run(mut self, outlet: &Outlet, stop: &Stop) -> Result<(), CollectorError> {
        let mut pause = PAUSE_MIN;
        while !stop.is_stopped() {
            let taken = self.look(outlet)?;
            if KernelNanos::now().since(self.round) >= ROUND {
                self.round(outlet)?;
            }
            if taken == BATCH_RECORDS_MAX {
                continue;
            }
            pause = if taken >= CROWD { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            rest(pause);
        }
        // The probes go first: what they wrote until then is read to the end.
        drop(self.loaded.take());
        while self.look(outlet)? > 0 {}
        self.round(outlet)
    }

    /// Takes what is in the ring buffer, and passes it on.
    fn look(&mut self, outlet: &Outlet) -> Result<usize, CollectorError> {
        self.wall.follow(self.clock.as_ref());
        let mut harvest = Harvest::default();
        let Self { ring, senses, folds, wall, boot_id, sees_connections, .. } = self;
        let taken = ring.drain(BATCH_RECORDS_MAX, |bytes| {
            let Ok(record) = Record::read(bytes) else {
                harvest.malformed += 1;
                return;
            };
            let id = || record_id(boot_id, bytes);
            if let Body::SyscallFailed(failed) = record.body {
                folds.add(record.header, failed, id);
                return;
            }
            let context = Context {
                id: id(),
                time: wall.of(KernelNanos(record.header.time_ns)),
                sees_connections: *sees_connections,
                lookup: senses,
            };
            harvest.take(translate(&record, context), 1);
        });
        for Fold { id, header, failed, records } in folds.take(taken >= CROWD, KernelNanos::now()) {
            let context = Context {
                id,
                time: wall.of(KernelNanos(header.time_ns)),
                sees_connections: *sees_connections,
                lookup: senses,
            };
            let record = Record { header: &header, body: Body::SyscallFailed(&failed) };
            harvest.take(translate(&record, context), records);
        }
        harvest.pass_on(outlet)?;
        Ok(taken)
    }

    /// Does what is done once a second: books what never reached the ring buffer, and tells of
    /// questions that nobody answered.
    fn round(&mut self, outlet: &Outlet) -> Result<(), CollectorError> {
        let now = KernelNanos::now();
        self.round = now;
        for (probe, known) in &mut self.probes {
            let Ok(counts) = self.ring.counts(*probe) else { continue };
            let refused = counts.refused.saturating_sub(known.refused);
            let sampled = counts.sampled.saturating_sub(known.sampled);
            if refused > 0 {
                warn!(probe = probe.slug(), refused, "the ring buffer was full");
            }
            outlet.account().read(refused + sampled);
            outlet.account().dropped(DropReason::Overrun, refused);
            outlet.account().dropped(DropReason::Full, sampled);
            *known = counts;
        }
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        let mut harvest = Harvest::default();
        for bytes in self.ring.unanswered(KernelNanos(now.0.saturating_sub(patience))) {
            let query = DnsQuery::read(&bytes);
            let context = Context {
                id: record_id(&self.boot_id, &bytes),
                time: self.wall.of(KernelNanos(query.header.time_ns)),
                sees_connections: self.sees_connections,
                lookup: &mut self.senses,
            };
            harvest.take(Some(translate_unanswered(&query, context)), 1);
        }
        harvest.pass_on(outlet)
    }
}

impl Harvest {
    /// Keeps what some records became.
    fn take(&mut self, event: Option<Unbound>, records: u64) {
        match event {
            Some(event) => {
                self.events.push(event);
                self.emitted += records;
            }
            None => self.ignored += records,
        }
    }

    /// Passes the events on, then enters the figures into the account.
    fn pass_on(self, outlet: &Outlet) -> Result<(), CollectorError> {
        let account = outlet.account();
        account.read(self.emitted + self.malformed + self.ignored);
        for event in self.events {
            outlet.emit_blocking(event)?;
        }
        account.emitted(self.emitted);
        account.dropped(DropReason::Malformed, self.malformed);
        account.dropped(DropReason::Ignored, self.ignored);
        Ok(())
    }
}
