//! The wording of trouble: messages of the kernel, the kubelet, container runtimes and etcd.
//!
//! One table: what stands in the text, what it means, and what can be read out of it. Kernel
//! entries are believed of the kernel alone; a process may write anything.
//!
//! # Source
//! Linux 6.x: `fs/ext4/super.c`, `fs/xfs/xfs_message.c`, `fs/btrfs/messages.c`, `fs/buffer.c`,
//! `block/blk-core.c`, `drivers/nvme/host`, `kernel/hung_task.c`, `kernel/watchdog.c`,
//! `kernel/rcu/tree_stall.h`, `kernel/cgroup/pids.c`, `net/netfilter/nf_conntrack_core.c`,
//! `net/core/neighbour.c`, `fs/file_table.c`, `drivers/edac/edac_mc.c`, `drivers/acpi/apei/ghes.c`,
//! `mm/memory-failure.c`, `drivers/pci/pcie/aer.c`, `drivers/net/ethernet`, `drivers/net/phy/phy.c`,
//! `drivers/net/bonding/bond_main.c`; node-problem-detector `config/kernel-monitor.json`.
//! Kubernetes 1.20 to 1.34: `pkg/kubelet/pleg/generic.go`, `pkg/kubelet/kubelet.go`,
//! `pkg/kubelet/eviction/eviction_manager.go`, `pkg/kubelet/images/image_gc_manager.go`; containerd
//! `internal/cri/instrument`; etcd `server/etcdserver/errors.go`;
//! mongod `src/mongo/db/repl/topology_coordinator.cpp`; Go `crypto/x509/verify.go`; OpenSSL
//! `crypto/x509/x509_txt.c`; chrony `sys_generic.c`, `reference.c`; systemd `src/timesync`.
//! "No space left on device" and "Read-only file system", which every stack writes, are among the
//! phrases of a log line.

use tapio_collect::Unbound;
use tapio_model::{Class, Kind, Place, Severity, Text, keys};

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The kernel.
    Kernel,
    /// A process that thinks it is trouble, or does not say.
    Process,
    /// A process that is calm.
    CalmProcess,
}

/// What a message means.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    writer: Writer,
    /// All of these stand in the text, in this order.
    texts: &'static [&'static str],
    pub(crate) kind: Kind,
    pub(crate) class: Class,
    pub(crate) severity: Severity,
    pub(crate) impact: f32,
    /// What the text means, in attributes.
    says: &'static [(&'static str, &'static str)],
    reads: &'static [Capture],
}

/// Text that becomes an attribute.
#[derive(Debug, PartialEq)]
enum Capture {
    /// What stands after the last of some texts, which follow each other, up to the first of some
    /// characters.
    After(&'static str, &'static [&'static str], &'static [char]),
    /// The word before a text, without its colon.
    Before(&'static str, &'static str),
}

const fn read(
    key: &'static str,
    after: &'static [&'static str],
    until: &'static [char],
) -> Capture {
    Capture::After(key, after, until)
}

/// A device in the places that filesystems and the block layer put it.
const DEVICE: &[Capture] = &[
    read(keys::DEVICE, &[" dev "], &[',', ' ']),
    read(keys::DEVICE, &[" on device "], &[',', ' ', ':']),
    read(keys::DEVICE, &["(device "], &[')', ' ', ':']),
    read(keys::DEVICE, &[" ("], &[')', ' ', ':']),
];
const NVME: &[Capture] = &[read(keys::DEVICE, &["nvme "], &[':', ' '])];
/// `… task name:pid blocked` and `… [name:pid]`.
const TASK: &[Capture] =
    &[read(keys::PROCESS_NAME, &["task "], &['\n']), read(keys::PROCESS_NAME, &["s! ["], &[']'])];
