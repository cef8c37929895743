use tapio_model::{Attributes, EventId, Source, Timestamp};

use super::*;

/// A message, what it is, and attributes that are read out of it.
type Case = (&'static str, Kind, &'static [(&'static str, &'static str)]);

const RUN: &str = "RunPodSandbox for &PodSandboxMetadata{Name:cart-7d9f,Uid:6d1b,Namespace:shop,Attempt:0,} failed, error";

fn said(writer: Writer, message: &str) -> Option<(Kind, Attributes)> {
    let entry = look_up(writer, message)?;
    let event = Unbound::new(EventId::default(), Timestamp::ZERO, Source::Kernel, entry.kind);
    Some((entry.kind, Attributes::new(entry.fill(event, message).attributes)))
}

fn check(writer: Writer, cases: &[Case]) {
    for (message, kind, attributes) in cases {
        let (got, said) = said(writer, message).unwrap_or_else(|| panic!("{message}"));
        assert_eq!(got, *kind, "{message}");
        for (key, value) in *attributes {
            let found = said.get(key).map(ToString::to_string);
            assert_eq!(found.as_deref(), Some(*value), "{message}: {key} of {said:?}");
        }
    }
}

#[test]
fn storage_of_the_kernel() {
    let device = |name: &'static str| -> &'static [(&'static str, &'static str)] {
        Vec::leak(vec![(keys::DEVICE, name)])
    };
    check(
        Writer::Kernel,
        &[
            (
                "EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2: comm ls: reading directory lblock 0",
                Kind::FilesystemError,
                device("sda1"),
            ),
            (
                "EXT4-fs (sda1): Remounting filesystem read-only",
                Kind::FilesystemReadOnly,
                device("sda1"),
            ),
            (
                "XFS (dm-0): Internal error XFS_WANT_CORRUPTED_GOTO at line 1635",
                Kind::FilesystemError,
                device("dm-0"),
            ),
            (
                "XFS (dm-0): Metadata corruption detected at xfs_agf_read_verify+0x6/0x20",
                Kind::FilesystemError,
                device("dm-0"),
            ),
            (
                "XFS (sdb1): Filesystem has been shut down due to log error (0x2).",
                Kind::FilesystemError,
                device("sdb1"),
            ),
            (
                "BTRFS error (device vdb state EA): bdev /dev/vdb errs: wr 1",
                Kind::FilesystemError,
                device("vdb"),
            ),
            ("BTRFS info (device vdb): forced readonly", Kind::FilesystemReadOnly, device("vdb")),
            (
                "Buffer I/O error on dev dm-1, logical block 12, lost async page write",
                Kind::IoError,
                device("dm-1"),
            ),
            (
                "blk_update_request: I/O error, dev sda, sector 42 op 0x0:(READ)",
                Kind::IoError,
                device("sda"),
            ),
            ("I/O error, dev nvme0n1, sector 7 op 0x1:(WRITE)", Kind::IoError, device("nvme0n1")),
            ("nvme nvme0: I/O 12 QID 1 timeout, aborting", Kind::IoError, device("nvme0")),
            (
                "nvme nvme1: controller is down; will reset: CSTS=0x3, PCI_STATUS=0x10",
                Kind::IoError,
                device("nvme1"),
            ),
        ],
    );
}

