//! Runs every probe for some seconds and prints what was told, by kind, and what it cost: `watch [seconds]`.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use tapio_collect::{Account, Collector as _, Outlet, stop_signal};
use tapio_collect_kernel::{KernelCollector, KernelConfig};
use tapio_model::keys;
use tapio_telemetry::{SystemClock, spawn_named};
use tokio::{sync::mpsc, time::timeout};

fn main() -> io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(watch(Duration::from_secs(seconds)))
}

async fn watch(duration: Duration) -> io::Result<()> {
    let account = Arc::new(Account::default());
    let (sender, mut events) = mpsc::channel(4_096);
    let (stopper, stop) = stop_signal();
    let collector = Box::new(KernelCollector::new(KernelConfig::default(), Arc::new(SystemClock)));
    let mut report = collector.report();
    let outlet = Outlet::new(sender, Arc::clone(&account));
    let running = spawn_named("kernel", collector.run(outlet, stop));
    let mut out = io::stdout();
    if let Ok(report) = report.wait_for(Option::is_some).await
        && let Some(report) = report.as_ref()
    {
        writeln!(out, "{report}")?;
    }
    let mut kinds = BTreeMap::new();
    let gather = async {
        while let Some(event) = events.recv().await {
            let of = |key: &str| {
                event.attributes.iter().find(|(known, _)| known.as_str() == key).map(|(_, it)| it)
            };
            let message = of(keys::MESSAGE).map(ToString::to_string).unwrap_or_default();
            let entry = kinds.entry(event.kind.name()).or_insert((0_u64, message));
            entry.0 += 1;
        }
    };
    // Until the time is over: then the collector is told to stop.
    timeout(duration, gather).await.unwrap_or_default();
    stopper.stop();
    while events.recv().await.is_some() {}
    if let Ok(Err(error)) = running.await {
        writeln!(out, "{error}")?;
    }
    for (kind, (count, example)) in kinds {
        writeln!(out, "{count:>8} {kind}: {example}")?;
    }
    writeln!(out, "{:?}", account.snapshot())?;
    let status = fs::read_to_string("/proc/self/status")?;
    for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
    {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