const POD: &[Capture] = &[
    read(keys::OBJECT_NAMESPACE, &["pod=\""], &['/', '"']),
    read(keys::OBJECT_NAME, &["pod=\"", "/"], &['"']),
    read(keys::OBJECT_NAMESPACE, &["PodSandboxMetadata{Name:", "Namespace:"], &[',', '}']),
    read(keys::OBJECT_NAME, &["PodSandboxMetadata{Name:"], &[',', '}']),
    read(keys::OBJECT_UID, &["podUID=\""], &['"']),
    read(keys::OBJECT_UID, &["PodSandboxMetadata{Name:", "Uid:"], &[',', '}']),
];
const IMAGE: &[Capture] = &[
    read(keys::IMAGE, &["PullImage \\\""], &['\\', '"']),
    read(keys::IMAGE, &["PullImage \""], &['"']),
    read(keys::IMAGE, &["image=\""], &['"']),
];
const NIC: &[Capture] = &[
    read(keys::DEVICE, &["(slave "], &[')']),
    Capture::Before(keys::DEVICE, " NIC Link"),
    Capture::Before(keys::DEVICE, " Link"),
];

/// A rating: severity and impact.
type Rating = (Severity, f32);
const FATAL: Rating = (Severity::Fatal, 0.9);
const GRAVE: Rating = (Severity::Error, 0.85);
const BAD: Rating = (Severity::Error, 0.75);
const POOR: Rating = (Severity::Error, 0.6);
const ODD: Rating = (Severity::Warn, 0.4);

const fn entry(
    writer: Writer,
    texts: &'static [&'static str],
    kind: Kind,
    class: Class,
    (severity, impact): Rating,
) -> Entry {
    Entry { writer, texts, kind, class, severity, impact, says: &[], reads: &[] }
}

const fn kernel(texts: &'static [&'static str], kind: Kind, class: Class, rating: Rating) -> Entry {
    entry(Writer::Kernel, texts, kind, class, rating)
}

const fn process(
    texts: &'static [&'static str],
    kind: Kind,
    class: Class,
    rating: Rating,
) -> Entry {
    entry(Writer::Process, texts, kind, class, rating)
}

const fn calm(texts: &'static [&'static str], kind: Kind, class: Class, rating: Rating) -> Entry {
    entry(Writer::CalmProcess, texts, kind, class, rating)
}

impl Entry {
    const fn says(self, says: &'static [(&'static str, &'static str)]) -> Self {
        Self { says, ..self }
    }

    const fn reads(self, reads: &'static [Capture]) -> Self {
        Self { reads, ..self }
    }
}