#[test]
fn limits_and_hangs_of_the_kernel() {
    check(
        Writer::Kernel,
        &[
            ("nf_conntrack: nf_conntrack: table full, dropping packet", Kind::ConntrackFull, &[]),
            (
                "INFO: task kworker/0:1:123 blocked for more than 120 seconds.",
                Kind::TaskHung,
                &[(keys::PROCESS_NAME, "kworker/0:1"), (keys::PROCESS_PID, "123")],
            ),
            (
                "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [stress:1234]",
                Kind::TaskHung,
                &[(keys::PROCESS_NAME, "stress"), (keys::PROCESS_PID, "1234")],
            ),
            ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", Kind::TaskHung, &[]),
            ("rcu: INFO: rcu_sched self-detected stall on CPU", Kind::TaskHung, &[]),
            ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Kind::TaskHung, &[]),
            (
                "cgroup: fork rejected by pids controller in /system.slice/web.service",
                Kind::LimitReached,
                &[
                    (keys::RESOURCE, "processes"),
                    (keys::ERROR_TYPE, "EAGAIN"),
                    (keys::PATH, "/system.slice/web.service"),
                ],
            ),
            (
                "VFS: file-max limit 8192 reached",
                Kind::LimitReached,
                &[(keys::RESOURCE, "open_files")],
            ),
            (
                "neighbour: arp_cache: neighbor table overflow!",
                Kind::LimitReached,
                &[(keys::RESOURCE, "neighbours")],
            ),
            (
                "TCP: out of memory -- consider tuning tcp_mem",
                Kind::LimitReached,
                &[(keys::RESOURCE, "tcp_memory")],
            ),
        ],
    );
}

#[test]
fn hardware_and_links_of_the_kernel() {
    const ETH0: &[(&str, &str)] = &[(keys::DEVICE, "eth0"), (keys::REASON, "LinkDown")];
    check(
        Writer::Kernel,
        &[
            (
                "EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0 (channel:1 slot:0 page:0x1 offset:0x0)",
                Kind::HardwareError,
                &[(keys::REASON, "MemoryCorrected")],
            ),
            (
                "EDAC MC0: 1 UE memory read error on any memory (slot:0)",
                Kind::HardwareError,
                &[(keys::REASON, "MemoryUncorrected")],
            ),
            (
                "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 4: b200000000070f0f",
                Kind::HardwareError,
                &[(keys::REASON, "MachineCheck")],
            ),
            ("{1}[Hardware Error]: event severity: fatal", Kind::HardwareError, &[]),
            ("{1}[Hardware Error]: event severity: corrected", Kind::HardwareError, &[]),
            (
                "Memory failure: 0x12345: recovery action for dirty LRU page: Recovered",
                Kind::HardwareError,
                &[(keys::REASON, "MemoryFailure")],
            ),
            (
                "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=Transaction Layer",
                Kind::HardwareError,
                &[],
            ),
            ("e1000e 0000:00:19.0 eth0: NIC Link is Down", Kind::Log, ETH0),
            ("igb 0000:01:00.0 eth0: igb: eth0 NIC Link is Down", Kind::Log, ETH0),
            ("r8169 0000:02:00.0 eth0: Link is Down", Kind::Log, ETH0),
            ("tg3 0000:02:00.0 eth0: Link is down", Kind::Log, ETH0),
            ("mlx5_core 0000:03:00.0 eth0: Link down", Kind::Log, ETH0),
            ("bond0: (slave eth0): link status definitely down, disabling slave", Kind::Log, ETH0),
            (
                "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because the skew is too large:",
                Kind::Log,
                &[(keys::REASON, "ClockUnstable")],
            ),
        ],
    );
}

