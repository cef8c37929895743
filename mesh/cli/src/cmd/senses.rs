//! The collectors of `tapio up`, and what became of each.

mod cluster;
mod probes;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tapio_collect::{
    Account, Addresses, Binder, Collector, CollectorError, DropReason, Outlet, Pump, Stop,
};
use tapio_collect_host::{
    CgroupConfig, FilesConfig, HostConfig, JournalConfig, KmsgConfig, UsageConfig, host_collectors,
};
use tapio_collect_otlp::{OtlpCollector, OtlpConfig};
use tapio_model::Clock;
use tapio_node::StatusSource;
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::task::JoinHandle;

use super::{agent::POD_LOGS, up::SenseArgs};
use crate::out::errln;

/// What is known of one collector.
#[derive(Debug)]
struct Sense {
    account: Arc<Account>,
    /// `running`, or why not.
    state: Mutex<String>,
}

/// The running collectors.
#[derive(Debug)]
pub(crate) struct Senses {
    known: Arc<BTreeMap<&'static str, Sense>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Senses {
    /// Starts every collector that was asked for. One whose source is not here says so and is gone;
    /// the others run.
    pub(crate) async fn start(
        args: &SenseArgs,
        binder: &Arc<Binder>,
        pump: &Pump,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let addresses: Arc<Addresses> = Arc::default();
        let mut collectors = host_collectors(host_config(args), &clock);
        if !args.no_probes {
            collectors.push(probes::collector(&addresses, &clock));
        }
        let mut absent = Vec::new();
        if !args.no_kubernetes {
            match cluster::collector(args, binder, &addresses, &clock) {
                Ok(collector) => collectors.push(collector),
                Err(error) => absent.push(("kubernetes", error)),
            }
        }
        if !args.no_otlp {
            match otlp(args).await {
                Ok(collector) => collectors.push(Box::new(collector)),
                Err(error) => absent.push(("otlp", error)),
            }
        }
        let sense = || Sense { account: Arc::default(), state: Mutex::new("running".into()) };
        let names =
            collectors.iter().map(|it| it.name()).chain(absent.iter().map(|(name, _)| *name));
        let known: BTreeMap<_, _> = names.map(|name| (name, sense())).collect();
        let known = Arc::new(known);
        for (name, error) in absent {
            ended(&known, name, Err(error));
        }
        let tasks = collectors
            .into_iter()
            .filter_map(|collector| {
                let account = Arc::clone(&known.get(collector.name())?.account);
                let outlet = pump.outlet(account);
                Some(spawn(collector, outlet, stop.clone(), Arc::clone(&known)))
            })
            .collect();
        Ok(Self { known, tasks })
    }

    /// Returns what the status page says of the collectors.
    pub(crate) fn status(&self, pump: &Pump) -> StatusSource {
        let (known, meter) = (Arc::clone(&self.known), pump.meter());
        Arc::new(move || {
            let senses = known.iter().map(|(name, sense)| ((*name).to_owned(), describe(sense)));
            let senses: serde_json::Map<String, Value> = senses.collect();
            let pumped = meter();
            let [normal, high, critical] = pumped.shed_events;
            let pump = json!({
                "received": pumped.received_events,
                "published": pumped.published_events,
                "shed": { "normal": normal, "high": high, "critical": critical },
                "refused": pumped.refused_events,
                "closed": pumped.closed_events,
            });
            json!({ "senses": senses, "pump": pump })
        })
    }

    /// Waits until every collector has ended.
    pub(crate) async fn stopped(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a collector died");
            }
        }
    }
}

fn spawn(
    collector: Box<dyn Collector>,
    outlet: Outlet,
    stop: Stop,
    known: Arc<BTreeMap<&'static str, Sense>>,
) -> JoinHandle<()> {
    let name = collector.name();
    spawn_named(name, async move {
        let result = collector.run(outlet, stop).await;
        ended(&known, name, result);
    })
}

fn ended(
    known: &BTreeMap<&'static str, Sense>,
    name: &'static str,
    result: Result<(), CollectorError>,
) {
    let state = match result {
        Ok(()) => "stopped".to_owned(),
        Err(error) => {
            errln(format_args!("tapio: {name}: {error}"));
            error.to_string()
        }
    };
    if let Some(sense) = known.get(name) {
        *sense.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

fn describe(sense: &Sense) -> Value {
    let figures = sense.account.snapshot();
    let reasons = DropReason::ALL.map(|reason| (reason.name(), figures.dropped(reason)));
    let dropped: BTreeMap<_, _> = reasons.into_iter().filter(|(_, count)| *count > 0).collect();
    json!({
        "state": *sense.state.lock().unwrap_or_else(PoisonError::into_inner),
        "read": figures.read,
        "emitted": figures.emitted,
        "dropped": dropped,
    })
}

fn host_config(args: &SenseArgs) -> HostConfig {
    let from_start = args.from_start;
    HostConfig {
        kmsg: (!args.no_kmsg).then(|| KmsgConfig { from_start, ..KmsgConfig::default() }),
        cgroup: (!args.no_cgroup).then(CgroupConfig::default),
        usage: (!args.no_usage).then(UsageConfig::default),
        journal: (!args.no_journal)
            .then(|| JournalConfig { from_start, ..JournalConfig::default() }),
        log_files: (!args.logs.is_empty()).then(|| FilesConfig {
            paths: args.logs.clone(),
            from_start,
            ..FilesConfig::default()
        }),
        // Where no kubelet runs there are none, which is no fault.
        pod_logs: (!args.no_pod_logs && Path::new(POD_LOGS).is_dir())
            .then(|| FilesConfig { from_start, ..FilesConfig::pod_logs(Path::new(POD_LOGS)) }),
    }
}

async fn otlp(args: &SenseArgs) -> Result<OtlpCollector, CollectorError> {
    let config = OtlpConfig { grpc: args.otlp_grpc, http: args.otlp_http, ..OtlpConfig::default() };
    let (collector, bound) = OtlpCollector::bind(config, Box::new(SystemClock)).await?;
    errln(format_args!("tapio: otlp grpc on {}", bound.grpc));
    errln(format_args!("tapio: otlp http on {}", bound.http));
    Ok(collector)
}