/// The kernel's own; the first that fits counts.
const KERNEL: &[Entry] = {
    use Class::{Cpu, Lifecycle, Network, Other, Storage};
    use Kind::{
        ConntrackFull, FilesystemError, FilesystemReadOnly, HardwareError, IoError, LimitReached,
        Log, TaskHung,
    };
    &[
        kernel(&["Remounting filesystem read-only"], FilesystemReadOnly, Storage, GRAVE)
            .reads(DEVICE),
        kernel(&["BTRFS", "forced readonly"], FilesystemReadOnly, Storage, GRAVE).reads(DEVICE),
        kernel(&["EXT4-fs error"], FilesystemError, Storage, BAD).reads(DEVICE),
        kernel(&["EXT4-fs", "critical error"], FilesystemError, Storage, BAD).reads(DEVICE),
        kernel(&["XFS (", "Internal error"], FilesystemError, Storage, BAD).reads(DEVICE),
        kernel(&["XFS (", "orruption"], FilesystemError, Storage, BAD).reads(DEVICE),
        kernel(&["XFS (", "shut"], FilesystemError, Storage, GRAVE).reads(DEVICE),
        kernel(&["BTRFS error"], FilesystemError, Storage, BAD).reads(DEVICE),
        kernel(&["BTRFS critical"], FilesystemError, Storage, BAD).reads(DEVICE),
        kernel(&["Buffer I/O error on dev"], IoError, Storage, BAD).reads(DEVICE),
        kernel(&["I/O error, dev "], IoError, Storage, BAD).reads(DEVICE),
        kernel(&["nvme ", "timeout, aborting"], IoError, Storage, BAD).reads(NVME),
        kernel(&["nvme ", "timeout, reset controller"], IoError, Storage, BAD).reads(NVME),
        kernel(&["nvme ", "controller is down; will reset"], IoError, Storage, GRAVE).reads(NVME),
        kernel(&["nf_conntrack", "table full, dropping packet"], ConntrackFull, Network, GRAVE),
        kernel(&["blocked for more than", "seconds"], TaskHung, Other, BAD).reads(TASK),
        kernel(&["soft lockup", "stuck for"], TaskHung, Cpu, GRAVE).reads(TASK),
        kernel(&["hard LOCKUP"], TaskHung, Cpu, FATAL),
        kernel(&["rcu", "self-detected stall"], TaskHung, Cpu, GRAVE),
        kernel(&["rcu", "detected stalls on CPUs"], TaskHung, Cpu, GRAVE),
        kernel(&["rcu", "detected expedited stalls"], TaskHung, Cpu, GRAVE),
        kernel(&["fork rejected by pids controller in "], LimitReached, Lifecycle, POOR)
            .says(&[(keys::RESOURCE, "processes"), (keys::ERROR_TYPE, "EAGAIN")])
            .reads(&[read(keys::PATH, &["pids controller in "], &['\n'])]),
        kernel(&["VFS: file-max limit ", " reached"], LimitReached, Other, BAD)
            .says(&[(keys::RESOURCE, "open_files"), (keys::ERROR_TYPE, "ENFILE")]),
        kernel(&["table overflow"], LimitReached, Network, POOR)
            .says(&[(keys::RESOURCE, "neighbours")]),
        kernel(&["TCP: out of memory"], LimitReached, Network, BAD)
            .says(&[(keys::RESOURCE, "tcp_memory")]),
        kernel(&["EDAC MC", " UE "], HardwareError, Other, FATAL)
            .says(&[(keys::REASON, "MemoryUncorrected")]),
        kernel(&["EDAC MC", " CE "], HardwareError, Other, ODD)
            .says(&[(keys::REASON, "MemoryCorrected")]),
        kernel(&["Memory failure: 0x", ": recovery action for "], HardwareError, Other, GRAVE)
            .says(&[(keys::REASON, "MemoryFailure")]),
        kernel(&["[Hardware Error]: ", "event severity: fatal"], HardwareError, Other, FATAL),
        kernel(&["[Hardware Error]: ", "event severity: corrected"], HardwareError, Other, ODD),
        kernel(&["mce: ", "[Hardware Error]: "], HardwareError, Other, BAD)
            .says(&[(keys::REASON, "MachineCheck")]),
        kernel(&["PCIe Bus Error: severity=Uncorrect"], HardwareError, Other, BAD)
            .says(&[(keys::REASON, "PcieUncorrected")]),
        kernel(&["NIC Link is Down"], Log, Network, BAD).says(LINK_DOWN).reads(NIC),
        kernel(&[": Link is Down"], Log, Network, BAD).says(LINK_DOWN).reads(NIC),
        kernel(&[": Link is down"], Log, Network, BAD).says(LINK_DOWN).reads(NIC),
        kernel(&["mlx5_core ", ": Link down"], Log, Network, BAD).says(LINK_DOWN).reads(NIC),
        kernel(&["link status definitely down"], Log, Network, BAD).says(LINK_DOWN).reads(NIC),
        kernel(&["Marking clocksource '", "as unstable"], Log, Other, ODD)
            .says(&[(keys::REASON, "ClockUnstable")]),
    ]
};

const LINK_DOWN: &[(&str, &str)] = &[(keys::REASON, "LinkDown")];
const NOT_READY: (&str, &str) = (keys::CONDITION, "Ready");
const STEPPED: &[(&str, &str)] = &[(keys::REASON, "ClockStepped")];
const DEADLOCK: &[(&str, &str)] = &[(keys::REASON, "Deadlock")];
const EXPIRED: &[(&str, &str)] =
    &[(keys::REASON, "CertificateExpired"), (keys::ERROR_TYPE, "x509")];
const UNTRUSTED: &[(&str, &str)] =
    &[(keys::REASON, "CertificateUntrusted"), (keys::ERROR_TYPE, "x509")];