#[test]
fn the_kubelet_and_the_runtime() {
    let sandbox = format!(r#"level=error msg="{RUN}" error="failed to reserve sandbox name""#);
    let network = format!(
        r#"level=error msg="{RUN}" error="rpc error: code = Unknown desc = failed to setup network for sandbox \"ab\": plugin type=\"calico\" failed (add): no IP""#
    );
    const PLACE: &[(&str, &str)] =
        &[(keys::OBJECT_NAME, "cart-7d9f"), (keys::OBJECT_NAMESPACE, "shop")];
    check(
        Writer::Process,
        &[
            (
                r#"E0102 15:04:05.000000    1 kubelet.go:2385] "Skipping pod synchronization" err="PLEG is not healthy: pleg was last seen active 3m5.1s ago; threshold is 3m0s""#,
                Kind::NodeCondition,
                &[
                    (keys::REASON, "PLEGNotHealthy"),
                    (keys::CONDITION, "Ready"),
                    (keys::STATUS, "false"),
                ],
            ),
            (
                r#"E0102 15:04:05.000000    1 kubelet.go:2385] "Skipping pod synchronization" err="container runtime is down""#,
                Kind::NodeCondition,
                &[(keys::REASON, "ContainerRuntimeDown")],
            ),
            (
                r#"E0102 15:04:05.0 1 kubelet.go:2855] "Container runtime network not ready" networkReady="NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized""#,
                Kind::NodeCondition,
                &[(keys::REASON, "NetworkPluginNotReady")],
            ),
            (
                r#"E0102 15:04:05.0 1 kubelet.go:1368] "Image garbage collection failed multiple times in a row" err="x""#,
                Kind::Log,
                &[(keys::REASON, "ImageGCFailed")],
            ),
            (
                "failed to garbage collect required amount of images. Attempted to free 4012345 bytes, but only found 0 bytes eligible to free.",
                Kind::Log,
                &[(keys::REASON, "FreeDiskSpaceFailed")],
            ),
            (Vec::leak(vec![sandbox])[0].as_str(), Kind::ContainerCreateFailed, PLACE),
            (Vec::leak(vec![network])[0].as_str(), Kind::ContainerCreateFailed, PLACE),
            (
                r#"E0102 15:04:05.0 1 pod_workers.go:1301] "Error syncing pod, skipping" err="failed to \"StartContainer\" for \"cart\" with RunContainerError: \"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \\\"/x\\\": stat /x: no such file\"" pod="shop/cart-7d9f" podUID="6d1b""#,
                Kind::ContainerCreateFailed,
                PLACE,
            ),
            (
                r#"time="2026-01-02T03:04:05Z" level=error msg="PullImage \"registry/cart:9\" failed" error="not found""#,
                Kind::ImagePullFailed,
                &[(keys::IMAGE, "registry/cart:9")],
            ),
            (
                "W0102 15:04:05.0 1 eviction_manager.go:344] eviction manager: attempting to reclaim ephemeral-storage",
                Kind::NodeCondition,
                &[(keys::CONDITION, "DiskPressure"), (keys::STATUS, "true")],
            ),
        ],
    );
}

#[test]
fn what_is_trouble_however_calmly_it_is_said() {
    check(
        Writer::CalmProcess,
        &[
            ("Can't see a majority of the set, relinquishing primary", Kind::Log, &[]),
            (
                "Not starting an election: Not standing for election because I cannot see a majority",
                Kind::Log,
                &[],
            ),
            (
                r#"I0102 15:04:05.0 1 eviction_manager.go:369] "Eviction manager: attempting to reclaim" resourceName="memory""#,
                Kind::NodeCondition,
                &[(keys::CONDITION, "MemoryPressure"), (keys::STATUS, "true")],
            ),
            (
                r#"I0102 15:04:05.0 1 eviction_manager.go:369] "Eviction manager: attempting to reclaim" resourceName="pids""#,
                Kind::NodeCondition,
                &[(keys::CONDITION, "PIDPressure")],
            ),
            (
                r#"I0102 15:04:05.0 1 eviction_manager.go:627] "Eviction manager: pod is evicted successfully" pod="shop/cart-7d9f""#,
                Kind::PodEvicted,
                &[(keys::OBJECT_NAME, "cart-7d9f"), (keys::OBJECT_NAMESPACE, "shop")],
            ),
            (
                "System clock was stepped by 3599.998 seconds",
                Kind::Log,
                &[(keys::REASON, "ClockStepped")],
            ),
            ("System clock wrong by -3.105 seconds", Kind::Log, &[(keys::REASON, "ClockStepped")]),
            ("Found one Java-level deadlock:", Kind::Log, &[(keys::REASON, "Deadlock")]),
            (
                "System clock time unset or jumped backwards, restored from recorded timestamp: Fri 2026-01-02",
                Kind::Log,
                &[(keys::REASON, "ClockStepped")],
            ),
            ("ntpd[812]: time reset +1.234567 s", Kind::Log, &[(keys::REASON, "ClockStepped")]),
        ],
    );
}

#[test]
fn certificates_and_etcd() {
    check(
        Writer::Process,
        &[
            (
                "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-01-02T03:04:05Z is after 2025-12-31T00:00:00Z",
                Kind::Log,
                &[(keys::REASON, "CertificateExpired"), (keys::ERROR_TYPE, "x509")],
            ),
            (
                "SSL: error:0A000086:SSL routines::certificate verify failed (certificate has expired)",
                Kind::Log,
                &[(keys::REASON, "CertificateExpired")],
            ),
            (
                "Error: certificate has expired, code: 'CERT_HAS_EXPIRED'",
                Kind::Log,
                &[(keys::REASON, "CertificateExpired")],
            ),
            (
                "Get \"https://registry/v2/\": x509: certificate signed by unknown authority",
                Kind::Log,
                &[(keys::REASON, "CertificateUntrusted")],
            ),
            (
                "E0102 15:04:05.0 1 status.go:71] apiserver received an error that is not an metav1.Status: &errors.errorString{s:\"etcdserver: request timed out\"}",
                Kind::Log,
                &[(keys::REASON, "EtcdTimeout")],
            ),
            ("etcdserver: mvcc: database space exceeded", Kind::StorageFull, &[]),
        ],
    );
}

#[test]
fn look_alikes_are_not_in_the_table() {
    for message in [
        "EXT4-fs (sda1): mounted filesystem with ordered data mode. Quota mode: none.",
        "XFS (dm-0): Mounting V5 Filesystem",
        "XFS (dm-0): Ending clean mount",
        "BTRFS info (device vdb): disk space caching is enabled",
        "EDAC MC: Ver: 3.0.0",
        "EDAC MC0: Giving out device to module skx_edac controller Skylake Socket#0 IMC#0",
        "mce: CPU supports 20 MCE banks",
        "mce: CPU0: Core temperature above threshold, cpu clock throttled (total events = 1)",
        "br0: port 1(veth12ab) entered disabled state",
        "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready",
        "e1000e 0000:00:19.0 eth0: NIC Link is Up 1000 Mbps Full Duplex, Flow Control: Rx/Tx",
        "watchdog: Disabling watchdog on nohz_full cores by default",
        "rcu: Hierarchical RCU implementation.",
        "nf_conntrack version 0.5.0 (65536 buckets, 262144 max)",
        "nvme nvme0: 8/0/0 default/read/poll queues",
        "clocksource: Switched to clocksource tsc",
        "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Corrected, type=Physical Layer",
        "PLEG is not healthy: pleg was last seen active 3m5s ago; threshold is 3m0s",
    ] {
        assert_eq!(look_up(Writer::Kernel, message), None, "{message}");
    }
    for message in [
        r#"I0102 15:04:05.0 1 generic.go:334] "Generic (PLEG): container finished" podID="6d1b" exitCode=0"#,
        r#"E0102 15:04:05.0 1 kubelet.go:1353] "Image garbage collection failed once. Stats initialization may not have completed yet""#,
        r#"I0102 15:04:05.0 1 eviction_manager.go:171] "Eviction manager: starting control loop""#,
        r#"time="2026-01-02T03:04:05Z" level=info msg="PullImage \"registry/cart:9\" returns image reference \"sha256:ab\"""#,
        "the certificate expires in 30 days",
        "etcdserver: applied 1000 requests",
        "EXT4-fs error (device sda1): written by a process",
        "System clock is synchronized",
        "pod cart was evicted from the cache",
    ] {
        assert_eq!(look_up(Writer::Process, message), None, "{message}");
    }
    let calmly = "I0102 15:04:05.0 1 x.go:1] retried after etcdserver: request timed out";
    assert_eq!(look_up(Writer::CalmProcess, calmly), None);
}
