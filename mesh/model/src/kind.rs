//! What happened: the closed list of event kinds.

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// What happened.
        ///
        /// A kind added here fails to compile in `tapio-wire` until it has a number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Kind {
            /// Every kind, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name people and queries use.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

kinds! {
    // Memory.
    /// The kernel killed a process for want of memory: the line with constraint, cgroup and victim.
    OomKill = "oom_kill",
    /// A cgroup's `oom_kill` counter rose.
    OomKillCounted = "oom_kill_counted",
    /// A cgroup reached its memory limit (`failcnt`, `memory.events: max`) and nobody died yet.
    MemoryLimitReached = "memory_limit_reached",
    // Processes and CPU.
    /// A process ended; attributes carry exit code or signal.
    ProcessExit = "process_exit",
    /// A cgroup was throttled at its CPU quota.
    CpuThrottled = "cpu_throttled",
    /// Tasks stalled on CPU, memory or I/O (PSI).
    Pressure = "pressure",
    /// A task hung in the kernel, or the kernel complained of a lock-up.
    TaskHung = "task_hung",
    // Storage.
    /// The block layer reported an I/O error.
    IoError = "io_error",
    /// A filesystem reported an error of its own.
    FilesystemError = "filesystem_error",
    /// A filesystem was remounted read-only, or a write was refused with EROFS.
    FilesystemReadOnly = "filesystem_read_only",
    /// A write was refused with ENOSPC.
    StorageFull = "storage_full",
    // Network.
    /// A connection attempt was refused: the peer answered with RST.
    ConnectRefused = "connect_refused",
    /// A connection attempt got no answer in time.
    ConnectTimeout = "connect_timeout",
    /// The kernel sent a SYN again: nothing answered the first.
    SynRetransmit = "syn_retransmit",
    /// An established connection was reset.
    TcpReset = "tcp_reset",
    /// A name could not be resolved: NXDOMAIN, SERVFAIL or timeout in the attributes.
    DnsFailure = "dns_failure",
    /// The connection tracking table is full and packets are dropped.
    ConntrackFull = "conntrack_full",
    // Kubernetes: containers and pods.
    /// A container waits; the reason says for what (`CrashLoopBackOff`, `ImagePullBackOff`, ...).
    ContainerWaiting = "container_waiting",
    /// A container started.
    ContainerStarted = "container_started",
    /// A container ended; attributes carry reason and exit code.
    ContainerTerminated = "container_terminated",
    /// The kubelet decided to kill a container, and said why.
    ContainerKilling = "container_killing",
    /// The runtime could not create or start a container.
    ContainerCreateFailed = "container_create_failed",
    /// An image could not be pulled.
    ImagePullFailed = "image_pull_failed",
    /// A volume could not be mounted.
    MountFailed = "mount_failed",
    /// A liveness, readiness or startup probe failed.
    ProbeFailed = "probe_failed",
    /// A pod's readiness changed.
    PodReadiness = "pod_readiness",
    /// A pod was scheduled to a node.
    PodScheduled = "pod_scheduled",
    /// A pod was evicted.
    PodEvicted = "pod_evicted",
    // Kubernetes: everything else.
    /// A workload got a new generation or a new ReplicaSet.
    RolloutStarted = "rollout_started",
    /// A workload's rollout stopped making progress.
    RolloutStalled = "rollout_stalled",
    /// The ready endpoints of a service changed.
    EndpointsChanged = "endpoints_changed",
    /// A ConfigMap or Secret changed, appeared or went.
    ConfigChanged = "config_changed",
    /// A node condition changed.
    NodeCondition = "node_condition",
    /// The kubelet reported an out-of-memory on its node.
    NodeOom = "node_oom",
    /// Any other Kubernetes Event.
    ObjectEvent = "object_event",
    // systemd.
    /// A systemd unit failed.
    UnitFailed = "unit_failed",
    // Applications.
    /// A log line.
    Log = "log",
    /// A log record with a stack trace or a named exception.
    Exception = "exception",
    /// A finished span.
    Span = "span",
    /// A sample of one or more metrics.
    Metric = "metric",
    // Added later: the order of the list is the order of the numbers.
    /// A process began to run a program.
    ProcessStarted = "process_started",
    /// A process was sent a signal that ends it; attributes carry the sender.
    ProcessSignalled = "process_signalled",
    /// A limit other than memory or storage was reached: open files, processes, ports; the resource in
    /// the attributes.
    LimitReached = "limit_reached",
    /// A system call was refused with EACCES or EPERM.
    AccessDenied = "access_denied",
    /// Tasks of a cgroup waited long for a processor.
    CpuDelayed = "cpu_delayed",
    /// A task stalled while the kernel reclaimed memory for it.
    MemoryStalled = "memory_stalled",
    /// A block device took long over a request.
    IoSlow = "io_slow",
    /// The kernel sent data of an established connection again.
    TcpRetransmit = "tcp_retransmit",
    /// A connection was made, and took long.
    ConnectSlow = "connect_slow",
    /// The machine reported a fault of its own (MCE, EDAC, ECC).
    HardwareError = "hardware_error",
    /// A Job failed for good, or its deadline passed.
    JobFailed = "job_failed",
    /// A volume claim found no volume, or its volume could not be attached.
    VolumeUnbound = "volume_unbound",
    /// An autoscaler is at its limit, or cannot see what it scales by.
    ScalingLimited = "scaling_limited",
    /// A rule of who may do what changed: `NetworkPolicy`, Role, binding, webhook, quota.
    PolicyChanged = "policy_changed",
    /// A Service's selector or ports changed.
    ServiceChanged = "service_changed",
    /// A systemd unit started, stopped or was restarted; what in the attributes.
    UnitChanged = "unit_changed",
    /// Telemetry of a service is unlike what was learnt of it: which signal, how it changed and how
    /// sure that is in the attributes.
    Anomaly = "anomaly",
}

impl Kind {
    /// Reads a kind's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Says whether the kind is the everyday hum of a system: it takes a severity of warning or
    /// more to be a sign of anything.
    #[must_use]
    pub const fn is_ambient(self) -> bool {
        matches!(
            self,
            Self::Log
                | Self::Span
                | Self::Metric
                | Self::ProcessExit
                | Self::ProcessStarted
                | Self::ProcessSignalled
                | Self::UnitChanged
        )
    }

    /// Says whether somebody changed something: what breaks minutes later may be its doing.
    #[must_use]
    pub const fn is_change(self) -> bool {
        matches!(
            self,
            Self::RolloutStarted | Self::ConfigChanged | Self::PolicyChanged | Self::ServiceChanged
        )
    }

    /// Returns the kind's bit in a set of kinds.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

// A set of kinds is a `u64`; the sixty-fifth kind needs a wider one.
const _: () = assert!(Kind::ALL.len() <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
        }
        assert_eq!(Kind::from_name("earthquake"), None);
    }
}
