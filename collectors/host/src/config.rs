//! The list of a host's collectors.

use std::sync::Arc;

use tapio_collect::Collector;
use tapio_model::Clock;

use crate::{
    CgroupCollector, CgroupConfig, FilesCollector, FilesConfig, JournalCollector, JournalConfig,
    KmsgCollector, KmsgConfig, UsageCollector, UsageConfig,
};

/// Which senses a host has; `None` switches one off.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The kernel log.
    pub kmsg: Option<KmsgConfig>,
    /// The counters of control groups.
    pub cgroup: Option<CgroupConfig>,
    /// Samples of what is used.
    pub usage: Option<UsageConfig>,
    /// The systemd journal.
    pub journal: Option<JournalConfig>,
    /// Log files; off unless paths are given.
    pub log_files: Option<FilesConfig>,
    /// The logs of pods ([`FilesConfig::pod_logs`]); off unless asked for.
    pub pod_logs: Option<FilesConfig>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            kmsg: Some(KmsgConfig::default()),
            cgroup: Some(CgroupConfig::default()),
            usage: Some(UsageConfig::default()),
            journal: Some(JournalConfig::default()),
            log_files: None,
            pod_logs: None,
        }
    }
}

/// Makes the collectors that `config` asks for.
///
/// The journal leaves the kernel's messages to the kernel log's collector when both run: it sees
/// them earlier, and twice told is once too often.
#[must_use]
pub fn host_collectors(config: HostConfig, clock: &Arc<dyn Clock>) -> Vec<Box<dyn Collector>> {
    let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
    let has_kmsg = config.kmsg.is_some();
    if let Some(kmsg) = config.kmsg {
        collectors.push(Box::new(KmsgCollector::new(kmsg, Arc::clone(clock))));
    }
    if let Some(cgroup) = config.cgroup {
        collectors.push(Box::new(CgroupCollector::new(cgroup, Arc::clone(clock))));
    }
    if let Some(usage) = config.usage {
        collectors.push(Box::new(UsageCollector::new(usage, Arc::clone(clock))));
    }
    if let Some(mut journal) = config.journal {
        journal.skip_kernel |= has_kmsg;
        collectors.push(Box::new(JournalCollector::new(journal)));
    }
    if let Some(log_files) = config.log_files {
        collectors.push(Box::new(FilesCollector::new(log_files, Arc::clone(clock))));
    }
    if let Some(pod_logs) = config.pod_logs {
        collectors.push(Box::new(FilesCollector::of_pods(pod_logs, Arc::clone(clock))));
    }
    collectors
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tapio_telemetry::SystemClock;

    use super::*;

    #[test]
    fn each_sense_can_be_switched_off() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let names = |config: HostConfig| -> Vec<&'static str> {
            host_collectors(config, &clock).iter().map(|collector| collector.name()).collect()
        };
        assert_eq!(names(HostConfig::default()), ["kmsg", "cgroup", "usage", "journal"]);
        let files = HostConfig {
            kmsg: None,
            cgroup: None,
            usage: None,
            journal: None,
            log_files: Some(FilesConfig::default()),
            pod_logs: Some(FilesConfig::pod_logs(Path::new("/var/log/pods"))),
        };
        assert_eq!(names(files), ["files", "pod_logs"]);
    }
}
