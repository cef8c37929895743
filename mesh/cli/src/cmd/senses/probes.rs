//! The sense inside the kernel, and which of its probes run.

use std::{fmt, sync::Arc};

use tapio_collect::{Addresses, Collector};
use tapio_collect_host::place_of_cgroup;
use tapio_collect_kernel::{KernelCollector, KernelConfig, ProbeReport};
use tapio_model::Clock;
use tapio_telemetry::spawn_named;

use crate::out::errln;

/// Makes a collector that says which probes run once it knows.
pub(super) fn collector(addresses: &Arc<Addresses>, clock: &Arc<dyn Clock>) -> Box<dyn Collector> {
    let config = KernelConfig {
        place_of_cgroup: Arc::new(place_of_cgroup),
        addresses: Arc::clone(addresses),
        ..KernelConfig::default()
    };
    let collector = KernelCollector::new(config, Arc::clone(clock));
    let mut report = collector.report();
    // Ends with the collector, which says itself why nothing runs.
    drop(spawn_named("probe-report", async move {
        if let Ok(Some(report)) = report.wait_for(Option::is_some).await.as_deref() {
            errln(format_args!("tapio: {}", Probes(report)));
        }
    }));
    Box::new(collector)
}

/// Which probes run, in a line.
struct Probes<'a>(&'a ProbeReport);

impl fmt::Display for Probes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |runs: bool| {
            let probes = self.0.probes.iter().filter(move |probe| probe.runs() == runs);
            probes.map(|probe| probe.slug).collect::<Vec<_>>().join(", ")
        };
        write!(f, "kernel tier {}; probes: {}", self.0.tier.tier, names(true))?;
        let refused = names(false);
        if refused.is_empty() { Ok(()) } else { write!(f, "; refused: {refused}") }
    }
}