const RECLAIMS: &str = "viction manager: attempting to reclaim";

/// Those of processes. A calm line is looked up among the calm entries only.
const PROCESS: &[Entry] = {
    use Class::{
        Configuration, Dependency, Health, Image, Lifecycle, Memory, Network, Other, Storage,
    };
    use Kind::{
        ContainerCreateFailed, ImagePullFailed, Log, NodeCondition, PodEvicted, StorageFull,
    };
    &[
        process(&["PLEG is not healthy: pleg was last seen active"], NodeCondition, Health, GRAVE)
            .says(&[NOT_READY, (keys::REASON, "PLEGNotHealthy")]),
        process(&["container runtime is down"], NodeCondition, Health, GRAVE)
            .says(&[NOT_READY, (keys::REASON, "ContainerRuntimeDown")]),
        process(
            &["container runtime status check may not have completed yet"],
            Log,
            Lifecycle,
            ODD,
        ),
        process(&["cni plugin not initialized"], NodeCondition, Network, BAD)
            .says(&[NOT_READY, (keys::REASON, "NetworkPluginNotReady")]),
        calm(&[RECLAIMS, "memory"], NodeCondition, Memory, POOR).says(&[
            (keys::CONDITION, "MemoryPressure"),
            (keys::REASON, "EvictionThresholdMet"),
            (keys::RESOURCE, "memory"),
        ]),
        calm(&[RECLAIMS, "pids"], NodeCondition, Other, POOR).says(&[
            (keys::CONDITION, "PIDPressure"),
            (keys::REASON, "EvictionThresholdMet"),
            (keys::RESOURCE, "processes"),
        ]),
        calm(&[RECLAIMS], NodeCondition, Storage, POOR).says(&[
            (keys::CONDITION, "DiskPressure"),
            (keys::REASON, "EvictionThresholdMet"),
            (keys::RESOURCE, "storage"),
        ]),
        calm(&["viction manager: pod ", "is evicted successfully"], PodEvicted, Lifecycle, BAD)
            .reads(POD),
        process(&["mage garbage collection failed multiple times in a row"], Log, Storage, POOR)
            .says(&[(keys::REASON, "ImageGCFailed")]),
        process(&["failed to garbage collect required amount of images"], Log, Storage, POOR)
            .says(&[(keys::REASON, "FreeDiskSpaceFailed")]),
        process(&["failed to setup network for sandbox"], ContainerCreateFailed, Network, BAD)
            .says(&[(keys::REASON, "FailedCreatePodSandBox")])
            .reads(POD),
        process(&["RunPodSandbox for ", " failed, error"], ContainerCreateFailed, Lifecycle, POOR)
            .says(&[(keys::REASON, "FailedCreatePodSandBox")])
            .reads(POD),
        process(&["OCI runtime create failed"], ContainerCreateFailed, Lifecycle, POOR)
            .says(&[(keys::REASON, "RunContainerError")])
            .reads(POD),
        process(&["failed to create containerd task"], ContainerCreateFailed, Lifecycle, POOR)
            .says(&[(keys::REASON, "RunContainerError")])
            .reads(POD),
        process(&["PullImage ", "failed"], ImagePullFailed, Image, POOR).reads(IMAGE),
        process(&["x509: certificate has expired or is not yet valid"], Log, Configuration, POOR)
            .says(EXPIRED),
        process(
            &["certificate verify failed", "certificate has expired"],
            Log,
            Configuration,
            POOR,
        )
        .says(EXPIRED),
        process(&["CERT_HAS_EXPIRED"], Log, Configuration, POOR).says(EXPIRED),
        process(&["CertificateExpiredException"], Log, Configuration, POOR).says(EXPIRED),
        process(&["x509: certificate signed by unknown authority"], Log, Configuration, POOR)
            .says(UNTRUSTED),
        process(&["etcdserver: request timed out"], Log, Dependency, BAD)
            .says(&[(keys::REASON, "EtcdTimeout")]),
        process(&["etcdserver: leader changed"], Log, Dependency, ODD)
            .says(&[(keys::REASON, "EtcdLeaderChanged")]),
        process(&["etcdserver: no leader"], Log, Dependency, BAD)
            .says(&[(keys::REASON, "EtcdNoLeader")]),
        process(&["etcdserver: mvcc: database space exceeded"], StorageFull, Storage, GRAVE)
            .says(&[(keys::REASON, "EtcdNoSpace")]),
        calm(&["Can't see a majority of the set"], Log, Dependency, BAD),
        calm(&["cannot see a majority"], Log, Dependency, BAD),
        calm(&["Found one Java-level deadlock"], Log, Other, BAD).says(DEADLOCK),
        calm(&["System clock was stepped by "], Log, Other, ODD).says(STEPPED),
        calm(&["System clock wrong by ", "seconds"], Log, Other, ODD).says(STEPPED),
        calm(&["System clock time unset or jumped backwards"], Log, Other, ODD).says(STEPPED),
        calm(&["ntpd", "time reset "], Log, Other, ODD).says(STEPPED),
    ]
};

