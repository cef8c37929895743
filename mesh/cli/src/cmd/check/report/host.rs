//! What this machine lets be seen, and bears.

use super::{
    super::host::{Cgroup, HostFacts},
    Check,
};

/// The capability that stands in for several others.
const SYS_ADMIN: u32 = 21;

/// Capabilities by bit: the name, what it is for, and whether `CAP_SYS_ADMIN` stands in for it.
const CAPABILITIES: [(u32, &str, &str, bool); 5] = [
    (39, "CAP_BPF", "loads the probes", true),
    (38, "CAP_PERFMON", "attaches the probes", true),
    (34, "CAP_SYSLOG", "reads the kernel log where it is restricted", true),
    (2, "CAP_DAC_READ_SEARCH", "reads journals and logs of other users", false),
    (19, "CAP_SYS_PTRACE", "tells which container a process of another user is in", false),
];

/// Bytes an agent needs, and bytes it is at ease with.
const MEMORY: [u64; 2] = [64 << 20, 256 << 20];

/// Bytes a spool should have: a minute of 20,000 events a second at 130 bytes each, and some.
const SPOOL: u64 = 256 << 20;

/// Files that collectors, logs of pods and connections have open.
const OPEN_FILES: u64 = 1_024;

/// Judges everything of this machine but its clock.
pub(super) fn checks(host: &HostFacts) -> Vec<Check> {
    let mut checks = vec![tier(host), kernel(&host.kernel)];
    checks.extend(CAPABILITIES.iter().map(|it| capability(host.capabilities, it)));
    checks.extend([btf(host.has_btf), tracefs(host.has_tracefs), cgroup(host.cgroup)]);
    checks.extend(logs(host));
    checks.extend([spool(host), memory(host.memory), open_files(host.open_files)]);
    checks
}

fn tier(host: &HostFacts) -> Check {
    let name = "kernel tier";
    match &host.hindrance {
        None => Check::ok(name, host.tier),
        Some((why, cure)) => Check::degraded(name, format!("{}: {why}", host.tier), cure),
    }
}

fn kernel(release: &str) -> Check {
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 8) {
        return Check::ok("kernel", release);
    }
    let why = format!("{release} has no ring buffer for probes");
    Check::degraded("kernel", why, "run a kernel of 5.8 or later")
}

fn capability(held: u64, capability: &(u32, &str, &str, bool)) -> Check {
    let (bit, name, purpose, has_stand_in) = capability;
    let has = |bit: u32| held & (1 << bit) != 0;
    if has(*bit) {
        return Check::ok(*name, *purpose);
    }
    if *has_stand_in && has(SYS_ADMIN) {
        return Check::ok(*name, format!("{purpose}; CAP_SYS_ADMIN stands in"));
    }
    let cure = format!("run as root, or add {name} to the container's capabilities");
    Check::degraded(*name, format!("not held: it {purpose}"), cure)
}

fn btf(has_btf: bool) -> Check {
    if has_btf {
        return Check::ok("btf", "/sys/kernel/btf/vmlinux");
    }
    Check::degraded(
        "btf",
        "the kernel tells nothing of its types",
        "run a kernel built with CONFIG_DEBUG_INFO_BTF, and let /sys/kernel/btf/vmlinux be read",
    )
}

fn tracefs(has_tracefs: bool) -> Check {
    if has_tracefs {
        return Check::ok("tracefs", "mounted and readable");
    }
    Check::degraded(
        "tracefs",
        "not mounted, or not readable: no classic tracepoints",
        "mount -t tracefs tracefs /sys/kernel/tracing; read it as root",
    )
}

fn cgroup(cgroup: Cgroup) -> Check {
    match cgroup {
        Cgroup::Unified => Check::ok("cgroup", "version 2"),
        Cgroup::Hybrid => Check::ok("cgroup", "version 1, with version 2 beside it"),
        Cgroup::Legacy => Check::degraded(
            "cgroup",
            "version 1 alone: no memory.events, and no pressure of a cgroup",
            "boot with systemd.unified_cgroup_hierarchy=1",
        ),
        Cgroup::None => Check::degraded(
            "cgroup",
            "not mounted: processes are not told apart by container",
            "mount /sys/fs/cgroup of the host into the container",
        ),
    }
}

fn logs(host: &HostFacts) -> [Check; 3] {
    let kmsg = match &host.kmsg {
        Ok(()) => Check::ok("kmsg", "/dev/kmsg can be read"),
        Err(why) => Check::degraded(
            "kmsg",
            why,
            "run as root or with CAP_SYSLOG, and give the container /dev/kmsg",
        ),
    };
    let journal = match &host.journal {
        Ok(path) => Check::ok("journal", path.display().to_string()),
        Err(why) => Check::degraded(
            "journal",
            why,
            "mount the host's /var/log/journal, and be in the group systemd-journal or have \
             CAP_DAC_READ_SEARCH",
        ),
    };
    let pods = match &host.pods {
        Ok(()) => Check::ok("pod logs", "/var/log/pods"),
        Err(why) => Check::degraded(
            "pod logs",
            why,
            "on a node of a cluster, mount the host's /var/log/pods; elsewhere there are none",
        ),
    };
    [kmsg, journal, pods]
}

fn spool(host: &HostFacts) -> Check {
    let path = host.spool.display();
    match &host.spool_free {
        Ok(free) if *free >= SPOOL => {
            Check::ok("spool", format!("{path}: {} MiB free", free >> 20))
        }
        Ok(free) => Check::degraded(
            "spool",
            format!("{path}: {} MiB free, short of {}", free >> 20, SPOOL >> 20),
            "free some, or set TAPIO_SPOOL to another disk: a longer outage of NATS loses events",
        ),
        Err(why) => Check::degraded(
            "spool",
            format!("{path} cannot be written: {why}"),
            "make it writable, or set TAPIO_SPOOL: else an outage of NATS loses events",
        ),
    }
}

fn memory(available: Option<u64>) -> Check {
    let [least, ease] = MEMORY;
    match available {
        None => Check::degraded("memory", "/proc/meminfo cannot be read", "mount /proc"),
        Some(bytes) if bytes < least => Check::missing(
            "memory",
            format!("{} MiB can be had; an agent needs {}", bytes >> 20, least >> 20),
            "free some, or raise the container's limit",
        ),
        Some(bytes) if bytes < ease => Check::degraded(
            "memory",
            format!("{} MiB can be had: enough for an agent, and for nothing else", bytes >> 20),
            "free some, or raise the container's limit",
        ),
        Some(bytes) => Check::ok("memory", format!("{} MiB can be had", bytes >> 20)),
    }
}

fn open_files(most: Option<u64>) -> Check {
    match most {
        None => Check::ok("open files", "as many as there are"),
        Some(most) if most >= OPEN_FILES => Check::ok("open files", format!("{most}")),
        Some(most) => Check::degraded(
            "open files",
            format!("{most}: the logs of some hundred pods take more"),
            "raise it: ulimit -n 65536, or LimitNOFILE= of the unit",
        ),
    }
}
