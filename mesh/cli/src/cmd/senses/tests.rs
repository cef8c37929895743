//! From the files of a kernel to what the baseline tells.

use std::{fs, time::Duration};

use tapio_baseline::{BaselineLimits, Watch};
use tapio_collect::{Binder, Home, Outlet, stop_signal};
use tapio_collect_host::{UsageCollector, UsageConfig};
use tapio_model::{Event, Place, Timestamp, Workload, keys};
use tapio_telemetry::spawn_named;
use tokio::{sync::mpsc, time::Instant};

use super::*;

const UID: &str = "6d1b2f3a-8c4e-4a5b-9d6e-7f8091a2b3c4";

/// Time as tokio has it, so that it can be let pass.
#[derive(Debug)]
struct Passing(Instant);

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).after(self.0.elapsed())
    }
}

/// Lets a pod use so many seconds of a processor in each minute, and returns the anomalies told.
async fn anomalies(minutes: &[u64]) -> Vec<Arc<Event>> {
    let root = tempfile::tempdir().unwrap();
    let group = root.path().join(format!("kubepods/pod{UID}"));
    fs::create_dir_all(&group).unwrap();
    fs::write(root.path().join("cgroup.controllers"), "").unwrap();
    fs::write(group.join("cpu.max"), "100000 100000\n").unwrap();
    let uses = |seconds: u64| {
        let text = format!("usage_usec {}\n", seconds * 1_000_000);
        fs::write(group.join("cpu.stat"), text).unwrap();
    };
    uses(0);
    let binder = Binder::new(Home { cluster: None, node: Some("n1".into()) });
    binder.learn(&Place {
        namespace: Some("shop".into()),
        workload: Some(Workload { kind: "Deployment".into(), name: "web".into() }),
        pod: Some("web-1".into()),
        pod_uid: Some(UID.into()),
        ..Place::default()
    });
    let clock: Arc<dyn Clock> = Arc::new(Passing(Instant::now()));
    let config = UsageConfig {
        cgroup_root: root.path().into(),
        proc_root: "/nowhere".into(),
        ..UsageConfig::default()
    };
    let (events, mut seen) = mpsc::channel(1);
    let (stopper, stop) = stop_signal();
    let collector = Box::new(UsageCollector::new(config, Arc::clone(&clock)));
    let run = spawn_named("usage", collector.run(Outlet::new(events, Arc::default()), stop));
    let (mut watch, mut told, mut used) = (Watch::new(BaselineLimits::default()), Vec::new(), 0);
    for seconds in minutes {
        used += seconds;
        uses(used);
        let sample = Arc::new(binder.bind(seen.recv().await.unwrap()));
        watch.observe(&sample, clock.now());
        told.extend(watch.advance(clock.now().after(Duration::from_secs(59))));
    }
    stopper.stop();
    run.await.unwrap().unwrap();
    told
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_uses_up_its_processor_is_told_and_one_that_goes_on_is_not() {
    let steady: Vec<u64> = (0..40).map(|minute| 6 + minute % 3).collect();
    assert_eq!(anomalies(&steady).await, []);
    let runaway: Vec<u64> = steady.iter().copied().chain([57; 4]).collect();
    let told = anomalies(&runaway).await;
    let anomaly = told.iter().find(|event| {
        let is_up = event.attributes.text(keys::ANOMALY_CHANGE) == Some("rose");
        event.attributes.text(keys::ANOMALY_SIGNAL) == Some("cpu") && is_up
    });
    let anomaly = anomaly.unwrap();
    assert_eq!(anomaly.place.workload.as_ref().unwrap().name.as_str(), "web");
    assert_eq!(anomaly.place.node.as_deref(), Some("n1"));
}