/// Looks up what a message means; `None` if it is not in the table.
pub(crate) fn look_up(writer: Writer, message: &str) -> Option<&'static Entry> {
    let entries = if writer == Writer::Kernel { KERNEL } else { PROCESS };
    let is_calm = writer == Writer::CalmProcess;
    entries.iter().find(|entry| {
        (!is_calm || entry.writer == Writer::CalmProcess) && skip(message, entry.texts).is_some()
    })
}

impl Entry {
    /// Adds what the message says to its event; what the event says already is kept.
    pub(crate) fn fill(&self, mut event: Unbound, message: &str) -> Unbound {
        let is_new =
            |event: &Unbound, key: &str| event.attributes.iter().all(|(known, _)| known != key);
        if self.kind == Kind::NodeCondition {
            // Ready is a good condition to have; the pressures are not.
            event = event.with(keys::STATUS, !self.says.contains(&NOT_READY));
        }
        for (key, value) in self.says {
            if is_new(&event, key) {
                event = event.with(*key, *value);
            }
        }
        for capture in self.reads {
            let Some((key, value)) = capture.read(message) else { continue };
            if is_new(&event, key) {
                event = if key == keys::PROCESS_NAME {
                    with_task(event, value)
                } else {
                    event.with(key, value)
                };
            }
        }
        event
    }
}

impl Capture {
    fn read<'a>(&self, message: &'a str) -> Option<(&'static str, &'a str)> {
        let (key, value) = match self {
            Self::After(key, after, until) => (*key, skip(message, after)?.split(*until).next()?),
            Self::Before(key, text) => {
                let word = message.split_once(text)?.0.split_whitespace().next_back()?;
                (*key, word.trim_end_matches(':'))
            }
        };
        (!value.is_empty()).then_some((key, value))
    }
}

/// Returns the pod that a message of the kubelet or the runtime speaks of: there it happened, not
/// where the line was written.
pub(crate) fn place_of_pod(event: &Unbound) -> Option<Place> {
    let text = |name: &str| event.text(name).map(Text::from);
    let pod = Some(text(keys::OBJECT_NAME)?);
    let (namespace, pod_uid) = (text(keys::OBJECT_NAMESPACE), text(keys::OBJECT_UID));
    Some(Place { namespace, pod, pod_uid, ..Place::default() })
}

/// Returns what stands behind the last of the texts, which follow each other.
fn skip<'a>(message: &'a str, texts: &[&str]) -> Option<&'a str> {
    texts.iter().try_fold(message, |rest, text| rest.split_once(text).map(|(_, rest)| rest))
}

/// Adds `name:pid`, whose name may hold colons and spaces of its own.
fn with_task(event: Unbound, task: &str) -> Unbound {
    let task = task.split_once(" blocked for").map_or(task, |(task, _)| task);
    let Some((name, pid)) = task.rsplit_once(':') else { return event };
    let Ok(pid) = pid.parse::<i64>() else { return event };
    event.with(keys::PROCESS_NAME, name).with(keys::PROCESS_PID, pid)
}

#[cfg(test)]
mod tests;
